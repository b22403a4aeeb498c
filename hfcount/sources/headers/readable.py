"""Bytes that can be read in ranges: a local file, bytes at hand, and (in sources.repository) a file on the Hub."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Protocol

from hfcount.errors import BadInput


class Readable(Protocol):
    """A file whose ranges can be asked for.

    Attributes:
        name: for messages and for `StoredTensor.file`.
        size: in bytes.
    """

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`; fewer only where the file ends. Raises HfcountError."""
        ...


class LocalFile:
    """A file on this machine."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.name
        try:
            found = path.stat()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from error
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{path}: not a file, but a folder, a pipe or a device")
        self.size = found.st_size

    def read(self, start: int, stop: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(max(0, stop - start))
        except OSError as error:
            raise BadInput(f"{self.path}: cannot be read ({error.strerror or error})") from error


class InMemory:
    """Bytes at hand."""

    def __init__(self, data: bytes, name: str = "bytes") -> None:
        self.data = data
        self.name = name

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]
