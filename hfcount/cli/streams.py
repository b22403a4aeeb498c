"""The three standard streams as they are in the worst case: closed, on a full disk, read by nobody.

A command finds them whole: what cannot be printed is an error of its own kind, and one line is all that it costs.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

from hfcount.errors import HfcountError


class OutputLost(HfcountError):
    """Stdout does not take the result."""


class ReaderLeft(Exception):
    """Whoever read stdout has closed it, as `head` does."""


class _Results(io.FileIO):
    """Stdout's descriptor, whose errors are told from those of any other file."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            _to_nowhere(self.fileno())
            raise ReaderLeft from None
        except OSError as error:
            _to_nowhere(self.fileno())
            raise OutputLost(f"stdout: the result cannot be written ({error.strerror}); give --output FILE") from None


class _Remarks(io.FileIO):
    """Stderr's descriptor; where it takes nothing there is nobody to tell."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def open_streams() -> None:
    """Put streams in the place of the process's own that say what is wrong with them."""
    for descriptor in (0, 1, 2):  # in this order: a file that is opened takes the lowest number that is free
        _take_if_free(descriptor)
    sys.stdout = _stream(sys.stdout, _Results(1, "w", closefd=False))
    sys.stderr = _stream(sys.stderr, _Remarks(2, "w", closefd=False), errors="backslashreplace")


def _take_if_free(descriptor: int) -> None:
    """Open something where a standard stream was closed, so that no other file is taken for it.

    What is written there fails: the result goes nowhere, and that is said.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.open(os.devnull, os.O_RDONLY)


def _stream(before: Any, raw: io.FileIO, errors: str = "strict") -> io.TextIOWrapper:
    """A text stream on `raw` that encodes as the one `before` did, if there was one."""
    found = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors=getattr(before, "errors", None) or errors,
        line_buffering=raw.fileno() == 2 or raw.isatty(),
    )
    found.mode = "w"  # type: ignore[misc]  # which sys.stdout has and typeshed calls read-only
    return found


def _to_nowhere(descriptor: int) -> None:
    """Have what is left in the buffers vanish when the interpreter ends, instead of failing once more."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
