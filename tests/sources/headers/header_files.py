"""Files for the tests of headers: made by hand where no library would write them, and readers that count."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any

from hfcount.sources.headers import InMemory


def safetensors_file(header: bytes | dict[str, Any], data: int | bytes = 0) -> bytes:
    """A safetensors file with that header, as JSON or as bytes, and that data, or so many zeros."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + (bytes(data) if isinstance(data, int) else data)


def entry(shape: list[Any], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


class Counting(InMemory):
    """Bytes at hand that remember which ranges were asked for; `length` makes the file seem larger than it is."""

    def __init__(self, data: bytes, name: str = "bytes", length: int | None = None) -> None:
        super().__init__(data, name)
        self.length = len(data) if length is None else length
        self.ranges: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> bytes:
        self.ranges.append((start, stop))
        return super().read(start, stop)


def gguf_text(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def gguf_tensor(name: str, dims: list[int], kind: int, offset: int) -> bytes:
    return gguf_text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf_file(pairs: list[bytes], tensors: list[bytes], data: int, counts: tuple[int, int] | None = None) -> bytes:
    """A GGUF file of version 3; `counts` are what it says of its tensors and pairs, if not the truth."""
    head = b"GGUF" + struct.pack("<I2Q", 3, *(counts or (len(tensors), len(pairs)))) + b"".join(pairs + tensors)
    return head + bytes(-len(head) % 32) + bytes(data)


def zipped(program: bytes, method: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """A zip archive as torch's, with that pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", program)
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def program(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


TORCH_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
TORCH_STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"
TENSOR = TORCH_REBUILD + b"(" + TORCH_STORAGE + b"K\x00K\x04\x85K\x01\x85\x89Nt" + b"R"
STATE = b"}" + text("w") + TENSOR + b"s"
