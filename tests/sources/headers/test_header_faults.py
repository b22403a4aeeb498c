"""Whatever bytes a header has: an HfcountError or a header, in bounded time and memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap

import pytest
import safetensors.torch
import torch
from header_files import gguf_file, gguf_tensor, gguf_text
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcount.errors import HfcountError
from hfcount.sources.headers import InMemory, read_header
from hfcount.sources.headers.sharded import read_index


def torch_file(**options: object) -> bytes:
    buffer = io.BytesIO()
    shared = torch.zeros(2, 3)
    value = {"state_dict": {"a": shared, "b": shared[1:], "p": torch.nn.Parameter(torch.zeros(2))}, "epoch": 3}
    torch.save(value, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


SEEDS: dict[str, bytes] = {
    "a.safetensors": safetensors.torch.save({"a": torch.zeros(2, 3), "é": torch.zeros(2)}, {"format": "pt"}),
    "a.gguf": gguf_file(
        [
            gguf_text("k") + struct.pack("<I", 8) + gguf_text("v"),
            gguf_text("n") + struct.pack("<IIQ2I", 9, 4, 2, 7, 8),
        ],
        [gguf_tensor("a", [32, 2], 2, 0), gguf_tensor("b", [8], 0, 64)],
        96,
    ),
    "a.bin": torch_file(),
    "b.bin": torch_file(_use_new_zipfile_serialization=False),
    "c.bin": torch_file(pickle_protocol=4),
    "index.json": b'{"metadata": {"total_size": 12}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}',
}
NUMBERS = [0, 1, 2**7, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good file with some bytes set, cut out, repeated, or with a number of eight or four bytes put in."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    data = bytearray(SEEDS[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(data), 4_000)))
        how = draw(st.integers(0, 4))
        if how == 0:
            data[at : at + 1] = draw(st.binary(max_size=4))
        elif how == 1:
            data[at : at + 8] = struct.pack("<Q", draw(st.sampled_from(NUMBERS)))
        elif how == 2:
            data[at : at + 4] = struct.pack("<Q", draw(st.sampled_from(NUMBERS)))[:4]
        elif how == 3:
            del data[at : at + draw(st.integers(1, 200))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 100))] * draw(st.integers(1, 5))
    return name, bytes(data)


def attempt(name: str, data: bytes) -> None:
    """Reads; any other exception than ours is a failure, and so is a message of two lines."""
    refused = ""
    try:
        if name == "index.json":
            read_index(InMemory(data, name))
            return
        header = read_header(InMemory(data, name))
    except HfcountError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        assert refused.startswith(name)
        return
    assert header.nbytes <= len(data)
    assert all(size >= 0 for tensor in header.tensors for size in tensor.shape)
    assert len({tensor.name for tensor in header.tensors}) == len(header.tensors)


@settings(max_examples=1_500, deadline=None)
@given(damaged())
def test_a_damaged_file_is_read_or_refused(file: tuple[str, bytes]) -> None:
    attempt(*file)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SEEDS)),
    st.sampled_from([b"", b"GGUF\3\0\0\0", b"GGUF\0\0\0\3", b"PK\3\4", b"\x80\x02", b"\x20" + bytes(7) + b"{"]),
    st.binary(max_size=200),
)
def test_any_bytes_are_read_or_refused(name: str, start: bytes, rest: bytes) -> None:
    attempt(name, start + rest)


BOMBS = {
    "100 MB of lists in a tensor's entry": """
        raw = b'{"a":[' + b"[]," * 33_000_000 + b"[]]}"
        return struct.pack("<Q", len(raw)) + raw, "a.safetensors"
    """,
    "100 MB of one name": """
        raw = b'{"' + b"\\\\n" * 49_000_000 + b'":1}'
        return struct.pack("<Q", len(raw)) + raw, "a.safetensors"
    """,
    "100 MB of the smallest tensors": """
        entry = b'":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
        raw = b"{" + b",".join(b'"%x' % key + entry for key in range(1_690_000)) + b"}"
        return struct.pack("<Q", len(raw)) + raw, "a.safetensors"
    """,
    "100 MB of metadata": """
        raw = b'{"__metadata__":{' + b",".join(b'"%x":""' % key for key in range(8_000_000)) + b"}}"
        return struct.pack("<Q", len(raw)) + raw, "a.safetensors"
    """,
    "a header of GGUF full of texts": """
        texts = struct.pack("<Q", 0) * 12_000_000
        return b"GGUF" + struct.pack("<I2QQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 12_000_000) + texts, "a.gguf"
    """,
    "60 MB of a pickle's lists": """
        return zipped(b"\\x80\\x02" + b"]" * 60_000_000 + b"."), "a.bin"
    """,
    "5,000,000 sets that are remembered": """
        return zipped(b"\\x80\\x04" + b"\\x8f\\x94" * 2_499_990 + b"."), "a.bin"
    """,
    "a number of 60 MB as a size": """
        return zipped(b"\\x80\\x02\\x8b" + struct.pack("<I", 60_000_000) + b"\\x7f" * 60_000_000 + b"."), "a.bin"
    """,
}
PROGRAM = """
import io, resource, struct, sys, zipfile
from hfcount.errors import HfcountError
from hfcount.sources.headers import InMemory, read_header

def zipped(program):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    return buffer.getvalue()

def bomb():
{body}

data, name = bomb()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 750_000_000, resource.RLIM_INFINITY))
try:
    read_header(InMemory(data, name))
    print("read")
except HfcountError as error:
    print("refused:", error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@pytest.mark.parametrize("bomb", BOMBS)
def test_the_largest_headers_take_less_than_750_mb_beside_the_file(bomb: str) -> None:
    body = textwrap.indent(textwrap.dedent(BOMBS[bomb]), "    ")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.startswith(("refused: ", "read")), done.stdout
