"""Answers from a record: equal to the step that is run now, without torch, and only where they hold."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

import hfcount
from hfcount import records
from hfcount.facts import facts_of
from hfcount.records import Record, kept, packaged_path, write
from hfcount.reports.memory import memory_document
from hfcount.sources import resolve
from hfcount.workbench import Workbench

LLAMA = transformers.LlamaConfig(
    vocab_size=160, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=512, architectures=["LlamaForCausalLM"],
)  # fmt: skip
RESNET = transformers.ResNetConfig(
    embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], architectures=["ResNetForImageClassification"]
)
"""A class without gradient checkpointing."""

WITHOUT_TORCH = """
import json, sys
for name in ("torch", "transformers", "peft", "pandas"):
    sys.modules[name] = None
import hfcount
from hfcount.reports.memory import memory_document
print(json.dumps(memory_document(hfcount.memory(sys.argv[1], **json.loads(sys.argv[2])))))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HFCOUNT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def folder_of(config: Any, tmp_path: Path) -> str:
    config.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def figures(document: Any) -> Any:
    """A document without what no two runs have in common."""
    if isinstance(document, dict):
        return {key: figures(value) for key, value in document.items() if key != "simulated_seconds"}
    return list(map(figures, document)) if isinstance(document, (list, tuple)) else document


def without_torch(model: str, **asked: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, model, json.dumps(asked)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("config", "first", "then"),
    [
        pytest.param(
            LLAMA, {"batch": 2, "seq": 100, "lora_r": 3}, {"batch": 5, "seq": 77, "lora_r": 6}, id="by their forms"
        ),
        pytest.param(
            LLAMA,
            {"sharding": "zero2", "devices": 4, "seq": 60, "regimes": "full"},
            {"sharding": "zero2", "devices": 4, "seq": 60, "regimes": "full"},
            id="a step without a form",
        ),
        pytest.param(RESNET, {"batch": 2}, {"batch": 3}, id="a class that has no checkpointing"),
    ],
)
def test_a_second_answer_needs_no_torch_and_is_that_of_the_step(
    config: Any, first: dict[str, Any], then: dict[str, Any], tmp_path: Path, cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = folder_of(config, tmp_path)
    hfcount.memory(model, **first)
    found = without_torch(model, **then)
    monkeypatch.setenv("HFCOUNT_CACHE", str(tmp_path / "empty"))
    assert figures(found) == figures(memory_document(hfcount.memory(model, **then)))


def test_a_class_without_checkpointing_says_so_once(tmp_path: Path, cache: Path) -> None:
    found = hfcount.memory(folder_of(RESNET, tmp_path), batch=2)
    said = [note for note in found.notes if note.startswith("no peak with gradient checkpointing")]
    assert len(said) == 1
    assert "ResNetForImageClassification does not support" in said[0]


def test_a_record_that_was_cut_is_none(tmp_path: Path, cache: Path) -> None:
    model = folder_of(LLAMA, tmp_path)
    before = memory_document(hfcount.memory(model, regimes="full", seq=64))
    (path,) = (cache / "records").iterdir()
    path.write_bytes(path.read_bytes()[:200])
    assert figures(memory_document(hfcount.memory(model, regimes="full", seq=64))) == figures(before)
    assert json.loads(gzip.decompress(path.read_bytes()))["answers"]


def test_settings_have_a_record_of_their_own(tmp_path: Path, cache: Path) -> None:
    model = folder_of(LLAMA, tmp_path)
    one = hfcount.memory(model, regimes="full", seq=64)
    two = hfcount.memory(model, regimes="full", seq=64, settings={"num_hidden_layers": 2})
    layer = 4 * 48**2 - 2 * 48 * 24 + 3 * 48 * 80 + 2 * 48
    assert one.full.trainable - two.full.trainable == layer


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HFCOUNT_CACHE", str(tmp_path / "file"))
    assert hfcount.memory(folder_of(LLAMA, tmp_path), regimes="full", seq=64).full.total_bytes


def test_the_cache_has_so_many_files_at_most(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_FILES", 2)
    source = resolve(folder_of(LLAMA, tmp_path))
    for layers in range(4):
        with kept(source, [f"num_hidden_layers={layers}"]) as record:
            record.answer("layers", lambda: layers)  # noqa: B023  (asked at once)
    assert len(list((cache / "records").iterdir())) == 2


def test_a_packaged_record_holds_for_its_versions(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PACKAGED", tmp_path / "packaged")
    source = resolve("card:gpt2")
    known = {**dataclasses.asdict(facts_of(Workbench(source, ()))), "parameters": 1}
    write(packaged_path(source), source.model, Record({"facts": known}))

    def parameters() -> int:
        with kept(source, ()) as record:
            return facts_of(Workbench(source, (), record=record)).parameters

    assert parameters() == 1
    monkeypatch.setattr(records, "PACKAGES", ())
    assert parameters() == 124_439_808
