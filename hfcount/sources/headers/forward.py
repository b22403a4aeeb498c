"""Reading a file forward in pieces that grow, with a limit: a header's end is not known before it is reached."""

from __future__ import annotations

import struct

from hfcount.sources.headers.header import HeaderError
from hfcount.sources.headers.readable import Readable

FIRST_READ = 100_000
LARGEST_READ = 4_000_000


class Forward:
    """A place in a file that only moves on. Raises HeaderError at the end of the file and at the limit.

    Attributes:
        position: of the next byte in the file.
        limit: bytes that are read at most; what is passed over does not count.
    """

    def __init__(self, file: Readable, limit: int) -> None:
        self.file = file
        self.limit = limit
        self._data = b""
        self._at = 0
        self._begin = 0
        self._read = 0
        self._step = FIRST_READ

    @property
    def position(self) -> int:
        return self._begin + self._at

    def take(self, count: int) -> bytes:
        """The next bytes, all of them."""
        if self._at + count > len(self._data):
            self._fill(count)
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def skip(self, count: int) -> None:
        """Moves on without reading what lies beyond what has been read already."""
        if self.position + count > self.file.size:
            raise self._ended(count)
        if self._at + count <= len(self._data):
            self._at += count
        else:
            self._begin, self._data, self._at = self.position + count, b"", 0

    def skip_counted(self, count: int, code: str) -> None:
        """Passes over `count` pieces, each with its length before it in struct's `code`."""
        width = struct.calcsize(code)
        if count * width > self.file.size - self.position:
            raise self._ended(count * width)
        unpack = struct.Struct(code).unpack_from
        for _ in range(count):
            if self._at + width > len(self._data):
                self._fill(width)
            (length,) = unpack(self._data, self._at)
            self._at += width
            if self._at + length <= len(self._data):
                self._at += length
            else:
                self.skip(length)

    def _fill(self, count: int) -> None:
        """Reads on so that `count` bytes are at hand."""
        start = self.position
        if start + count > self.file.size:
            raise self._ended(count)
        kept = self._data[self._at :]
        left = self.limit - self._read
        if count - len(kept) > left:
            raise HeaderError(f"{self.file.name}: more than {self.limit:,} bytes of header, which is all that is read")
        wanted = min(max(count, self._step) - len(kept), self.file.size - start - len(kept), left)
        self._read += wanted
        more = self.file.read(start + len(kept), start + len(kept) + wanted)
        self._begin, self._data, self._at = start, kept + more, 0
        self._step = min(2 * self._step, LARGEST_READ)
        if len(self._data) < count:
            raise self._ended(count)

    def _ended(self, count: int) -> HeaderError:
        return HeaderError(
            f"{self.file.name}: has {self.file.size:,} bytes, but {count:,} more are wanted at byte {self.position:,} "
            "(truncated?)"
        )
