"""What lies where in a zip archive, by its central directory, through ranges (PKWARE's APPNOTE.TXT, 4.3 and 4.5).

Only what torch writes is read: one disk, entries stored or deflated, zip64 where sizes need it.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib

from hfcount.deadline import in_time
from hfcount.sources.headers.header import HeaderError
from hfcount.sources.headers.json_text import shortened
from hfcount.sources.headers.readable import Readable

DIRECTORY_LIMIT = 100_000_000
"""Bytes of a central directory."""
ENTRY_LIMIT = 1_000_000
"""Entries of an archive: torch writes one for every storage."""

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_COMMENT = 65_535
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1


@dataclasses.dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file in the archive: `size` bytes that take `packed` bytes, behind a local header at `offset`."""

    name: str
    size: int
    packed: int
    method: int
    encrypted: bool
    offset: int


class Archive:
    """The entries of a zip archive by name. Raises HeaderError for what is no such archive or beyond a limit."""

    def __init__(self, file: Readable) -> None:
        self.file = file
        start, size, count = self._directory()
        if size > DIRECTORY_LIMIT or count > ENTRY_LIMIT:
            raise self.error(f"its directory has {count:,} entries in {size:,} bytes, more than are read")
        if start + size > file.size:
            raise self.error("its directory lies outside of the file (truncated?)")
        data = file.read(start, start + size)
        if len(data) < size:
            raise self.error("ends inside its directory (truncated?)")
        self.entries = self._entries(data, count)

    def error(self, what: str) -> HeaderError:
        return HeaderError(f"{self.file.name}: as a zip archive, {what}")

    def _directory(self) -> tuple[int, int, int]:
        """Where the directory begins, its bytes, its entries: from the record at the end of the file."""
        start = max(0, self.file.size - _END.size - _COMMENT)
        tail = self.file.read(start, self.file.size)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise self.error("has no directory at its end (truncated?)")
        _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
        before = at - _LOCATOR.size
        if before >= 0 and tail.startswith(b"PK\x06\x07", before):
            _, _, record, _ = _LOCATOR.unpack_from(tail, before)
            return self._directory_64(record)
        if disk or first_disk:
            raise self.error("is one of several parts")
        return offset, size, count

    def _directory_64(self, record: int) -> tuple[int, int, int]:
        if record + _END_64.size > self.file.size:
            raise self.error("its zip64 record lies outside of the file (truncated?)")
        data = self.file.read(record, record + _END_64.size)
        if len(data) < _END_64.size or not data.startswith(b"PK\x06\x06"):
            raise self.error("its zip64 record is malformed")
        _, _, _, _, disk, first_disk, _, count, size, offset = _END_64.unpack(data)
        if disk or first_disk:
            raise self.error("is one of several parts")
        return offset, size, count

    def _entries(self, data: bytes, count: int) -> dict[str, ZipEntry]:
        entries: dict[str, ZipEntry] = {}
        at = 0
        for _ in in_time(range(count)):
            if len(data) - at < _ENTRY.size or not data.startswith(b"PK\x01\x02", at):
                raise self.error("its directory is malformed")
            fields = _ENTRY.unpack_from(data, at)
            _, _, _, flags, method, _, _, _, packed, size, name_size, extra_size, comment_size, _, _, _, offset = (
                fields
            )
            at += _ENTRY.size
            raw, extra = data[at : at + name_size], data[at + name_size : at + name_size + extra_size]
            at += name_size + extra_size + comment_size
            if at > len(data):
                raise self.error("its directory is malformed")
            name = raw.decode("utf-8", "replace")
            if name in entries:
                raise self.error(f"it has {shortened(name)} twice")
            size, packed, offset = self._zip64(extra, size, packed, offset)
            entries[name] = ZipEntry(name, size, packed, method, bool(flags & _ENCRYPTED), offset)
        return entries

    def _zip64(self, extra: bytes, *values: int) -> tuple[int, ...]:
        """Size, packed size and offset: those that 32 bits do not hold are in the extra field 1, in order."""
        if 0xFFFFFFFF not in values:
            return values
        at = 0
        while at + 4 <= len(extra):
            number, size = struct.unpack_from("<2H", extra, at)
            if number == 1:
                wide = list(struct.iter_unpack("<Q", extra[at + 4 : at + 4 + size // 8 * 8]))
                if len(wide) >= values.count(0xFFFFFFFF):
                    return tuple(wide.pop(0)[0] if value == 0xFFFFFFFF else value for value in values)
            at += 4 + size
        raise self.error("its directory lacks a zip64 field")

    def read(self, entry: ZipEntry, limit: int) -> bytes:
        """The bytes of an entry, at most `limit`: one that is larger is refused, whatever it says of its size."""
        if entry.encrypted:
            raise self.error(f"{shortened(entry.name)} is encrypted")
        if entry.method not in (_STORED, _DEFLATED):
            raise self.error(
                f"{shortened(entry.name)} is compressed by method {entry.method}, which torch does not write"
            )
        if max(entry.size, entry.packed) > limit:
            raise self.error(f"{shortened(entry.name)} has {entry.size:,} bytes; at most {limit:,} are read")
        data = self._raw(entry)
        if entry.method == _STORED:
            return data
        try:
            unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, entry.size + 1)
        except zlib.error as error:
            raise self.error(f"{shortened(entry.name)} cannot be decompressed") from error
        if len(unpacked) != entry.size:
            raise self.error(f"{shortened(entry.name)} does not have the {entry.size:,} bytes that it says")
        return unpacked

    def _raw(self, entry: ZipEntry) -> bytes:
        """The bytes as stored: behind a local header, whose name and padding have sizes of their own."""
        local = self.file.read(entry.offset, entry.offset + _LOCAL.size)
        if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
            raise self.error(f"{shortened(entry.name)} is not where the directory says")
        *_, name_size, extra_size = _LOCAL.unpack(local)
        start = entry.offset + _LOCAL.size + name_size + extra_size
        data = self.file.read(start, start + entry.packed)
        if len(data) < entry.packed:
            raise self.error(f"{shortened(entry.name)} ends early (truncated?)")
        return data
