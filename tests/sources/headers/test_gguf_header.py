"""The GGUF reader against files that the gguf package writes and reads, and against files made to do harm."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest
from header_files import Counting, gguf_file, gguf_tensor, gguf_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfcount.dtypes import GGUF_TYPES
from hfcount.sources.headers import Header, HeaderError, InMemory, LocalFile, read_gguf
from hfcount.sources.headers import gguf as module

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")


def read(data: bytes) -> Header:
    return read_gguf(InMemory(data, "model.gguf"))


def write(path: Path, rows: dict[str, tuple[int, tuple[int, ...]]], big: bool = False, tokens: int = 3_000) -> Path:
    """A file of the gguf package with some metadata and, for every row, a tensor of zeros of that type and shape."""
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG if big else gguf.GGUFEndian.LITTLE)
    writer.add_uint32("llama.block_count", 22)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_bool("a.flag", True)
    writer.add_int64("a.number", -(2**40))
    writer.add_array("llama.head_counts", [1, 2, 3])
    writer.add_array("tokenizer.ggml.tokens", [f"token {index} é" for index in range(tokens)])
    writer.add_array("tokenizer.ggml.scores", [float(index) for index in range(tokens)])
    writer.add_array("some.words", ["a", "b"])
    for name, (number, shape) in rows.items():
        kind = gguf.GGMLQuantizationType(number)
        block, nbytes = gguf.GGML_QUANT_SIZES[kind]
        data = numpy.zeros((*shape[:-1], shape[-1] // block * nbytes), dtype=numpy.uint8)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


types = st.sampled_from(sorted({int(kind) for kind in gguf.GGMLQuantizationType} & GGUF_TYPES.keys()))
rows = st.dictionaries(
    st.text("abc.0123é", min_size=1, max_size=20),
    st.tuples(types, st.lists(st.integers(1, 4), min_size=0, max_size=3), st.integers(1, 3)),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_what_the_package_writes_is_read_as_it_reads_it(
    tmp_path: Path, drawn: dict[str, tuple[int, list[int], int]]
) -> None:
    made = {name: (kind, (*outer, GGUF_TYPES[kind].block * blocks)) for name, (kind, outer, blocks) in drawn.items()}
    path = write(tmp_path / "model.gguf", made, tokens=9)
    theirs = {
        tensor.name: (tensor.tensor_type.name, tuple(reversed(tensor.shape.tolist())), tensor.n_bytes)
        for tensor in gguf.GGUFReader(path).tensors
    }
    header = read_gguf(LocalFile(path))
    assert {tensor.name: (tensor.dtype, tensor.shape, tensor.nbytes) for tensor in header.tensors} == theirs
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {
        name: shape for name, (_, shape) in made.items()
    }


@pytest.mark.parametrize("big", [False, True])
def test_metadata_is_kept_where_it_is_short(tmp_path: Path, big: bool) -> None:
    header = read_gguf(LocalFile(write(tmp_path / "model.gguf", {"a": (0, (2, 32)), "b": (1, (3,))}, big)))
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in header.tensors} == {
        "a": ("F32", (2, 32)),
        "b": ("F16", (3,)),
    }
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 22,
        "llama.rope.freq_base": 10000.0,
        "a.flag": True,
        "a.number": -(2**40),
        "llama.head_counts": [1, 2, 3],
        "tokenizer.ggml.tokens": {"array_of": "string", "length": 3_000},
        "tokenizer.ggml.scores": {"array_of": "float32", "length": 3_000},
        "some.words": ["a", "b"],
    }


def test_the_packages_reader_wants_the_whole_file(tmp_path: Path) -> None:
    """Why there is a reader of our own: of a header without its weights the package's reader makes nothing."""
    path = write(tmp_path / "model.gguf", {"a": (12, (64, 4096))})
    data = path.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: len(data) - 64 * 4096 // 256 * 144 // 2])
    with pytest.raises(ValueError, match="reshape"):
        gguf.GGUFReader(cut)
    far = Counting(data[:120_000], "model.gguf", length=len(data))
    (tensor,) = read_gguf(far).tensors
    assert (tensor.dtype, tensor.shape, tensor.nbytes) == ("Q4_K", (64, 4096), 147_456)


def test_version_1_has_lengths_of_four_bytes() -> None:
    """GGUF v1 (August 2023) has 32 bits for counts, lengths and sizes; offsets have 64 in all versions."""
    text = struct.pack("<I", 1) + b"k" + struct.pack("<I", 8) + struct.pack("<I", 2) + b"ab"
    tensor = struct.pack("<I", 1) + b"t" + struct.pack("<I2IIQ", 2, 32, 3, 2, 0)
    head = b"GGUF" + struct.pack("<3I", 1, 1, 1) + text + tensor
    header = read(head + bytes(-len(head) % 32) + bytes(54))
    assert header.metadata == {"k": "ab"}
    assert [(tensor.dtype, tensor.shape, tensor.nbytes) for tensor in header.tensors] == [("Q4_0", (3, 32), 54)]


def test_a_long_array_of_numbers_is_not_read() -> None:
    count = 10_000_000
    pair = gguf_text("big") + struct.pack("<IIQ", 9, 4, count)
    head = b"GGUF" + struct.pack("<I2Q", 3, 0, 1) + pair
    file = Counting(head, "model.gguf", length=len(head) + 4 * count)
    assert read_gguf(file).metadata == {"big": {"array_of": "uint32", "length": count}}
    assert sum(stop - start for start, stop in file.ranges) <= 100_000


def test_an_unknown_type_is_kept_with_a_note() -> None:
    header = read(gguf_file([], [gguf_tensor("a", [32, 2], 99, 0), gguf_tensor("b", [8], 0, 64)], 96))
    assert [(tensor.name, tensor.dtype, tensor.shape, tensor.nbytes) for tensor in header.tensors] == [
        ("a", "type 99", (2, 32), 64),
        ("b", "F32", (8,), 32),
    ]
    assert header.notes == (
        "model.gguf: nobody knows the element type 99 of 1 tensors: their bytes are from the offsets, padding "
        "included, their elements from the shape",
    )


def test_an_empty_tensor_may_lie_where_another_begins() -> None:
    header = read(gguf_file([], [gguf_tensor("none", [0], 0, 0), gguf_tensor("a", [8], 0, 0)], 32))
    assert [tensor.nbytes for tensor in header.tensors] == [0, 32]


def pair(key: str, kind: int, value: bytes) -> bytes:
    return gguf_text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int) -> bytes:
    return struct.pack("<IQ", kind, count)


ONE = gguf_tensor("a", [8], 0, 0)
HEAD = b"GGUF" + struct.pack("<I", 3)
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "4 more are wanted at byte 0 (truncated?)"),
    "another magic": (b"GGML" + bytes(40), "does not begin with GGUF"),
    "version 4": (b"GGUF" + struct.pack("<I2Q", 4, 0, 0), "is of GGUF version 4; 1 to 3 are known"),
    "version 0": (b"GGUF" + bytes(20), "is of GGUF version 0"),
    "cut in the counts": (HEAD + bytes(7), "(truncated?)"),
    "2**63 tensors": (HEAD + struct.pack("<2Q", 2**63, 0), "tensors; at most 1,000,000 are read"),
    "2**63 keys": (HEAD + struct.pack("<2Q", 0, 2**63), "keys; at most 65,536 are read"),
    "more tensors than bytes": (HEAD + struct.pack("<2Q", 900_000, 0), "too few for its 900,000 tensors"),
    "more keys than bytes": (HEAD + struct.pack("<2Q", 0, 60_000), "too few for its 60,000 keys"),
    "a key of 2**63 bytes": (gguf_file([struct.pack("<Q", 2**63)], [], 0), "has a key of 9,223,372"),
    "a text of 2**63 bytes": (gguf_file([pair("k", 8, struct.pack("<Q", 2**63))], [], 0), "(truncated?)"),
    "a key twice": (gguf_file([pair("k", 0, b"\1"), pair("k", 0, b"\1")], [], 0), "has the key 'k' twice"),
    "a key that is no UTF-8": (gguf_file([gguf_text(b"\xff") + struct.pack("<IB", 0, 1)], [], 0), "a key that is not"),
    "a value of type 13": (gguf_file([pair("k", 13, b"")], [], 0), "key 'k' has a value of the unknown type 13"),
    "an array of type 13": (gguf_file([pair("k", 9, array(13, 1))], [], 0), "an array of the unknown type 13"),
    "2**63 numbers": (gguf_file([pair("k", 9, array(10, 2**63))], [], 0), "(truncated?)"),
    "2**63 texts": (gguf_file([pair("k", 9, array(8, 2**63))], [], 0), "(truncated?)"),
    "a text of 2**63 bytes among many": (
        gguf_file([pair("k", 9, array(8, 5_000) + struct.pack("<Q", 2**63))], [], 60_000),
        "(truncated?)",
    ),
    "2**63 arrays": (gguf_file([pair("k", 9, array(9, 2**63))], [], 0), "arrays in one; at most 1,024"),
    "arrays in arrays": (gguf_file([pair("k", 9, array(9, 1) * 50)], [], 0), "arrays more than 4 deep"),
    "arrays of arrays of arrays": (
        gguf_file([pair("k", 9, array(9, 1_000) + (array(9, 1_000) + array(0, 0) * 1_000) * 1_000)], [], 0),
        "arrays in one; at most 1,024",
    ),
    "an alignment of 0": (gguf_file([pair("general.alignment", 4, struct.pack("<I", 0))], [], 0), "no power of two"),
    "an alignment of 24": (gguf_file([pair("general.alignment", 4, struct.pack("<I", 24))], [], 0), "no power of two"),
    "an alignment in words": (gguf_file([pair("general.alignment", 8, gguf_text("a"))], [], 0), "no power of two"),
    "a tensor twice": (gguf_file([], [ONE, gguf_tensor("a", [8], 0, 32)], 64), "tensor 'a' is there twice"),
    "9 dimensions": (gguf_file([], [gguf_tensor("a", [1] * 9, 0, 0)], 32), "has 9 dimensions; at most 8"),
    "2**32 - 1 dimensions": (gguf_file([], [gguf_text("a") + b"\xff" * 4], 64), "4294967295 dimensions"),
    "a shape that overflows": (gguf_file([], [gguf_tensor("a", [2**32, 2**32], 0, 0)], 32), "63 bits"),
    "a part of a block": (gguf_file([], [gguf_tensor("a", [33, 2], 2, 0)], 64), "no whole blocks of 32 (Q4_0)"),
    "an overlap": (gguf_file([], [gguf_tensor("a", [16], 0, 0), gguf_tensor("b", [8], 0, 32)], 96), "overlap those"),
    "the same place": (gguf_file([], [ONE, gguf_tensor("b", [8], 0, 0)], 96), "overlap those of another"),
    "between alignments": (gguf_file([], [gguf_tensor("a", [8], 0, 16)], 96), "no multiple of the alignment 32"),
    "beyond the end": (gguf_file([], [gguf_tensor("a", [8], 0, 2**62)], 32), "beyond the end of the file"),
    "data cut off": (gguf_file([], [ONE], 31), "its 32 bytes reach beyond the end of the file (truncated?)"),
    "no data": (gguf_file([], [ONE], 0), "its 32 bytes reach beyond the end of the file (truncated?)"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_believed_is_refused_in_one_line(fault: str) -> None:
    data, said = BAD[fault]
    with pytest.raises(HeaderError) as refused:
        read(data)
    assert str(refused.value).startswith("model.gguf: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("stop", range(0, 200, 7))
def test_a_file_cut_anywhere_is_refused(stop: int) -> None:
    whole = gguf_file([pair("k", 8, gguf_text("v" * 50)), pair("n", 9, array(4, 2) + bytes(8))], [ONE], 32)
    assert len(whole) > 200
    with pytest.raises(HeaderError):
        read(whole[:stop])


def test_the_header_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEADER_LIMIT", 200_000)
    texts = pair("k", 9, array(8, 30_000) + gguf_text("x") * 30_000)
    with pytest.raises(HeaderError, match="more than 200,000 bytes of header"):
        read(gguf_file([texts], [], 0))


def test_kept_arrays_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_LIMIT", 5)
    pairs: list[Any] = [pair(str(key), 9, array(0, 4) + bytes(4)) for key in range(2)]
    kept, summed = read(gguf_file(pairs, [], 0)).metadata.values()
    assert kept == [0, 0, 0, 0]
    assert summed == {"array_of": "uint8", "length": 4}


def test_bytes_are_rows_of_blocks() -> None:
    """Q6_K: 210 bytes for 256 weights (ggml-common.h, block_q6_K)."""
    (tensor,) = read(gguf_file([], [gguf_tensor("a", [512, 3], 14, 0)], 1_260)).tensors
    assert tensor.nbytes == math.prod((3, 512)) * 210 // 256 == 1_260
