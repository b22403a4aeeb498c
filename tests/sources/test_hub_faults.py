"""What can go wrong between a repository and its reader: each is one fault, and all else is read."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from sources.describing_client import QUICK, ask
from sources.hub_server import HubServer, Sparse, Trouble

CONFIG = {"model_type": "gpt2"}
FILES: dict[str, Any] = {"README.md": b"# A card\n", "config.json": json.dumps(CONFIG).encode()}
BIG = Sparse(b'{"model_type": "gpt2"}', 10**9)


@dataclasses.dataclass(frozen=True)
class Case:
    """A repository with one thing wrong, and the fault that it must be; `left` is what else must have been read."""

    how: dict[str, Any]
    kind: str
    what: str
    reason: str
    left: tuple[str, ...] = ()
    files: dict[str, Any] = dataclasses.field(default_factory=dict)


def on(name: str, fault: str, **how: Any) -> dict[str, Any]:
    """One answer that goes wrong each time."""
    return {"troubles": {name: Trouble(fault=fault, **how)}}  # type: ignore[arg-type]


ALL = "the repository"
AT_ONCE = {"retry_after": "0"}
TABLE = {
    "gated": Case({"gated": True}, "gated", ALL, "accept its terms"),
    "gated-with-a-public-card": Case(
        {"gated": True, "public_card": True}, "gated", ALL, "accept its terms", ("card",)
    ),
    "private": Case({"private": True}, "private or missing", ALL, "or a private one"),
    "disabled": Case({"disabled": True}, "disabled", ALL, "disabled access"),
    "forbidden": Case({"fault": "forbidden"}, "gated", ALL, "HTTP 403"),
    "limited": Case(on("api", "limited", **AT_ONCE), "rate limit", ALL, "too many requests"),
    "broken": Case({"fault": "broken"}, "server", ALL, "HTTP 500"),
    "unavailable-for-an-hour": Case(on("api", "unavailable"), "server", ALL, "HTTP 503"),
    "slow": Case({"fault": "slow"}, "timeout", ALL, "did not answer within 1 s"),
    "cut": Case({"fault": "cut"}, "cut", ALL, "cannot be reached"),
    "no-hub": Case({"fault": "no-hub"}, "server", ALL, "does not answer as a Hub does"),
    "info-cut": Case(on("api", "cut-body"), "cut", ALL, "broke off"),
    "info-truncated": Case(on("api", "truncated"), "server", ALL, "does not answer as a Hub does"),
    "info-endless": Case(on("api", "endless"), "server", ALL, "bytes that hfcount reads"),
    "info-drips": Case(on("api", "drip"), "timeout", ALL, "did not answer within"),
    "info-headers-drip": Case(on("api", "drip-headers"), "timeout", ALL, "did not answer within"),
    "info-in-circles": Case(on("api", "loop"), "server", ALL, "redirected more than"),
    "info-zipped": Case(on("api", "gzip"), "server", ALL, "does not answer as a Hub does"),
    "info-without-a-commit": Case({"info": {"sha": None}}, "server", ALL, "as a Hub does"),
    "info-with-a-path-for-a-commit": Case({"info": {"sha": "../../.."}}, "server", ALL, "as a Hub does"),
    "info-without-files": Case({"info": {"siblings": "none"}}, "server", ALL, "as a Hub does"),
    "config-broken": Case(on("config.json", "broken"), "server", "config.json", "HTTP 500", ("card",)),
    "config-slow": Case(on("config.json", "slow"), "timeout", "config.json", "within 1 s", ("card",)),
    "config-cut": Case(on("config.json", "cut-body"), "cut", "config.json", "broke off", ("card",)),
    "config-truncated": Case(on("config.json", "truncated"), "cut", "config.json", "broke off", ("card",)),
    "config-short": Case(on("config.json", "short-length"), "cut", "config.json", "broke off", ("card",)),
    "config-shorter-than-promised": Case(on("config.json", "long-length"), "cut", "config.json", "broke", ("card",)),
    "config-drips": Case(on("config.json", "drip"), "timeout", "config.json", "within", ("card",)),
    "config-endless": Case(on("config.json", "endless"), "config", "config.json", "more than", ("card",)),
    "config-in-circles": Case(on("config.json", "loop"), "server", "config.json", "redirected", ("card",)),
    "config-zipped": Case(on("config.json", "gzip"), "server", "config.json", "as a Hub does", ("card",)),
    "config-limited": Case(on("config.json", "limited", **AT_ONCE), "rate limit", ALL, "too many requests", ("card",)),
    "config-gone": Case(on("config.json", "gone"), "refused", "config.json", "HTTP 404", ("card",)),
    "config-no-json": Case({}, "config", "config.json", "not valid JSON", ("card",), {"config.json": b"{"}),
    "config-a-bomb": Case({}, "config", "config.json", "too deeply", ("card",), {"config.json": b"[" * 10**6}),
    "config-huge": Case({}, "config", "config.json", "1,000,000,000 bytes", ("card",), {"config.json": BIG}),
    "adapter-no-json": Case(
        {}, "config", "adapter_config.json", "is empty", ("card", "config"), {"adapter_config.json": b""}
    ),
    "card-broken": Case(on("README.md", "broken"), "server", "README.md", "HTTP 500", ("config",)),
    "card-huge": Case({}, "card", "README.md", "1,000,000,000 bytes", ("config",), {"README.md": BIG}),
    "card-no-yaml": Case(
        {}, "card", "README.md", "not valid YAML", ("config", "card"), {"README.md": b"---\n[\n---\n# A card\n"}
    ),
    "card-nested": Case(
        {},
        "card",
        "README.md",
        "nested too deeply",
        ("config", "card"),
        {"README.md": b"---\n" + b"[" * 10**5 + b"\n---\n# A card\n"},
    ),
    "card-no-text": Case({}, "card", "README.md", "not UTF-8", ("config", "card"), {"README.md": b"# A card\xff"}),
    "header-cut": Case(
        on("model.safetensors", "cut-body"), "cut", "model.safetensors", "broke off", ("card", "config")
    ),
    "header-other-bytes": Case(
        on("model.safetensors", "wrong-range"), "server", "model.safetensors", "other bytes", ("card", "config")
    ),
    "header-of-no-parts": Case(
        on("model.safetensors", "ignores-range"), "server", "model.safetensors", "no parts", ("card", "config")
    ),
    "header-endless": Case(
        {}, "header", "model.safetensors", "", ("card", "config"), {"model.safetensors": Sparse(b"\xff" * 8, 10**9)}
    ),
}
"""Of the headers' own faults there is one; tests/sources/headers has the rest."""

LONG = (500_000).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(500_000)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The whole table in one run of eight threads, with sound repositories between; refusals repeat the token."""
    with HubServer() as hub:
        hub.echoes = True
        for name, case in TABLE.items():
            files = {**FILES, **case.files}
            if case.what == "model.safetensors":
                files = {"model.safetensors": Sparse(LONG, 10**9), **files}
            hub.add(f"lab/{name}", files, **case.how)
        hub.add("lab/sound", FILES)
        names = ["sound", *TABLE, "missing", "sound"]
        seconds = {name: 1.0 if case.kind == "timeout" else 20.0 for name, case in TABLE.items()}
        cases = [{"target": f"lab/{name}", "timeout": seconds.get(name, 20.0)} for name in names]
        answers = ask(hub, tmp_path_factory.mktemp("home"), cases, threads=8)
        assert hub.token not in answers.output
        assert "Bearer" not in answers.output
        found = dict(zip(names, answers.answers, strict=True))
        found["bytes sent"] = dict(hub.sent)
        return found


@pytest.mark.parametrize("name", TABLE)
def test_each_fault_is_one_and_the_rest_is_read(name: str, audited: dict[str, dict[str, Any]]) -> None:
    case, found = TABLE[name], audited[name]
    (fault,) = found["faults"]
    assert (fault["kind"], fault["what"]) == (case.kind, case.what)
    assert case.reason in fault["reason"]
    assert "\n" not in fault["reason"]
    assert f"lab/{name}" in fault["reason"] or case.what in fault["reason"]
    assert (found["config"] == CONFIG, found["card"] != "") == ("config" in case.left, "card" in case.left)


def test_the_run_goes_on(audited: dict[str, dict[str, Any]]) -> None:
    assert (audited["sound"]["faults"], audited["sound"]["config"]) == ([], CONFIG)
    (fault,) = audited["missing"]["faults"]
    assert (fault["kind"], fault["what"]) == ("private or missing", ALL)


def test_no_server_makes_the_client_read_what_it_did_not_ask_for(audited: dict[str, dict[str, Any]]) -> None:
    """Of files of a gigabyte, what fits the buffers of a connection goes out before the client hangs up."""
    sent = audited["bytes sent"]
    assert sum(sent.get(name, 0) for name in ("model.safetensors", "README.md", "config.json")) < 10**8


@pytest.mark.parametrize("kind", [{"gated": True}, {"private": True}, {}], ids=["gated", "private", "open"])
def test_the_token_is_sent_and_never_told(kind: dict[str, Any], tmp_path: Path) -> None:
    wrong = "hf_anothersecrettoken"
    with HubServer() as hub:
        hub.echoes = True
        hub.add("lab/mine", FILES, **kind, troubles={"README.md": Trouble(fault="broken")})
        cases = [{"target": "lab/mine"}]
        right = ask(hub, tmp_path, cases, HF_TOKEN=hub.token)
        assert right.answers[0]["config"] == CONFIG
        assert {asked.authorization for asked in hub.asked} == {f"Bearer {hub.token}"}
        other = ask(hub, tmp_path, cases, HF_TOKEN=wrong)
        assert (other.answers[0]["config"] == CONFIG) is (not kind)
        for told in (right.output, other.output):
            assert hub.token not in told
            assert wrong not in told


def test_a_token_that_cannot_be_sent_is_a_fault_without_it(tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.add("lab/model", FILES)
        found = ask(hub, tmp_path, [{"target": "lab/model"}], HF_TOKEN="hf_s\u00e9cretsecret")
    (fault,) = found.answers[0]["faults"]
    assert "check the letters of HF_TOKEN" in fault["reason"]
    assert "cretsecret" not in found.output


def test_a_password_in_the_endpoint_is_not_told(tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.add("lab/model", FILES)
        endpoint = hub.url.replace("http://", "http://user:password@")
        cases = [{"target": "lab/model"}, {"target": "lab/missing"}]
        found = ask(hub, tmp_path, cases, HF_ENDPOINT=endpoint)
    assert found.answers[0]["config"] == CONFIG
    assert "password" not in json.dumps(found.answers)


@pytest.mark.parametrize("fault", ["broken", "unavailable", "cut", "cut-body", "short-length", "slow"])
def test_what_passes_is_asked_again(fault: str, tmp_path: Path) -> None:
    with HubServer() as hub:
        trouble = {"config.json": Trouble(fault=fault, times=2, retry_after="0")}  # type: ignore[arg-type]
        hub.add("lab/model", FILES, troubles=trouble)
        cases = [{"target": "lab/model", "timeout": 1.0 if fault == "slow" else 20.0}]
        found = ask(hub, tmp_path, cases, budget={**QUICK, "attempts": 3}).answers[0]
        assert (found["faults"], found["config"]) == ([], CONFIG)
        assert sum(path.endswith("config.json") for path in hub.paths) == 3


@pytest.mark.parametrize("fault", ["forbidden", "gone", "no-hub", "loop"])
def test_what_does_not_pass_is_not_asked_again(fault: str, tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.add("lab/model", FILES, **on("config.json", fault))
        found = ask(hub, tmp_path, [{"target": "lab/model"}], budget={**QUICK, "attempts": 3}).answers[0]
        assert len(found["faults"]) == 1
        assert sum(path.endswith("config.json") for path in hub.paths) == (6 if fault == "loop" else 1)


def test_all_threads_wait_as_long_as_the_hub_asks(tmp_path: Path) -> None:
    """After the first 429 no request of any thread starts until its Retry-After is over; those on their way aside."""
    with HubServer() as hub:
        hub.add("lab/limited", FILES, troubles={"api": Trouble(fault="limited", times=1, retry_after="2")})
        for number in range(40):
            hub.add(f"lab/{number}", FILES)
        names = ["limited", *map(str, range(40))]
        found = ask(hub, tmp_path, [{"target": f"lab/{name}"} for name in names], threads=4)
        assert [answer["faults"] for answer in found.answers] == [[]] * len(names)
        starts = sorted(asked.at for asked in hub.asked)
        longest = max(after - before for before, after in itertools.pairwise(starts))
        assert longest > 1.0, "the whole run stood still: two seconds, less what was on its way"
        first, again = (asked.at for asked in hub.asked if "api/models/lab/limited" in asked.path)
        assert again - first >= 2.0


def test_an_hour_is_not_waited_for_and_the_next_repository_is_asked(tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.add("lab/limited", FILES, fault="limited")
        hub.add("lab/model", FILES)
        limited, answer = ask(hub, tmp_path, [{"target": "lab/limited"}, {"target": "lab/model"}]).answers
        (fault,) = limited["faults"]
        assert (fault["kind"], fault["what"]) == ("rate limit", ALL)
        assert "too many requests" in fault["reason"]
        assert sum("lab/limited" in path for path in hub.paths) == 1
        assert answer["faults"] == []


def test_a_budget_that_is_used_up(tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.add("lab/model", FILES)
        found = ask(hub, tmp_path, [{"target": "lab/model"}], budget={**QUICK, "max_requests": 2}).answers[0]
        assert (found["card"], found["config"]) == ("# A card\n", None)
        (fault,) = found["faults"]
        assert (fault["kind"], "budget of 2 requests" in fault["reason"]) == ("rate limit", True)
        assert len(hub.asked) == 2


def test_where_nothing_listens(tmp_path: Path) -> None:
    with HubServer() as hub:
        found = ask(hub, tmp_path, [{"target": "lab/model"}], HF_ENDPOINT="http://127.0.0.1:9").answers[0]
    (fault,) = found["faults"]
    assert (fault["kind"], fault["what"]) == ("offline", ALL)
    assert "http://127.0.0.1:9 cannot be reached; check the network" in fault["reason"]


@pytest.mark.parametrize("name", ["a b", "two//slashes", "-dash/x", "x" * 200])
def test_what_no_repository_is_called_is_bad_input(name: str, tmp_path: Path) -> None:
    with HubServer() as hub:
        (found,) = ask(hub, tmp_path, [{"target": f"hf:{name}"}]).answers
    assert found["error"] == "BadInput"
