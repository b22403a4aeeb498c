"""Checkpoints in several files: what transformers writes, and what is amiss between index and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from hfcount.sources.headers import Header, HeaderError, InMemory, LocalFile, Readable, read_checkpoint_files
from hfcount.sources.headers import sharded as module

Opener = Callable[[str], Readable]
INDEX = "model.safetensors.index.json"


def folder(path: Path) -> tuple[dict[str, int], Opener]:
    return {file.name: file.stat().st_size for file in path.iterdir()}, lambda name: LocalFile(path / name)


def files(**contents: Any) -> tuple[dict[str, int], Opener]:
    """Files by name ("__" for "." and the index as `index`): safetensors of these tensors, JSON, or bytes."""
    held = {}
    for name, content in contents.items():
        if name == "index":
            held[INDEX] = content if isinstance(content, bytes) else json.dumps(content).encode()
        else:
            held[f"{name}.safetensors"] = safetensors.torch.save({key: torch.zeros(n) for key, n in content.items()})
    return {name: len(data) for name, data in held.items()}, lambda name: InMemory(held[name], name)


def joined(**contents: Any) -> Header:
    header = read_checkpoint_files(*files(**contents))
    assert header is not None
    return header


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=32, n_head=2, vocab_size=128, n_positions=16))


def test_what_transformers_shards_is_joined(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    index = json.loads((tmp_path / INDEX).read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert len(shards) > 1
    header = read_checkpoint_files(*folder(tmp_path))
    assert header is not None
    assert header.format == "safetensors"
    assert header.files == tuple(shards)
    assert header.index == index["metadata"]
    assert header.nbytes == index["metadata"]["total_size"]
    assert header.stored_elements == index["metadata"]["total_parameters"] == model.num_parameters()
    assert header.metadata == {"format": "pt"}
    assert header.notes == ()
    assert {tensor.name: tensor.file for tensor in header.tensors} == index["weight_map"]
    state = model.state_dict()
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {
        name: tuple(state[name].shape) for name in index["weight_map"]
    }


def test_shards_of_torch_save_are_joined(tmp_path: Path) -> None:
    shared = torch.zeros(3)
    parts = [{"a": torch.zeros(2), "b": shared, "c": shared}, {"d": torch.zeros(4, dtype=torch.float16)}]
    weight_map = {}
    for number, part in enumerate(parts):
        name = f"pytorch_model-{number + 1:05}-of-00002.bin"
        torch.save(part, tmp_path / name)
        weight_map |= dict.fromkeys(part, name)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    header = read_checkpoint_files(*folder(tmp_path))
    assert header is not None
    assert (header.format, header.nbytes, header.stored_elements) == ("torch", 8 + 12 + 8, 2 + 3 + 3 + 4)
    assert header.metadata == {"tied": {"c": "b"}}
    assert header.index == {}


def test_a_shard_that_is_not_there_is_a_note() -> None:
    header = joined(
        one={"a": 1},
        index={"metadata": {"total_size": 12}, "weight_map": {"a": "one.safetensors", "b": "two.x", "c": "two.x"}},
    )
    assert [tensor.name for tensor in header.tensors] == ["a"]
    assert header.notes == ("1 file ('two.x') is not there, and 2 tensors with it",)


def test_tensors_that_only_the_index_or_only_a_file_has_are_notes() -> None:
    weight_map = {"a": "one.safetensors", "lost": "one.safetensors"}
    header = joined(one={"a": 1, "more": 2, "still": 3, "other": 4, "last": 5}, index={"weight_map": weight_map})
    assert header.stored_elements == 15
    assert header.notes == (
        f"{INDEX}: 1 tensor ('lost') is in the index and in no file",
        f"{INDEX}: 4 tensors ('last', 'more', 'other', ...) are in the files and not in the index",
    )


def test_a_tensor_in_two_files_counts_once_as_the_index_says() -> None:
    weight_map = {"a": "two.safetensors", "b": "one.safetensors"}
    header = joined(one={"a": 5, "b": 1}, two={"a": 7}, index={"weight_map": weight_map})
    assert {tensor.name: (tensor.shape, tensor.file) for tensor in header.tensors} == {
        "a": ((7,), "two.safetensors"),
        "b": ((1,), "one.safetensors"),
    }
    assert header.notes == ("1 tensor ('a') is in two files and counted once; the other copies take 20 bytes",)


def test_a_tensor_in_another_file_than_the_index_says_is_a_note() -> None:
    weight_map = {"a": "two.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    header = joined(one={"a": 5, "b": 1}, two={"c": 1}, index={"weight_map": weight_map})
    assert header.notes == (f"{INDEX}: 1 tensor ('a') is in another file than the index says",)


def test_shards_without_an_index_are_joined_by_their_numbers() -> None:
    sizes, open_file = files(**{"part-00001-of-00003": {"a": 1}, "part-00003-of-00003": {"b": 2}})
    header = read_checkpoint_files(sizes, open_file)
    assert header is not None
    assert header.stored_elements == 3
    assert header.notes == ("1 file ('part-00002-of-00003.safetensors') is not there",)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (b"", "is not JSON: '{' expected at byte 0, not its end"),
        (b"[]", "is not JSON: '{' expected"),
        (b"{}", "has no weight_map, so it is no index of a checkpoint"),
        (b'{"weight_map": []}', "is not JSON: '{' expected"),
        (b'{"weight_map": {"a": 1}}', "a string expected"),
        (b'{"weight_map": {"a": "x", "a": "y"}}', "has the key 'a' twice"),
        (b'{"weight_map": {}, "weight_map": {}}', "has the key 'weight_map' twice"),
        (b'{"metadata": {"total_size": NaN}, "weight_map": {}}', "not JSON: NaN"),
        (b'{"metadata": ' + b"[" * 100_000, "nested more than 128 deep"),
        (b'{"metadata": [' + b"[]," * 1_000_000, "more than 1,000,000 bytes in one value"),
        (b'{"weight_map": {"a": "../../secret.safetensors"}}', "none of the 1 files that it names is there"),
        (b'{"weight_map": {"a": "/etc/passwd"}}', "none of the 1 files that it names is there"),
        (b'{"weight_map": {"\xff": "x"}}', "is not UTF-8"),
    ],
)
def test_an_index_that_cannot_be_believed_is_refused(index: bytes, said: str) -> None:
    with pytest.raises(HeaderError) as refused:
        joined(index=index)
    assert str(refused.value).startswith(INDEX)
    assert said in str(refused.value)


def test_an_index_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INDEX_LIMIT", 10)
    with pytest.raises(HeaderError, match="of an index at most 10 are read"):
        joined(index=b'{"weight_map": {}}')


def test_a_shard_that_cannot_be_believed_is_named() -> None:
    sizes, open_file = files(one={"a": 1}, index={"weight_map": {"a": "one.safetensors"}})
    broken = {INDEX: open_file(INDEX), "one.safetensors": InMemory(b"\xff" * 20, "one.safetensors")}
    with pytest.raises(HeaderError, match=r"one\.safetensors: says that its header has"):
        read_checkpoint_files(sizes, lambda name: broken[name])
