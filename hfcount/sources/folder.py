"""A model described by a local folder with a config.json."""

from __future__ import annotations

from pathlib import Path

from hfcount.errors import BadInput
from hfcount.sources.config_json import read_config_file
from hfcount.sources.source import Source

CHECKPOINT_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt")


def is_model_folder(model: str) -> bool:
    """Whether `model` is a folder that holds a config.json, or such a file itself."""
    if not model:
        return False  # to pathlib, an empty name is the working directory
    try:
        path = Path(model).expanduser()
        return (path / "config.json").is_file() or (path.name == "config.json" and path.is_file())
    except (OSError, ValueError, RuntimeError):  # a name too long, a NUL byte, a ~user that is not there
        return False


def load_folder(model: str) -> Source:
    """The source for a folder with a config.json (or for that file itself)."""
    path = Path(model).expanduser()
    folder = path.parent if path.name == "config.json" else path
    config = read_config_file(folder / "config.json")
    return Source(model=folder.resolve().name, kind="folder", location=str(folder), revision=None, config=config)


def refuse_bare_path(model: str) -> None:
    """Raise BadInput when `model` is clearly meant as a path, but no config.json is there.

    Without this, a mistyped path would be looked up on the Hub and reported as a missing repository.
    """
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    try:
        path = Path(model).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError, RuntimeError):  # as above: nothing can be there
        path, is_file, is_folder = Path(), False, False
    if is_file:
        hint = "; give the folder that holds its config.json" if path.suffix in CHECKPOINT_SUFFIXES else ""
        raise BadInput(f"{model}: a file, not a folder with a config.json{hint}")
    if looks_like_path and is_folder:
        raise BadInput(f"{model}: the folder has no config.json; point to the folder that holds it")
    if looks_like_path:
        raise BadInput(f"{model}: no such folder; a model is a folder with a config.json, a card or a Hub id")
