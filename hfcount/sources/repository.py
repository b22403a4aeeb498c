"""Where a model's files are: a folder, one file, or a repository on the Hub, all read in the same three ways."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from hfcount.errors import BadInput
from hfcount.sources.folder import CHECKPOINT_SUFFIXES
from hfcount.sources.headers.readable import LocalFile, Readable

MAX_FILES = 100_000
MAX_DEPTH = 3
"""Folders within folders that are looked into: no loader of checkpoints looks deeper."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that Git LFS has put in the place of the real one (git-lfs.com, docs/spec.md)."""

_LARGEST_POINTER = 1024


class Repository(Protocol):
    """The files of a model."""

    @property
    def listing(self) -> Mapping[str, int | None]:
        """Each file's name within the repository, with "/" between folders, and its bytes where they are known."""
        ...

    def text(self, name: str, limit: int) -> bytes | None:
        """All of a small file; None where there is none. Raises HfcountError, for more than `limit` bytes too."""
        ...

    def open(self, name: str) -> Readable:
        """A file to read ranges of. Raises HfcountError for a name that is not in the listing."""
        ...


def not_listed(name: str) -> BadInput:
    """The error for a file that is asked for and not there, an index names it perhaps."""
    return BadInput(f"{name}: no such file in the repository")


class LocalFolder:
    """A folder on this machine.

    Attributes:
        root: the folder.
        listing: its files and those of its folders, hidden ones aside.
    """

    def __init__(self, root: Path, names: tuple[str, ...] | None = None) -> None:
        self.root = root
        self.listing: Mapping[str, int | None] = _listing(root) if names is None else _sizes(root, names)

    def text(self, name: str, limit: int) -> bytes | None:
        if name not in self.listing:
            return None
        data = LocalFile(self.root / name, name).read(0, limit + 1)
        if len(data) > limit:
            raise BadInput(f"{self.root / name}: more than the {limit:,} bytes that hfcount reads of one")
        return data

    def open(self, name: str) -> Readable:
        if name not in self.listing:
            raise not_listed(name)
        file = LocalFile(self.root / name, name)
        if file.size <= _LARGEST_POINTER and file.read(0, len(LFS_POINTER)) == LFS_POINTER:
            raise BadInput(f"{self.root / name}: a pointer of Git LFS, not the file; `git lfs pull` fetches it")
        return file


def is_checkpoint_file(path: Path) -> bool:
    """Whether there is a file of weights, going by its name."""
    return path.suffix in CHECKPOINT_SUFFIXES and path.is_file()


def _sizes(root: Path, names: tuple[str, ...]) -> dict[str, int | None]:
    return {name: (root / name).stat().st_size for name in names if (root / name).is_file()}


def _listing(root: Path) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for path in _files(root, MAX_DEPTH):
        if len(found) >= MAX_FILES:
            raise BadInput(f"{root}: more than {MAX_FILES:,} files; point to the folder of one model")
        found[path.relative_to(root).as_posix()] = path.stat().st_size
    return dict(sorted(found.items()))


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """The regular files in `folder` and below; links to files are followed, links to folders are not."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth > 1:
                    yield from _files(folder / entry.name, depth - 1)
            elif entry.is_file():
                yield folder / entry.name
