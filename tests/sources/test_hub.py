"""The Hub, spoken to with the real client: a server on loopback, a client in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.hub_server import COMMIT, RETRY_AFTER, HubServer, Trouble

from hfcount import errors
from hfcount.sources.config_json import MAX_CONFIG_BYTES

OTHER_COMMIT = "f" * 40
CONFIG = {"model_type": "gpt2", "n_layer": 3}
FILES = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": b"never asked for"}
PATIENCE = 60.0
"""How long the process may live: a client that obeys its Retry-After of an hour would be killed, and fail."""

CLIENT = """
import json, sys
from hfcount.errors import HfcountError
from hfcount.sources import resolve

arguments = json.loads(sys.argv[1])
try:
    source = resolve(arguments.pop("model"), **arguments)
except HfcountError as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error), "exit_code": error.exit_code}))
else:
    fields = ("model", "kind", "location", "revision", "config", "notes")
    print(json.dumps({name: getattr(source, name) for name in fields}))
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the process printed: a source's fields or an error's, and all of its output."""

    fields: dict
    output: str

    def raises(self, kind: type[errors.HfcountError], *parts: str) -> str:
        """Assert that the answer is one line of that very class that has these parts; returns the line."""
        assert self.fields.get("error") == kind.__name__, self.fields
        text = self.fields["text"]
        assert self.fields["exit_code"] == 3
        assert "\n" not in text
        for part in parts:
            assert part in text, f"{part!r} is not in {text!r}"
        return text


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@dataclasses.dataclass(frozen=True)
class Client:
    hub: HubServer
    home: Path

    def ask(self, model: str, environment: dict[str, str] | None = None, **how: object) -> Answer:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, json.dumps({"model": model, **how})],
            env=self.hub.environment(self.home, **(environment or {})),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "the client's own warnings and progress bars are kept quiet"
        return Answer(json.loads(done.stdout), done.stdout + done.stderr)


@pytest.fixture
def client(hub: HubServer, tmp_path: Path) -> Client:
    return Client(hub, tmp_path / "home")


def test_a_present_repository(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    source = client.ask("lab/model").fields
    assert source["config"] == CONFIG
    assert (source["model"], source["kind"], source["revision"]) == ("lab/model", "hub", COMMIT)
    assert source["location"] == f"{hub.url}/lab/model"
    assert source["notes"] == []


def test_only_the_config_is_asked_for(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    client.ask("lab/model")
    assert set(hub.paths) == {"/lab/model/resolve/main/config.json"}
    assert [asked.method for asked in hub.asked].count("GET") == 1


def test_a_pinned_revision(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, revisions={"main": COMMIT, "v1.0": OTHER_COMMIT})
    assert client.ask("lab/model", revision="v1.0").fields["revision"] == OTHER_COMMIT
    assert set(hub.paths) == {"/lab/model/resolve/v1.0/config.json"}


def test_a_branch_with_a_slash(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, revisions={"refs/pr/1": OTHER_COMMIT})
    source = client.ask("lab/model", revision="refs/pr/1").fields
    assert source.get("revision") == OTHER_COMMIT, (source, hub.paths)


def test_a_cached_commit_is_not_asked_for_again(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    client.ask("lab/model", revision=COMMIT)
    hub.asked.clear()
    assert client.ask("lab/model", revision=COMMIT).fields["config"] == CONFIG
    assert hub.asked == []


def test_a_renamed_repository(hub: HubServer, client: Client) -> None:
    hub.add("lab/old", {}, renamed_to="lab/new")
    hub.add("lab/new", FILES)
    assert client.ask("lab/old").fields["config"] == CONFIG


def test_a_config_on_a_cdn_is_fetched_without_the_token(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, on_cdn=True)
    source = client.ask("lab/model", {"HF_TOKEN": hub.token}).fields
    assert source["config"] == CONFIG
    at_cdn = [asked for asked in hub.asked if asked.host.startswith("localhost")]
    assert at_cdn
    assert all(asked.authorization is None for asked in at_cdn)


def test_hf_asks_the_hub_for_what_is_a_card_too(hub: HubServer, client: Client) -> None:
    hub.add("openai-community/gpt2", FILES)
    assert client.ask("hf:openai-community/gpt2").fields["kind"] == "hub"
    assert client.ask("openai-community/gpt2").fields["kind"] == "card"


def test_a_gated_repository_without_a_token(hub: HubServer, client: Client) -> None:
    hub.add("lab/gated", FILES, gated=True)
    client.ask("lab/gated").raises(
        errors.GatedError, "lab/gated", f"{hub.url}/lab/gated", "accept its terms", "HF_TOKEN"
    )


def test_a_gated_repository_with_a_token_that_has_no_right(hub: HubServer, client: Client) -> None:
    hub.add("lab/gated", FILES, gated=True)
    answer = client.ask("lab/gated", {"HF_TOKEN": "hf_anothertoken"})
    answer.raises(errors.GatedError)
    assert "hf_anothertoken" not in answer.output


@pytest.mark.parametrize("kind", [{"gated": True}, {"private": True}], ids=["gated", "private"])
def test_the_token_is_sent_and_never_printed(kind: dict, hub: HubServer, client: Client) -> None:
    hub.add("lab/mine", FILES, **kind)
    answer = client.ask("lab/mine", {"HF_TOKEN": hub.token})
    assert answer.fields["config"] == CONFIG
    assert {asked.authorization for asked in hub.asked} == {f"Bearer {hub.token}"}
    assert hub.token not in answer.output


def test_a_token_that_is_no_header(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    answer = client.ask("lab/model", {"HF_TOKEN": "hf_sécret"})
    assert "error" in answer.fields
    assert "cret" not in answer.output


def test_a_missing_repository(hub: HubServer, client: Client) -> None:
    client.ask("lab/nothing").raises(errors.NotFoundError, "lab/nothing", "no such repository", "HF_TOKEN")
    client.ask("lab/nothing", {"HF_TOKEN": hub.token}).raises(errors.NotFoundError, "no such repository")


def test_a_misspelt_card_is_asked_of_the_hub_and_the_near_names_are_told(client: Client) -> None:
    client.ask("gpt2-mediun").raises(errors.NotFoundError, "gpt2-mediun", "near names: gpt2-medium")


def test_a_private_repository_reads_like_a_missing_one(hub: HubServer, client: Client) -> None:
    hub.add("lab/private", FILES, private=True)
    client.ask("lab/private").raises(errors.NotFoundError, "or a private one")


def test_a_missing_revision(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    client.ask("lab/model", revision="v9").raises(errors.NotFoundError, "lab/model", "no revision 'v9'")


def test_a_repository_without_a_config(hub: HubServer, client: Client) -> None:
    hub.add("lab/gguf", {"model.gguf": b"GGUF"})
    client.ask("lab/gguf").raises(errors.NotFoundError, "lab/gguf", "has no config.json")


def test_too_many_requests_are_not_waited_for(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault="limited")
    client.ask("lab/model").raises(errors.RateLimitedError, "too many requests", f"again in {RETRY_AFTER} s")
    assert len(hub.asked) == 1


def test_too_many_requests_at_the_download(hub: HubServer, client: Client) -> None:
    """The client itself obeys this Retry-After of an hour: the deadline ends it."""
    hub.add("lab/model", FILES, fault="limited-download")
    client.ask("lab/model", timeout=1).raises(errors.OfflineError, "did not answer within")


def test_a_broken_hub(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault="broken")
    client.ask("lab/model").raises(errors.SourceError, "HTTP 500", "try again later")
    assert len(hub.asked) == 1


def test_access_refused(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault="forbidden")
    client.ask("lab/model").raises(errors.GatedError, "HTTP 403", "HF_TOKEN")


def test_an_endpoint_that_is_no_hub(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault="no-hub")
    client.ask("lab/model").raises(errors.SourceError, "HF_ENDPOINT")


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_a_slow_hub(fault: str, hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault=fault)
    client.ask("lab/model", timeout=1).raises(errors.OfflineError, "did not answer within 1 s", "--timeout")


def test_a_cut_connection(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault="cut")
    client.ask("lab/model").raises(errors.OfflineError, hub.url, "cannot be reached")


def test_a_download_that_is_cut_leaves_nothing_half_written(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES, fault="cut-download")
    client.ask("lab/model", timeout=1).raises(errors.OfflineError)
    assert not list(client.home.rglob("config.json"))
    hub.repos["lab/model"].fault = None
    assert client.ask("lab/model").fields["config"] == CONFIG


def test_an_endpoint_where_nothing_listens(client: Client) -> None:
    answer = client.ask("lab/model", {"HF_ENDPOINT": "http://127.0.0.1:9"})
    answer.raises(errors.OfflineError, "http://127.0.0.1:9", "cannot be reached", "check the network")


def test_an_endpoint_that_is_no_address(client: Client) -> None:
    client.ask("lab/model", {"HF_ENDPOINT": "nowhere"}).raises(errors.OfflineError, "nowhere")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_asks_the_cache_alone(how: str, hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    client.ask("lab/model")
    hub.asked.clear()
    answer = client.ask(
        "lab/model", *([{"HF_HUB_OFFLINE": "1"}] if how == "variable" else []), offline=how == "option"
    )
    assert (answer.fields["config"], answer.fields["revision"]) == (CONFIG, COMMIT)
    assert hub.asked == []


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline_without_a_copy(how: str, hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    answer = client.ask(
        "lab/model", *([{"HF_HUB_OFFLINE": "1"}] if how == "variable" else []), offline=how == "option"
    )
    answer.raises(errors.OfflineError, "lab/model", "not in the local cache", "--offline", "HF_HUB_OFFLINE")
    assert hub.asked == []


@pytest.mark.parametrize("fault", ["broken", "limited", "cut"])
def test_a_cached_copy_answers_where_the_hub_does_not_and_a_note_says_so(
    fault: str, hub: HubServer, client: Client
) -> None:
    hub.add("lab/model", FILES)
    client.ask("lab/model")
    hub.repos["lab/model"].fault = fault
    answer = client.ask("lab/model").fields
    assert answer["config"] == CONFIG
    (note,) = answer["notes"]
    assert "local cache" in note


def test_a_newer_commit_replaces_the_cached_one(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    client.ask("lab/model")
    hub.add("lab/model", {"config.json": b'{"model_type": "llama"}'}, revisions={"main": OTHER_COMMIT})
    assert client.ask("lab/model").fields["config"] == {"model_type": "llama"}
    assert client.ask("lab/model", offline=True).fields["revision"] == OTHER_COMMIT


def test_a_huge_config_is_not_downloaded(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", {"config.json": b" " * (MAX_CONFIG_BYTES + 1)})
    answer = client.ask("lab/model").fields
    assert answer["error"] == "BadInput"
    assert f"{MAX_CONFIG_BYTES + 1:,} bytes" in answer["text"]
    assert "GET" not in {asked.method for asked in hub.asked}


@pytest.mark.parametrize("fault", ["endless", "gzip"])
def test_a_config_of_no_length_is_downloaded_up_to_a_limit(fault: str, hub: HubServer, client: Client) -> None:
    """The server sends 64 MiB, or packs 32 MB into a few kB, where it promised 40 bytes; nothing of it stays."""
    hub.add("lab/model", FILES, troubles={"config.json": Trouble(fault=fault)})
    answer = client.ask("lab/model").fields
    assert answer["error"] == "BadInput"
    assert answer["text"] == "lab/model: its config.json has more than 16,777,216 bytes; none has more than 16 MiB"
    assert hub.sent["endless"] <= 48 * 2**20
    kept = [path for path in client.home.rglob("*") if path.is_file() and path.stat().st_size > 0]
    assert [path.name for path in kept if "blobs" in path.parts or "snapshots" in path.parts] == []


def test_a_cache_that_cannot_be_written(hub: HubServer, client: Client) -> None:
    hub.add("lab/model", FILES)
    client.home.write_text("a file where the folder should be")
    client.ask("lab/model").raises(errors.SourceError, "local cache cannot be used", "HF_HOME")


@pytest.mark.parametrize("name", ["a b", "two//slashes", "-dash/x", "x" * 200, "o/ends.git", "o/n\nx"])
def test_what_no_repository_is_called(name: str, hub: HubServer, client: Client) -> None:
    answer = client.ask(f"hf:{name}").fields
    assert (answer["error"], answer["exit_code"]) == ("BadInput", 2)
    assert "\n" not in answer["text"]
    assert hub.asked == []
