"""A folder as a source: what is one, what is not, and how a mistyped path is told from a Hub id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfcount.errors import BadInput, OfflineError
from hfcount.sources import resolve
from hfcount.sources.folder import is_model_folder

CONFIG = {"model_type": "gpt2", "n_layer": 3}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder; its parent is the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my-model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


@pytest.mark.parametrize(
    "typed", ["my-model", "./my-model", "my-model/", "my-model/config.json", "../{parent}/my-model"]
)
def test_the_ways_to_name_a_folder(typed: str, folder: Path) -> None:
    source = resolve(typed.format(parent=folder.parent.name))
    assert (source.model, source.kind, source.revision) == ("my-model", "folder", None)
    assert source.config == CONFIG
    assert Path(source.location).resolve() == folder


def test_an_absolute_path(folder: Path) -> None:
    assert resolve(str(folder)).config == CONFIG


def test_the_folder_where_one_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert resolve(".").model == "my-model"


def test_a_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert resolve("~/my-model").config == CONFIG


def test_a_name_with_signs_of_all_kinds(folder: Path) -> None:
    strange = folder.parent / "mödel 模型 (1)"
    folder.rename(strange)
    assert resolve("mödel 模型 (1)").model == "mödel 模型 (1)"


def test_a_folder_comes_before_a_card(folder: Path) -> None:
    folder.rename(folder.parent / "gpt2")
    assert resolve("gpt2").kind == "folder"
    assert resolve("card:gpt2").kind == "card"


def test_an_empty_folder_does_not_hide_a_card(folder: Path) -> None:
    (folder.parent / "gpt2").mkdir()
    assert resolve("gpt2").kind == "card"


def test_a_link_to_a_folder(folder: Path) -> None:
    (folder.parent / "linked").symlink_to(folder)
    assert resolve("linked").config == CONFIG


def test_a_config_that_is_itself_a_folder_makes_none(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert not is_model_folder("my-model")
    with pytest.raises(BadInput, match=r"my-model: the folder has no config\.json"):
        resolve("./my-model")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("./nothing", r"\./nothing: no such folder"),
        ("/no/such/place", "/no/such/place: no such folder"),
        ("~/nothing/here", "~/nothing/here: no such folder"),
        ("a/b/c", "a/b/c: no such folder"),
        (".", r"\.: the folder has no config\.json"),
        ("notes.txt", r"notes\.txt: a file, not a folder"),
        ("model.safetensors", r"model\.safetensors: .*give the folder that holds its config\.json"),
        ("", "neither a folder, nor a bundled card, nor a Hub id"),
        ("x" * 5000, "neither a folder, nor a bundled card, nor a Hub id"),
        ("a\0b", "neither a folder, nor a bundled card, nor a Hub id"),
        ("a\nb", "neither a folder, nor a bundled card, nor a Hub id"),
        ("/x" + "y" * 5000, "no such folder"),
        ("~no-such-user-here/x/y", "no such folder"),
        ("card:nothing", "no bundled model card"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_is_no_folder(typed: str, message: str, folder: Path) -> None:
    (folder.parent / "notes.txt").write_text("text")
    (folder.parent / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=message) as caught:
        resolve(typed)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2


def test_an_empty_folder_with_a_hub_name_is_asked_of_the_hub(folder: Path) -> None:
    """As in `from_pretrained`; here the tests are offline."""
    (folder.parent / "lab" / "model").mkdir(parents=True)
    with pytest.raises(OfflineError, match="lab/model: not in the local cache"):
        resolve("lab/model")


def test_a_short_name_that_is_near_a_card(folder: Path) -> None:
    with pytest.raises(OfflineError, match=r"near names: .*llama-7b"):
        resolve("llama-7")
