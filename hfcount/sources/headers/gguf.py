"""The header of a GGUF file, read by range (ggml's docs/gguf.md): versions 1 to 3, either order of bytes.

The `gguf` package's own reader maps the whole file, so it cannot read a header far away; it builds every array of the
tokenizer, and believes every length. Here long arrays are passed over, and HEADER_LIMIT bytes are all that is read.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter
from typing import Any

from hfcount.deadline import in_time
from hfcount.dtypes import GGUF_TYPES, BlockType
from hfcount.sources.headers.forward import Forward
from hfcount.sources.headers.header import Header, HeaderError, StoredTensor
from hfcount.sources.headers.json_text import shortened
from hfcount.sources.headers.readable import Readable

HEADER_LIMIT = 100_000_000
"""Bytes read of a header; what is only passed over does not count."""
TENSOR_LIMIT = 1_000_000
KEY_LIMIT = 65_536
NAME_LIMIT = 65_535
"""Bytes of a key or of a tensor's name: gguf.md allows a key as many."""
STRING_LIMIT = 1_000_000
"""Bytes of a text that is kept; of a longer one its length is."""
ARRAY_LIMIT = 1_024
"""Elements of an array that is kept; of a longer one (the vocabulary) type and length are."""
KEPT_LIMIT = 100_000
"""Elements of all arrays that are kept."""
DIMS_LIMIT = 8
"""Dimensions of a tensor: ggml itself has four."""
DEPTH_LIMIT = 4
"""Arrays inside arrays."""

_SCALARS = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    4: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    7: ("bool", "?"),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32


def read_gguf(file: Readable) -> Header:
    """The header of one file. Raises HeaderError for what cannot be believed.

    Shapes are in torch's order, the reverse of the file's. `metadata` has the key-value pairs: numbers, texts and
    short arrays as they are, a long array as {"array_of": type, "length": elements}.
    """
    reader = _Reader(file)
    tensor_count, pair_count = reader.counts()
    metadata = reader.pairs(pair_count)
    rows = [reader.tensor() for _ in in_time(range(tensor_count))]
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise reader.error("its general.alignment is no power of two")
    start = -(-reader.at.position // alignment) * alignment
    tensors, notes = _placed(file, rows, start, alignment)
    return Header(format="gguf", tensors=tensors, metadata=metadata, files=(file.name,), notes=notes)


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """What the header says of a tensor: its shape in torch's order, the number of its type, where its data begin."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


class _Reader:
    """The parts of the header in order."""

    def __init__(self, file: Readable) -> None:
        self.at = Forward(file, HEADER_LIMIT)
        self.file = file
        self.kept = 0
        if self.at.take(4) != b"GGUF":
            raise self.error("is no GGUF file: it does not begin with GGUF")
        raw = self.at.take(4)
        # A version is small: where its low half is zero, the bytes are in the other order.
        self.order = ">" if raw[:2] == b"\0\0" else "<"
        (version,) = struct.unpack(self.order + "I", raw)
        if version not in (1, 2, 3):
            raise self.error(f"is of GGUF version {version}; 1 to 3 are known")
        self.length = "I" if version == 1 else "Q"

    def error(self, what: str) -> HeaderError:
        return HeaderError(f"{self.file.name}: {what}")

    def number(self, code: str) -> Any:
        (value,) = struct.unpack(self.order + code, self.at.take(struct.calcsize("=" + code)))
        return value

    def counts(self) -> tuple[int, int]:
        """Tensors and key-value pairs; bounded, and by what the file can hold."""
        tensors, pairs = self.number(self.length), self.number(self.length)
        for count, limit, least, what in ((tensors, TENSOR_LIMIT, 20, "tensors"), (pairs, KEY_LIMIT, 9, "keys")):
            if count > limit:
                raise self.error(f"says that it has {count:,} {what}; at most {limit:,} are read")
            if count * least > self.file.size:
                raise self.error(f"has {self.file.size:,} bytes, too few for its {count:,} {what} (truncated?)")
        return tensors, pairs

    def name(self, what: str) -> str:
        length = self.number(self.length)
        if length > NAME_LIMIT:
            raise self.error(f"has a {what} of {length:,} bytes; at most {NAME_LIMIT:,} are read")
        return self._text(self.at.take(length), what)

    def _text(self, data: bytes, what: str) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"has a {what} that is not UTF-8") from error

    def pairs(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in in_time(range(count)):
            key = self.name("key")
            if key in found:
                raise self.error(f"has the key {shortened(key)} twice")
            found[key] = self.value(self.number("I"), key)
        return found

    def value(self, kind: int, key: str) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind][1])
        if kind == _STRING:
            length = self.number(self.length)
            if length > STRING_LIMIT:
                self.at.skip(length)
                return {"text_of_bytes": length}
            # A text that is not UTF-8 is no reason to refuse the tensors: tokenizers hold such pieces.
            return self.at.take(length).decode("utf-8", "replace")
        if kind == _ARRAY:
            return self.array(key, 1)
        raise self.error(f"key {shortened(key)} has a value of the unknown type {kind}")

    def array(self, key: str, depth: int) -> Any:
        kind, count = self.number("I"), self.number(self.length)
        if kind in _SCALARS:
            name, code = _SCALARS[kind]
            width = struct.calcsize("=" + code)
            if count > ARRAY_LIMIT or self.kept + count > KEPT_LIMIT:
                self.at.skip(count * width)
                return {"array_of": name, "length": count}
            self.kept += count
            return list(struct.unpack(f"{self.order}{count}{code}", self.at.take(count * width)))
        if kind == _STRING:
            return self.strings(count)
        if kind == _ARRAY and depth < DEPTH_LIMIT:
            return self.arrays(key, count, depth)
        what = f"arrays more than {DEPTH_LIMIT} deep" if kind == _ARRAY else f"an array of the unknown type {kind}"
        raise self.error(f"key {shortened(key)} has {what}")

    def strings(self, count: int) -> Any:
        if count > ARRAY_LIMIT or self.kept + count > KEPT_LIMIT:
            self.at.skip_counted(count, self.order + self.length)
            return {"array_of": "string", "length": count}
        self.kept += count
        return [self.value(_STRING, "") for _ in in_time(range(count))]

    def arrays(self, key: str, count: int, depth: int) -> Any:
        if count > ARRAY_LIMIT or self.kept + count > KEPT_LIMIT:
            raise self.error(f"key {shortened(key)} has {count:,} arrays in one; at most {ARRAY_LIMIT:,} are read")
        self.kept += count
        return [self.array(key, depth + 1) for _ in in_time(range(count))]

    def tensor(self) -> _Row:
        name = self.name("tensor's name")
        dims = self.number("I")
        if dims > DIMS_LIMIT:
            raise self.error(f"tensor {shortened(name)} has {dims} dimensions; at most {DIMS_LIMIT} are read")
        sizes = [self.number(self.length) for _ in range(dims)]
        return _Row(name, tuple(reversed(sizes)), self.number("I"), self.number("Q"))


def _placed(
    file: Readable, rows: list[_Row], start: int, alignment: int
) -> tuple[tuple[StoredTensor, ...], tuple[str, ...]]:
    """The tensors in the order of the file, and notes.

    Holds that each lies behind the header at a multiple of the alignment, within the file, and on no other.
    """
    end = max(0, file.size - start)
    offsets = sorted({row.offset for row in rows})
    following = dict(zip(offsets, [*offsets[1:], end], strict=False))
    tensors: dict[str, StoredTensor] = {}
    filled: set[int] = set()
    unknown: Counter[int] = Counter()
    for row in rows:
        label = f"{file.name}: tensor {shortened(row.name)}"
        if row.name in tensors:
            raise HeaderError(f"{label} is there twice")
        if row.offset % alignment:
            raise HeaderError(f"{label}: its data begin at {row.offset:,}, no multiple of the alignment {alignment}")
        if row.offset > end:
            raise HeaderError(f"{label}: its data begin at {row.offset:,}, beyond the end of the file (truncated?)")
        kind = GGUF_TYPES.get(row.kind)
        elements = _elements(row, label)
        room = following[row.offset] - row.offset
        nbytes = _nbytes(row.shape, elements, kind, label) if kind is not None else room if elements else 0
        if nbytes and (nbytes > room or row.offset in filled):
            beyond = row.offset + nbytes > end
            what = "reach beyond the end of the file (truncated?)" if beyond else "overlap those of another"
            raise HeaderError(f"{label}: its {nbytes:,} bytes {what}")
        if nbytes:
            filled.add(row.offset)
        unknown[row.kind] += kind is None
        name = f"type {row.kind}" if kind is None else kind.name
        tensors[row.name] = StoredTensor(row.name, name, row.shape, nbytes, file.name)
    return tuple(tensors.values()), tuple(
        f"{file.name}: nobody knows the element type {number} of {count:,} tensors: their bytes are from the offsets, "
        "padding included, their elements from the shape"
        for number, count in unknown.items()
        if count
    )


def _elements(row: _Row, label: str) -> int:
    elements = 1
    for size in row.shape:
        elements *= size
        if elements >= 2**63:
            raise HeaderError(f"{label}: its shape multiplies to more than 63 bits hold")
    return elements


def _nbytes(shape: tuple[int, ...], elements: int, kind: BlockType, label: str) -> int:
    """Rows of whole blocks: GGUF quantizes along the last dimension of torch's order."""
    row = shape[-1] if shape else 1
    if row % kind.block:
        raise HeaderError(f"{label}: its rows of {row:,} are no whole blocks of {kind.block} ({kind.name})")
    return elements // kind.block * kind.nbytes
