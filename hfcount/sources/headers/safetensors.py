"""The header of a safetensors file, read by range: eight bytes of length, then JSON.

The library reads whole files; a header far away must be read without them, so the format is read here, as strictly as
the library does (its crate 0.8: `SafeTensors::read_metadata`, `Metadata::validate`), but for this:

- A tensor or a key of `__metadata__` that is there twice is refused; the library keeps the last.
- A tensor is a JSON object; what serde makes of a list (`["F32", [1], [0, 4]]`) is refused.
- An element type that is not known is kept with a note: its bytes are told by the offsets.

Nothing is believed that is not bounded: HEADER_LIMIT bytes of header, ENTRY_LIMIT of one tensor, METADATA_LIMIT keys.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from typing import Any

from hfcount.dtypes import bits
from hfcount.sources.headers.header import Header, HeaderError, StoredTensor
from hfcount.sources.headers.json_text import JsonText, shortened
from hfcount.sources.headers.readable import Readable

FIRST_READ = 100_000
"""Bytes of the first read: most headers are shorter, and then it is the only one (huggingface_hub does the same)."""
HEADER_LIMIT = 100_000_000
"""Bytes of a header: the library's own limit."""
ENTRY_LIMIT = 1_000_000
"""Bytes of what is said of one tensor; the library has none."""
METADATA_LIMIT = 100_000
"""Keys of `__metadata__`; the library has no limit."""
_MOST = 2**64 - 1

_SIZE = rb"(?:0|[1-9][0-9]{0,19})"
_ENTRY = re.compile(
    rb'[ \t\n\r]*\{"dtype": ?"([A-Z0-9_]+)", ?"shape": ?\[((?:%(n)b(?:, ?%(n)b)*)?)\],'
    rb' ?"data_offsets": ?\[(%(n)b), ?(%(n)b)\]\}' % {b"n": _SIZE}
)
"""What is said of a tensor as every writer puts it; what looks otherwise takes the long way."""


def read_safetensors(file: Readable) -> Header:
    """The header of one file. Raises HeaderError for what cannot be believed.

    At most two reads: FIRST_READ bytes, and the rest of the header. Of a million tensors each takes 0.3 KB of memory
    while the header is read, its text included, and half of that afterwards.
    """
    data = _header(file)
    table = _Table(JsonText(data, file.name), file.name)
    metadata = table.read()
    table.check_offsets(file.size - 8 - len(data))
    return Header(
        format="safetensors",
        tensors=tuple(table.tensors),
        metadata=metadata,
        files=(file.name,),
        notes=tuple(
            f"{file.name}: nobody knows the element type {shortened(dtype)} of {count:,} tensors: their bytes are "
            "from the offsets, their elements from the shape"
            for dtype, count in table.unknown.items()
        ),
    )


def _header(file: Readable) -> bytes:
    """The JSON text."""
    data = file.read(0, min(FIRST_READ, file.size))
    if len(data) < 8:
        raise HeaderError(f"{file.name}: has {len(data)} bytes, no safetensors file (truncated?)")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_LIMIT:
        raise HeaderError(f"{file.name}: says that its header has {length:,} bytes; at most {HEADER_LIMIT:,} are read")
    if 8 + length > file.size:
        raise HeaderError(f"{file.name}: has {file.size:,} bytes, its header {8 + length:,} (truncated?)")
    if 8 + length > len(data):
        data += file.read(len(data), 8 + length)
    if 8 + length > len(data):
        raise HeaderError(f"{file.name}: ends at byte {len(data):,}, inside its header (truncated?)")
    return data[8 : 8 + length]


class _Table:
    """The tensors as they are read, and where their data lie."""

    def __init__(self, text: JsonText, file: str) -> None:
        self.text = text
        self.file = file
        self.tensors: list[StoredTensor] = []
        self.starts = array("Q")
        self.stops = array("Q")
        self.unknown: Counter[str] = Counter()
        self._kinds: dict[tuple[bytes, bytes], tuple[str, tuple[int, ...]]] = {}

    def read(self) -> dict[str, str]:
        """Reads all there is; returns `__metadata__`."""
        metadata: dict[str, str] = {}
        for key in self.text.members():
            if key == "__metadata__":
                metadata = self._metadata()
            else:
                self._tensor(key)
        self.text.end()
        return metadata

    def _metadata(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.text.accept(b"null"):
            return found
        for key in self.text.members():
            if len(found) == METADATA_LIMIT:
                raise self.text.error(f"__metadata__ has more than {METADATA_LIMIT:,} keys")
            found[key] = self.text.string()
        return found

    def _tensor(self, name: str) -> None:
        entry = _ENTRY.match(self.text.data, self.text.position)
        if entry is None:
            dtype, shape, start, stop = self._unusual(name)
        else:
            self.text.position = entry.end()
            kind, sizes, first, last = entry.groups()
            dtype, shape = self._kinds.get((kind, sizes)) or self._kind(kind, sizes)
            start, stop = int(first), int(last)
        nbytes = self._nbytes(name, dtype, shape, start, stop)
        self.tensors.append(StoredTensor(name, dtype, shape, nbytes, self.file))
        self.starts.append(start)
        self.stops.append(stop)

    def _kind(self, kind: bytes, sizes: bytes) -> tuple[str, tuple[int, ...]]:
        """Element type and shape, kept: models have few that differ."""
        found = kind.decode("ascii"), tuple(int(size) for size in sizes.split(b",")) if sizes else ()
        if len(self._kinds) < 10_000:
            self._kinds[kind, sizes] = found
        return found

    def _unusual(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        entry = self.text.value(ENTRY_LIMIT)
        if not isinstance(entry, dict):
            raise self.text.error(f"what is said of tensor {shortened(name)} is no JSON object")
        dtype, shape, offsets = (entry.get(field) for field in ("dtype", "shape", "data_offsets"))
        if not isinstance(dtype, str):
            raise self._error(name, "has no dtype")
        if not isinstance(shape, list) or not all(map(_is_size, shape)):
            raise self._error(name, "its shape is no list of integers from 0 on")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
            raise self._error(name, "its data_offsets are no two integers from 0 on")
        return dtype, tuple(shape), offsets[0], offsets[1]

    def _nbytes(self, name: str, dtype: str, shape: tuple[int, ...], start: int, stop: int) -> int:
        """The bytes between the offsets, which are those of the shape."""
        elements = 1
        for size in shape:
            elements *= size
            if elements > _MOST or size > _MOST:
                raise self._error(name, "its shape multiplies to more than 64 bits hold")
        if not start <= stop <= _MOST:
            raise self._error(name, f"its data_offsets [{start}, {stop}] are not in order")
        width = bits(dtype)
        if width is None:
            self.unknown[dtype] += 1
        elif elements * width > _MOST:
            raise self._error(name, "its shape multiplies to more than 64 bits hold")
        elif elements * width != 8 * (stop - start):
            implied = f"{elements * width / 8:,.10g}"
            raise self._error(
                name, f"{dtype} {list(shape)} is {implied} bytes, its data_offsets span {stop - start:,}"
            )
        return stop - start

    def _error(self, name: str, what: str) -> HeaderError:
        return self.text.error(f"tensor {shortened(name)}: {what}")

    def check_offsets(self, size: int) -> None:
        """Holds that the tensors cover the `size` bytes behind the header, each byte once."""
        end = 0
        order: Any = range(len(self.starts))
        if any(map(int.__lt__, self.starts[1:], self.stops)):
            order = sorted(order, key=lambda index: (self.starts[index], self.stops[index]))
        for index in order:
            start = self.starts[index]
            if start != end:
                what = "overlaps the one before" if start < end else f"leaves {start - end:,} bytes before it unused"
                raise self._error(self.tensors[index].name, f"its data begins at {start:,}, which {what}")
            end = self.stops[index]
        if end > size:
            raise HeaderError(f"{self.file}: holds {size:,} of the {end:,} bytes of its tensors (truncated?)")
        if end < size:
            raise HeaderError(f"{self.file}: has {size - end:,} bytes behind its last tensor")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST
