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


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as it is in one step, into the file that a link at `path` leads to; its permissions stay."""
    path = path.resolve()
    if _is_special(path):
        raise BadInput(f"{path}: is no regular file; name one")
    mode = path.stat().st_mode if path.exists() else None
    _replace(path, lambda temporary: temporary.write_bytes(data), mode=mode)


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


def _replace(path: Path, write: Callable[[Path], object], *, mode: int | None = None) -> None:
    check_writable(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask if mode is None else stat.S_IMODE(mode))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from error
