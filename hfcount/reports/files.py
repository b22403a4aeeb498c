"""Writing results to files: whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hfcount.errors import BadInput

if TYPE_CHECKING:
    from io import FileIO

    from matplotlib.figure import Figure


def check_writable(path: Path) -> None:
    """Raise BadInput before any work is done if a file at `path` could not be written."""
    folder = path.parent
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name a file in it")
    if _is_special(path):
        return
    if not folder.is_dir():
        raise BadInput(f"{path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise BadInput(f"{path}: no permission to write there; choose another --output")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step: a reader sees the old file or the new one, never a half.

    A terminal, a pipe, /dev/null and the like are written to as they are.
    """
    if _is_special(path):
        _pour(path, text.encode("utf-8"))
        return
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def check_within(path: Path, folder: Path) -> None:
    """Raise BadInput if a link on the way to `path` leads out of `folder`, or into what git keeps there."""
    try:
        inside = path.resolve().relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # RuntimeError: links that go round
        inside = None
    if inside is None or ".git" in inside.parts:
        where = f"out of {folder}" if inside is None else "into .git"
        raise BadInput(f"{path}: a link that leads {where}; name the file itself, or put one in its place")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as it is into the file that a link at `path` leads to; its owner and permissions stay.

    In one step where that keeps all of this. A file with several names (hard links), or with an owner that nothing
    new can be given, is written in place, as an editor does; if that fails, what it held is put back.
    """
    path = path.resolve()
    if _is_special(path):
        raise BadInput(f"{path}: is no regular file; name one")
    before = path.stat() if path.exists() else None
    if before is not None and before.st_nlink > 1:
        _overwrite(path, data)
        return
    try:
        _replace(path, lambda temporary: temporary.write_bytes(data), like=before)
    except _Foreign:
        _overwrite(path, data)


class _Foreign(Exception):
    """A file's owner that a new file cannot be given."""


def _overwrite(path: Path, data: bytes) -> None:
    try:
        with path.open("r+b", buffering=0) as file:
            old = file.read()
            try:
                _refill(file, data)
            except OSError:
                _refill(file, old)
                raise
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from error


def _refill(file: FileIO, data: bytes) -> None:
    """Make `data` all that an open file holds."""
    file.seek(0)
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    file.truncate()
    os.fsync(file.fileno())


def write_figure(path: Path, figure: Figure) -> None:
    """Write `figure` to `path` in the format of its suffix, in one step."""
    if _is_special(path):
        raise BadInput(f"{path}: is no regular file; name another for the figure")
    kind = path.suffix.lstrip(".").lower()
    _replace(path, lambda temporary: figure.savefig(temporary, dpi=150, format=kind, bbox_inches="tight"))


def _is_special(path: Path) -> bool:
    """Whether something is there that is no regular file, such as a device, which nothing may take the place of."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _pour(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody reads is an error
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error}); name another --output") from error


def _replace(path: Path, write: Callable[[Path], object], *, like: os.stat_result | None = None) -> None:
    """Put what `write` writes in the place of `path`, with the owner and permissions of `like`; raises _Foreign."""
    check_writable(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            _give(temporary, like)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from error


def _give(temporary: Path, like: os.stat_result | None) -> None:
    """Give a new file the owner and permissions of `like`, else those that any new file has."""
    if like is None:
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        return
    own = temporary.stat()
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.chown(temporary, like.st_uid, like.st_gid)
        except PermissionError as error:
            raise _Foreign from error
    temporary.chmod(stat.S_IMODE(like.st_mode))
