"""Local files that anybody may have put there: a pipe would be waited for without end, a device read without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from hfcount.errors import BadInput


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of the regular file that `path` leads to, at most `limit` + 1 of them.

    Raises BadInput for a pipe or a device, which is not opened, and OSError as `open` does.
    """
    _check(path, path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _check(path, os.fstat(file.fileno()).st_mode)  # it may have been put there since
        return file.read(limit + 1)


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise BadInput(f"{path}: not a file, but a pipe or a device")
