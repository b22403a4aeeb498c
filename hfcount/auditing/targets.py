"""What is to be audited, one model after the other: names, folders of models, and files of ids or of rows crawled.

Everything is a generator: of a file of a million rows a few are in memory. A row that cannot be used becomes a
target with a `fault`, and that an error finding; the rows after it are read all the same.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfcount.errors import BadInput
from hfcount.sources.folder import CHECKPOINT_SUFFIXES
from hfcount.sources.regular_file import read_regular


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """One model to audit. Plain data: it can be pickled and sent to another process.

    Attributes:
        id: what it is asked for by: a Hub id, the name of a card, the path of a folder. No two models of a run share
            one, and a run that is resumed knows by it what is done.
        name: how findings call the model; of a folder its path below the one that was named. "": as `id`.
        config: config.json, where the row has it; then nothing is asked of the Hub.
        card: the text of README.md, where the row has it.
        folder: the folder, where it is one.
        location: for a reader: where the row was read ("crawl.jsonl line 12"), or the folder.
        fault: why the row cannot be used; "" of all others.
    """

    id: str
    name: str = ""
    config: Mapping[str, Any] | None = None
    card: str | None = None
    folder: str | None = None
    location: str = ""
    fault: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.id)


def printable(text: str) -> str:
    """`text` as UTF-8 can hold it: what is no character, half of a pair, a byte of a file's name, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def named_targets(names: Sequence[str]) -> Iterator[Target]:
    """The targets that a command line names: the models in a folder, else a name as it stands."""
    for name in names:
        if name.strip() and _is_folder(name):
            yield from folder_targets(Path(name).expanduser())
        else:
            yield Target(id=printable(name.strip()))


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # a name too long, a NUL byte, a ~user that is not there
        return False


def folder_targets(root: Path) -> Iterator[Target]:
    """Each model in `root` and below, in the order of their paths: `root` itself where it is one.

    A folder with a config.json, an adapter_config.json or a checkpoint is a model, and what is below belongs to it; so
    is a folder whose README.md opens with front matter, and what is below is looked at too. Hidden folders and links
    to folders are passed by. Raises BadInput where there is no model at all, or the folder cannot be read.
    """
    found = False
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        whole = _is_model(files)
        if whole:
            folders.clear()
        if whole or ("README.md" in files and _has_front_matter(Path(folder) / "README.md")):
            found = True
            yield _folder_target(root, Path(folder))
    if not found:
        raise BadInput(
            f"{printable(str(root))}: no model in it; one is a folder with a config.json, a checkpoint "
            "or a README.md with front matter"
        )


def _unreadable(error: OSError) -> None:
    raise BadInput(f"{printable(str(error.filename))}: cannot be read ({error.strerror})") from error


def _is_model(files: Sequence[str]) -> bool:
    known = {"config.json", "adapter_config.json"}
    return any(file in known or Path(file).suffix in CHECKPOINT_SUFFIXES for file in files)


def _has_front_matter(path: Path) -> bool:
    try:
        begin = read_regular(path, 8)
    except (OSError, BadInput):  # a pipe is no card either
        return False
    return begin.removeprefix(b"\xef\xbb\xbf").startswith((b"---\n", b"---\r\n"))


def _folder_target(root: Path, folder: Path) -> Target:
    below = folder.relative_to(root)
    name = below.as_posix() if below.parts else folder.resolve().name
    shown = printable(folder.as_posix())
    return Target(id=shown, name=printable(name) or shown, folder=str(folder), location=shown)
