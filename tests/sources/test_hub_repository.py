"""Repositories on the Hub read by ranges with the real client: what is asked for, how much of it, and who gets the
token."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.describing_client import QUICK, ask, describe_all
from sources.hub_server import COMMIT, SIGNATURE, HubServer, Sparse, Trouble

OTHER_COMMIT = "f" * 40
CONFIG = {"model_type": "gpt2", "n_layer": 3}
README = b"---\nhfcount:\n  claims:\n  - {claim: 124M, approx: 124000000}\n---\n# A model with 124M parameters\n"
SHAPES = {"wte.weight": [1000, 64], "wpe.weight": [32, 64]}
ELEMENTS = 1000 * 64 + 32 * 64


def safetensors(shapes: dict[str, list[int]], padding: int = 0, size: int | None = None) -> Sparse:
    """A file of float32 tensors by the format's one page: 8 bytes of length, JSON, data."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * shape[0] * shape[1]
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode() + b" " * padding
    return Sparse(struct.pack("<Q", len(text)) + text, size or 8 + len(text) + end)


FILES = {
    "README.md": README,
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": safetensors(SHAPES),
    "tokenizer.json": b"never asked for",
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def test_all_that_a_repository_says(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", FILES, safetensors={"parameters": {"F32": ELEMENTS}, "total": ELEMENTS})
    found = describe_all(hub, tmp_path, ["lab/model"])["lab/model"]
    assert found["faults"] == []
    assert (found["model"], found["where"], found["revision"]) == ("lab/model", "hub", COMMIT)
    assert found["location"] == f"{hub.url}/lab/model"
    assert (found["config"], found["card"], found["claims"]) == (CONFIG, README.decode(), ["124M"])
    assert found["hub_total"] == ELEMENTS
    assert found["checkpoint"] == [ELEMENTS, ELEMENTS, 4 * ELEMENTS]


def test_one_request_for_each_file_that_is_there_and_one_to_learn_which(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", FILES)
    found = ask(hub, tmp_path, [{"target": "lab/model"}])
    assert hub.paths == [
        "/api/models/lab/model?blobs=true",
        *(f"/lab/model/resolve/{COMMIT}/{name}" for name in ("README.md", "config.json", "model.safetensors")),
    ]
    assert found.requests == len(hub.paths)


def test_one_connection_serves_all_requests_of_a_thread(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", {**FILES, "model.safetensors": safetensors(SHAPES, 300_000)})
    hub.add("lab/gated", FILES, gated=True)
    found = ask(hub, tmp_path, [{"target": "lab/model"}, {"target": "lab/gated"}, {"target": "lab/model"}])
    assert (found.requests, hub.connections) == (5 + 2 + 5, 1)


def test_without_headers_no_checkpoint_is_opened(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", FILES)
    (found,) = ask(hub, tmp_path, [{"target": "lab/model", "headers": False}]).answers
    assert (found["config"], found["checkpoint"], found["faults"]) == (CONFIG, None, [])
    assert not [path for path in hub.paths if path.endswith(".safetensors")]


@pytest.mark.parametrize(
    ("files", "requests"),
    [
        ({"model-Q4_K_M.txt": b""}, 1),
        ({"adapter_config.json": b'{"r": 8}', "README.md": README}, 3),
    ],
    ids=["nothing", "adapter"],
)
def test_a_repository_without_a_config_is_no_fault(files: dict, requests: int, hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", files)
    found = ask(hub, tmp_path, [{"target": "lab/model"}])
    assert found.answers[0]["faults"] == []
    assert found.answers[0]["config"] is None
    assert found.answers[0]["adapter_config"] == ({"r": 8} if "adapter_config.json" in files else None)
    assert found.requests == requests


@pytest.mark.parametrize("padding", [0, 300_000], ids=["short-header", "long-header"])
def test_of_a_large_file_its_header_alone_is_read(padding: int, hub: HubServer, tmp_path: Path) -> None:
    rows = 400_000
    hub.add("lab/large", {"model.safetensors": safetensors({"w": [rows, 4096]}, padding)})
    found = describe_all(hub, tmp_path, ["lab/large"])["lab/large"]
    assert found["checkpoint"] == [rows * 4096, rows * 4096, 4 * rows * 4096]
    assert hub.sent["model.safetensors"] < padding + 300_000  # of 6.5 GB
    ranges = [asked.range for asked in hub.asked if asked.path.endswith(".safetensors")]
    assert all(ranges)
    assert len(ranges) == 1 + (padding > 0)


def test_the_shards_of_an_index_and_no_other_file(hub: HubServer, tmp_path: Path) -> None:
    shards = {
        f"model-0000{n}-of-00002.safetensors": safetensors({name: SHAPES[name]}) for n, name in enumerate(SHAPES, 1)
    }
    index = {"metadata": {}, "weight_map": dict(zip(SHAPES, shards, strict=True))}
    files = {
        "model.safetensors.index.json": json.dumps(index).encode(),
        **shards,
        "pytorch_model.bin": b"not asked for",
    }
    hub.add("lab/sharded", files)
    found = describe_all(hub, tmp_path, ["lab/sharded"])["lab/sharded"]
    assert (found["checkpoint"], found["faults"]) == ([ELEMENTS, ELEMENTS, 4 * ELEMENTS], [])
    assert len(hub.paths) == 4


def test_an_index_cannot_name_what_is_not_listed(hub: HubServer, tmp_path: Path) -> None:
    index = {"metadata": {}, "weight_map": {"w": "../../other/secrets/resolve/main/model.safetensors"}}
    hub.add("lab/sharded", {"model.safetensors.index.json": json.dumps(index).encode()})
    (fault,) = describe_all(hub, tmp_path, ["lab/sharded"])["lab/sharded"]["faults"]
    assert fault["kind"] == "header"
    assert len(hub.paths) == 2, "the listing and the index"


def test_the_cdn_never_gets_the_token_and_serves_the_second_range_alone(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", {**FILES, "model.safetensors": safetensors(SHAPES, 300_000)}, on_cdn=True, private=True)
    found = ask(hub, tmp_path, [{"target": "lab/model"}], HF_TOKEN=hub.token)
    assert (found.answers[0]["faults"], found.answers[0]["config"]) == ([], CONFIG)
    at_cdn = [asked for asked in hub.asked if asked.host.startswith("localhost")]
    at_hub = [asked for asked in hub.asked if not asked.host.startswith("localhost")]
    assert {asked.authorization for asked in at_hub} == {f"Bearer {hub.token}"}
    assert {asked.authorization for asked in at_cdn} == {None}
    weights = [asked.host.startswith("localhost") for asked in hub.asked if "model.safetensors" in asked.path]
    assert weights == [False, True, True]
    assert hub.token not in found.output
    assert SIGNATURE not in json.dumps(found.answers)


def test_an_address_that_has_run_out_is_asked_for_again(hub: HubServer, tmp_path: Path) -> None:
    """The CDN refuses the second range: the Hub signs a new address."""
    files = {"model.safetensors": safetensors(SHAPES, 300_000)}
    trouble = Trouble(fault="forbidden", after=1, times=1)
    hub.add("lab/model", files, on_cdn=True, troubles={"model.safetensors": trouble})
    found = describe_all(hub, tmp_path, ["lab/model"])["lab/model"]
    assert (found["faults"], found["checkpoint"][0]) == ([], ELEMENTS)
    weights = [asked.host.startswith("localhost") for asked in hub.asked if "model.safetensors" in asked.path]
    assert weights == [False, True, True, False, True]


def test_a_renamed_repository_keeps_the_token(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/old", {}, renamed_to="lab/new", private=True)
    hub.add("lab/new", FILES, private=True)
    found = ask(hub, tmp_path, [{"target": "lab/old"}], HF_TOKEN=hub.token).answers[0]
    assert found["faults"] == []
    assert (found["model"], found["config"], found["checkpoint"][0]) == ("lab/old", CONFIG, ELEMENTS)


def test_a_pinned_revision_is_read_at_its_commit(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", FILES, revisions={"main": COMMIT, "refs/pr/1": OTHER_COMMIT})
    (found,) = ask(hub, tmp_path, [{"target": "lab/model", "revision": "refs/pr/1"}]).answers
    assert (found["revision"], found["config"], found["faults"]) == (OTHER_COMMIT, CONFIG, [])
    assert all(OTHER_COMMIT in path for path in hub.paths[1:])


def test_offline_reads_what_the_cache_has_and_online_does_not_ask_for_it_again(hub: HubServer, tmp_path: Path) -> None:
    hub.add("lab/model", FILES)
    download = "from hfcount.sources import resolve; resolve('lab/model')"
    subprocess.run([sys.executable, "-c", download], env=hub.environment(tmp_path), check=True, timeout=60)
    hub.asked.clear()
    cases = [{"target": "lab/model", "offline": True}, {"target": "lab/other", "offline": True}]
    kept, absent = ask(hub, tmp_path, cases).answers
    assert (kept["config"], kept["revision"], kept["card"], kept["faults"]) == (CONFIG, COMMIT, "", [])
    (fault,) = absent["faults"]
    assert fault["kind"] == "offline"
    assert "lab/other: not in the local cache" in fault["reason"]
    assert hub.asked == []
    assert ask(hub, tmp_path, [{"target": "lab/model"}]).answers[0]["config"] == CONFIG
    assert not [path for path in hub.paths if path.endswith("config.json")]


def test_the_ids_of_an_author_come_page_by_page(hub: HubServer, tmp_path: Path) -> None:
    for number in range(7):
        hub.add(f"lab/model-{number}", {})
    hub.add("other/model-x", {})
    hub.page_size = 3
    cases = [
        {"list": {"author": "lab"}},
        {"list": {"author": "lab", "limit": 4}},
        {"list": {"search": "MODEL-X"}},
        {"list": {"author": "nobody"}},
    ]
    found = ask(hub, tmp_path, cases)
    everything, first, searched, nobody = found.answers
    assert everything == [f"lab/model-{number}" for number in range(7)]
    assert first == everything[:4]
    assert (searched, nobody) == (["other/model-x"], [])
    assert found.requests == len(hub.paths) == 3 + 2 + 1 + 1


@pytest.mark.parametrize("limited", [False, True])
def test_a_list_that_the_hub_does_not_give(limited: bool, hub: HubServer, tmp_path: Path) -> None:
    case = {"list": {"author": "lab"}, "timeout": 1.0}
    endpoint = {} if limited else {"HF_ENDPOINT": "http://127.0.0.1:9"}
    offline = {"HF_HUB_OFFLINE": "1"} if limited else {}
    (found,) = ask(hub, tmp_path, [case], budget=QUICK, **endpoint, **offline).answers
    assert found["error"] == "OfflineError"
