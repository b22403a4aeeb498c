"""Folders, checkpoint files and bundled cards as they describe themselves; the Hub has files of its own."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from hfcount.errors import BadInput
from hfcount.sources import describe
from hfcount.sources.cards import card_names, load_card
from hfcount.sources.repository import LFS_POINTER, LocalFolder

CONFIG = {"model_type": "gpt2", "n_layer": 3}
README = "---\nhfcount:\n  claims:\n  - {claim: 124M, approx: 124000000}\n---\n# A model\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder with a checkpoint that the safetensors library wrote; its parent is the working directory."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my-model-7b"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "README.md").write_text(README)
    save_file({"wte": np.zeros((10, 4), np.float32), "b": np.zeros(3, np.float16)}, path / "model.safetensors")
    return path


@pytest.mark.parametrize("typed", ["my-model-7b", "./my-model-7b/", "my-model-7b/config.json"])
def test_all_that_a_folder_says(typed: str, folder: Path) -> None:
    found = describe(typed)
    assert (found.model, found.where, found.revision, found.faults) == ("my-model-7b", "folder", None, ())
    assert (found.config, found.card) == (CONFIG, README)
    assert [claim.claim for claim in found.claims] == ["124M"]
    assert found.checkpoint is not None
    assert (found.checkpoint.parameters, found.checkpoint.nbytes) == (43, 4 * 40 + 2 * 3)
    assert pickle.loads(pickle.dumps(found)) == found


def test_without_headers_the_checkpoint_is_not_opened(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no header at all")
    assert describe("my-model-7b", headers=False).faults == ()
    (fault,) = describe("my-model-7b").faults
    assert (fault.kind, fault.what) == ("header", "model.safetensors")


@pytest.mark.parametrize("beside", [True, False])
def test_a_checkpoint_file_with_the_config_beside_it(beside: bool, folder: Path) -> None:
    if not beside:
        (folder / "config.json").unlink()
    found = describe("my-model-7b/model.safetensors")
    assert (found.model, found.where, found.card) == ("model.safetensors", "file", "")
    assert found.config == (CONFIG if beside else None)
    assert found.checkpoint is not None
    assert found.checkpoint.parameters == 43


def test_an_adapter_or_a_checkpoint_alone_make_a_folder(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert describe("my-model-7b").where == "folder"
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    assert describe("my-model-7b").adapter_config == {"r": 8}
    (folder / "adapter_config.json").unlink()
    assert describe("./my-model-7b").card == README
    (folder / "README.md").unlink()
    with pytest.raises(BadInput, match=r"my-model-7b: the folder has no config\.json"):
        describe("./my-model-7b")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "neither a folder, nor a bundled card, nor a Hub id"),
        ("./nothing", "no such folder"),
        ("notes.txt", "a file, not a folder"),
        ("card:nothing", "no bundled model card"),
        ("a\0b", "nor a Hub id"),
        ("hf:a b", "nor a Hub id"),
        ("~no-such-user/x/y", "no such folder"),
        ("x" * 5000, "nor a Hub id"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_no_model_can_be_called(typed: str, message: str, folder: Path) -> None:
    (folder.parent / "notes.txt").write_text("text")
    with pytest.raises(BadInput, match=message):
        describe(typed)


def test_a_folder_then_a_card_then_the_hub(folder: Path) -> None:
    assert describe("gpt2").where == "card"
    folder.rename(folder.parent / "gpt2")
    assert describe("gpt2").where == "folder"
    assert describe("card:gpt2").where == "card"
    for hub in (describe("hf:gpt2"), describe("gpt2-medium", revision="v1"), describe("gpt2-mediun")):
        (fault,) = hub.faults  # the tests are offline
        assert (hub.where, fault.kind, fault.what) == ("hub", "offline", "the repository")
    assert "near names: gpt2-medium" in hub.faults[0].reason


@pytest.mark.parametrize("name", card_names())
def test_a_bundled_card_says_what_its_source_says(name: str) -> None:
    found, source = describe(name), load_card(name)
    assert (found.model, found.location, found.config) == (source.model, source.location, source.config)
    assert (found.claims, found.faults) == (source.claims, ())
    assert found.card.startswith("---")


@pytest.mark.parametrize(
    ("file", "data", "kind"),
    [
        ("config.json", b"{", "config"),
        ("config.json", b"[" * 10**6, "config"),
        ("config.json", b" " * (16 * 2**20 + 1), "config"),
        ("adapter_config.json", b"[]", "config"),
        ("README.md", b"---\n- a\n- b\n---\n", "card"),
        ("README.md", b"#\xff", "card"),
        ("README.md", b"#" * (8 * 2**20 + 1), "card"),
        ("model.safetensors", struct.pack("<Q", 2**63), "header"),
        ("model.safetensors", LFS_POINTER + b"v1\noid sha256:0\nsize 548105171\n", "header"),
    ],
    ids=lambda value: ascii(value[:12]),
)
def test_each_file_that_cannot_be_read_is_one_fault(file: str, data: bytes, kind: str, folder: Path) -> None:
    (folder / file).write_bytes(data)
    found = describe("my-model-7b")
    (fault,) = found.faults
    assert (fault.what, fault.kind) == (file, kind)
    assert fault.reason.isprintable()
    assert (found.config == CONFIG) is (file != "config.json")
    assert (found.checkpoint is not None) is (file != "model.safetensors")


LAUGHS = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
"""Forty lines of YAML that stand for 2^39 values."""
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
"""Forty lines that YAML itself writes out: a merge copies the keys of what it names."""


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("[" * 10**5, "nested too deeply"),
        ("- " * 10**4, "nested too deeply"),
        ("hfcount: {claims: [{claim: 0x" + "f" * 10**5 + "}]}", "more than any claims do"),
        ("date: 2024-13-45", "value that YAML cannot read"),
        ("x: !!timestamp y", "value that YAML cannot read"),
        ("x: " + "9" * 10**4, "value that YAML cannot read"),
        ("hfcount: {claims: [{claim: 1, approx: .inf}]}", "no figure of a model"),
        ("hfcount: {claims: [{claim: 1, value: 0x" + "f" * 40 + "}]}", "no figure of a model"),
        (LAUGHS + "hfcount: {claims: [{claim: *a39}]}", "more than any claims do"),
        ("hfcount: &h {claims: [*h]}", "more than any claims do"),
        ("x: " + "y" * 2**21, "more than 2,097,152 signs"),
        ("x: " + "1:" * 10**6 + "1", "a number in base 60 of 2,000,001 signs"),
        ("x: " + "1:" * 10**6 + "1.5", "a number in base 60 of 2,000,003 signs"),
        (
            "{" + "".join(f"{(2**61 - 1) * n}: x, " for n in range(1, 40_000)) + "}",
            "a key that is a number of 19 signs",
        ),
        (MERGES, "more than any claims do"),
        ("x: [" + "y, " * 10**5 + "]", "more than any claims do"),
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_front_matter_that_would_exhaust_its_reader(front: str, reason: str, folder: Path) -> None:
    (folder / "README.md").write_text(f"---\n{front}\n---\n# A model\n")
    found = describe("my-model-7b")
    (fault,) = found.faults
    assert (fault.kind, fault.what) == ("card", "README.md")
    assert reason in fault.reason
    assert found.card.endswith("# A model\n")


def test_the_files_of_a_folder(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config.json").write_text("{}")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.00.pth").write_bytes(b"12345")
    (folder / "loop").symlink_to(folder)
    (folder / "gone").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.safetensors")
    listing = LocalFolder(folder).listing
    assert set(listing) == {"README.md", "config.json", "model.safetensors", "original/consolidated.00.pth"}
    assert listing["original/consolidated.00.pth"] == 5


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "nothing", ""])
def test_no_name_leads_out_of_the_folder(name: str, folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    repository = LocalFolder(folder)
    assert repository.text(name, 100) is None
    with pytest.raises(BadInput, match="no such file in the repository"):
        repository.open(name)
