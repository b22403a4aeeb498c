"""Zip archives as torch writes them, and such as nobody should believe."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from header_files import STATE, TENSOR, program, text, zipped

from hfcount.sources.headers import Header, HeaderError, InMemory, read_torch


def read(data: bytes) -> Header:
    return read_torch(InMemory(data, "model.bin"))


def test_an_archive_of_zip64_is_read() -> None:
    """Sizes and offsets of 64 bits, as torch writes them where a file has more than 4 GiB."""
    name, body = (
        b"archive/data.pkl",
        program(b"}" + text("w") + TENSOR.replace(b"K\x04\x85K\x01", b"K\x00\x85K\x01") + b"s"),
    )
    whole = b""
    directory = b""
    for path, content in ((name, body), (b"archive/data/0", bytes(16))):
        wide = struct.pack("<2HQQQ", 1, 24, len(content), len(content), len(whole))
        directory += (
            struct.pack(
                "<4s6H3I5H2I",
                b"PK\1\2",
                45,
                45,
                0,
                0,
                0,
                0,
                zlib.crc32(content),
                2**32 - 1,
                2**32 - 1,
                len(path),
                len(wide),
                0,
                0,
                0,
                0,
                2**32 - 1,
            )
            + path
            + wide
        )
        local = struct.pack(
            "<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 0, zlib.crc32(content), 2**32 - 1, 2**32 - 1, len(path), 20
        )
        whole += local + path + struct.pack("<2HQQ", 1, 16, len(content), len(content)) + content
    start = len(whole)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, len(directory), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    data = whole + directory + end + locator + last
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("archive/data.pkl") == body
    (tensor,) = read(data).tensors
    assert (tensor.name, tensor.dtype, tensor.shape) == ("w", "F32", (0,))


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The archive with bytes of its last record of that kind replaced."""
    at = data.rfind(signature) + offset
    return data[:at] + value + data[at + len(value) :]


WHOLE = zipped(program(STATE), **{"data/0": bytes(16)})
DEFLATED = zipped(program(STATE), zipfile.ZIP_DEFLATED, **{"data/0": bytes(16)})
FIRST = WHOLE.find(b"PK\1\2")
BAD_ZIPS: dict[str, tuple[bytes, str]] = {
    "cut off": (WHOLE[:-30], "has no directory at its end (truncated?)"),
    "65,535 entries": (patched(WHOLE, b"PK\5\6", 10, b"\xff\xff"), "its directory is malformed"),
    "a directory of 4 GiB": (patched(WHOLE, b"PK\5\6", 12, b"\xff\xff\xff\xff"), "more than are read"),
    "a directory elsewhere": (patched(WHOLE, b"PK\5\6", 16, b"\xff\xff\xff\x7f"), "outside of the file"),
    "a part of several": (patched(WHOLE, b"PK\5\6", 4, b"\1\0"), "is one of several parts"),
    "no entry there": (WHOLE[:FIRST] + b"PK\0\0" + WHOLE[FIRST + 4 :], "its directory is malformed"),
    "encrypted": (WHOLE[: FIRST + 8] + b"\1" + WHOLE[FIRST + 9 :], "'archive/data.pkl' is encrypted"),
    "method 12": (WHOLE[: FIRST + 10] + b"\x0c" + WHOLE[FIRST + 11 :], "is compressed by method 12"),
    "a size of 4 GiB": (
        WHOLE[: FIRST + 24] + b"\xfe\xff\xff\xff" + WHOLE[FIRST + 28 :],
        "at most 64,000,000 are read",
    ),
    "zip64 without its field": (WHOLE[: FIRST + 24] + b"\xff" * 4 + WHOLE[FIRST + 28 :], "lacks a zip64 field"),
    "an entry elsewhere": (WHOLE[: FIRST + 42] + b"\7" + WHOLE[FIRST + 43 :], "is not where the directory says"),
    "another size than it says": (
        DEFLATED[: (at := DEFLATED.find(b"PK\1\2")) + 24] + b"\x01\0\0\0" + DEFLATED[at + 28 :],
        "does not have the 1 bytes that it says",
    ),
    "no deflated bytes": (DEFLATED[:46] + b"\xff" * 8 + DEFLATED[54:], "cannot be decompressed"),
    "an entry twice": (
        zipped(program(STATE), **{"data.pk1": b""}).replace(b"pk1", b"pkl"),
        "'archive/data.pkl' twice",
    ),
}


@pytest.mark.parametrize("fault", BAD_ZIPS)
def test_archives_that_cannot_be_believed_are_refused(fault: str) -> None:
    data, said = BAD_ZIPS[fault]
    with pytest.raises(HeaderError) as refused:
        read(data)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
