"""The safetensors reader against the safetensors library, and against files that nobody should believe."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from header_files import Counting, entry, safetensors_file
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcount.dtypes import SAFETENSORS_BITS
from hfcount.sources.headers import Header, HeaderError, InMemory, read_safetensors
from hfcount.sources.headers import safetensors as module

DTYPES = [
    getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bfloat16"),
        *("float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz"),
    )
]


def read(data: bytes) -> Header:
    return read_safetensors(InMemory(data, "model.safetensors"))


def by_library(data: bytes) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """Element type, shape and bytes of each tensor as the library reads the whole file."""
    return {
        name: (info["dtype"], tuple(info["shape"]), len(info["data"])) for name, info in safetensors.deserialize(data)
    }


def by_us(header: Header) -> dict[str, tuple[str, tuple[int, ...], int]]:
    return {tensor.name: (tensor.dtype, tensor.shape, tensor.nbytes) for tensor in header.tensors}


names = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12).filter(lambda name: name != "__metadata__")
tensors = st.dictionaries(
    names, st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4)), min_size=1, max_size=8
)


@settings(max_examples=150, deadline=None)
@given(tensors, st.dictionaries(names, st.text(st.characters(blacklist_categories=("Cs",)), max_size=20), max_size=4))
def test_what_the_library_writes_is_read_as_it_reads_it(
    state: dict[str, tuple[torch.dtype, list[int]]], metadata: dict[str, str]
) -> None:
    data = safetensors.torch.save(
        {name: torch.zeros(shape, dtype=torch.uint8).to(dtype) for name, (dtype, shape) in state.items()}, metadata
    )
    header = read(data)
    assert by_us(header) == by_library(data)
    assert header.metadata == metadata
    assert header.nbytes == sum(math.prod(shape) * dtype.itemsize for dtype, shape in state.values())
    assert not header.notes


def test_four_bits_are_two_elements_a_byte() -> None:
    values = torch.zeros(2, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    (tensor,) = read(safetensors.torch.save({"a": values})).tensors
    assert (tensor.dtype, tensor.shape, tensor.nbytes) == ("F4", (2, 8), 8)


@pytest.mark.parametrize("dtype", sorted(SAFETENSORS_BITS))
def test_every_element_type_has_the_librarys_bits(dtype: str) -> None:
    nbytes = SAFETENSORS_BITS[dtype] * 8 // 8
    data = safetensors_file({"a": entry([8], 0, nbytes, dtype)}, nbytes)
    assert by_us(read(data)) == by_library(data)


def test_no_element_type_of_the_library_is_missing() -> None:
    with pytest.raises(safetensors.SafetensorError) as refused:
        safetensors.deserialize(safetensors_file({"a": entry([1], 0, 1, "NONE")}, 1))
    listed = str(refused.value).split("expected one of ")[1].split(" at line")[0]
    assert {name.strip(" `") for name in listed.split(",")} == set(SAFETENSORS_BITS)


ONE = entry([1], 0, 4)
RAW = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "has 0 bytes"),
    "seven bytes": (b"1234567", "has 7 bytes"),
    "a length of 2**63": (struct.pack("<Q", 2**63) + b"{}", "9,223,372,036,854,775,808 bytes; at most 100,000,000"),
    "a length of 2**64 - 1": (b"\xff" * 8 + b"{}", "at most 100,000,000"),
    "a length beyond the limit": (struct.pack("<Q", 100_000_001) + b"{}", "at most 100,000,000"),
    "a length beyond the file": (struct.pack("<Q", 99_999_999) + b"{}", "(truncated?)"),
    "no JSON": (safetensors_file(b"abc"), "not JSON: '{' expected at byte 0, not 'a'"),
    "an empty header": (safetensors_file(b""), "not JSON: '{' expected"),
    "a list": (safetensors_file(b"[]"), "not JSON: '{' expected"),
    "an open object": (safetensors_file(b'{"a":' + RAW, 4), "not JSON"),
    "something behind": (safetensors_file(b"{} x"), "something follows"),
    "zeros behind": (safetensors_file(b"{}\0\0"), "something follows"),
    "no UTF-8": (safetensors_file(b'{"\xff\xfe":' + RAW + b"}", 4), "not UTF-8"),
    "half a character": (safetensors_file(b'{"\\ud800":' + RAW + b"}", 4), "not UTF-8"),
    "a line break in a name": (safetensors_file(b'{"a\n":' + RAW + b"}", 4), "not JSON"),
    "NaN": (safetensors_file({"a": {**ONE, "shape": [math.nan]}}, 4), "not JSON: NaN"),
    "infinity aside": (safetensors_file({"a": {**ONE, "x": math.inf}}, 4), "not JSON: Infinity"),
    "1e999 aside": (safetensors_file(b'{"a":{"x":1e999,' + RAW[1:] + b"}", 4), "no double holds"),
    "a tensor twice": (safetensors_file(b'{"a":' + RAW + b',"a":' + RAW + b"}", 4), "key 'a' twice"),
    "a tensor twice, escaped": (safetensors_file(b'{"a":' + RAW + b',"\\u0061":' + RAW + b"}", 4), "key 'a' twice"),
    "a field twice": (safetensors_file(b'{"a":{"dtype":"F32",' + RAW[1:] + b"}", 4), "key 'dtype' twice"),
    "metadata twice": (safetensors_file(b'{"__metadata__":{},"__metadata__":{}}'), "key '__metadata__' twice"),
    "a key of metadata twice": (safetensors_file(b'{"__metadata__":{"a":"","a":""}}'), "key 'a' twice"),
    "metadata that is a number": (safetensors_file({"__metadata__": {"a": 1}}), "a string expected"),
    "metadata that is a list": (safetensors_file({"__metadata__": []}), "not JSON: '{' expected"),
    "a tensor that is a number": (safetensors_file({"a": 1}), "no JSON object"),
    "a tensor that is a list": (safetensors_file({"a": ["F32", [1], [0, 4]]}, 4), "no JSON object"),
    "no dtype": (safetensors_file({"a": {"shape": [1], "data_offsets": [0, 4]}}, 4), "has no dtype"),
    "no shape": (safetensors_file({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, 4), "its shape"),
    "no offsets": (safetensors_file({"a": {"dtype": "F32", "shape": [1]}}, 4), "its data_offsets"),
    "a negative size": (safetensors_file({"a": entry([-1], 0, 4)}, 4), "no list of integers from 0 on"),
    "minus nothing": (safetensors_file(b'{"a":' + RAW.replace(b"[1]", b"[-0]") + b"}", 4), "no list of integers"),
    "a size that is true": (safetensors_file({"a": entry([True], 0, 4)}, 4), "no list of integers from 0 on"),
    "a size of 1.0": (safetensors_file({"a": entry([1.0], 0, 4)}, 4), "no list of integers from 0 on"),
    "a size in quotes": (safetensors_file({"a": entry(["1"], 0, 4)}, 4), "no list of integers from 0 on"),
    "a leading zero": (safetensors_file(b'{"a":' + RAW.replace(b"[1]", b"[01]") + b"}", 4), "not JSON"),
    "a size of 2**64": (safetensors_file({"a": entry([2**64], 0, 4)}, 4), "64 bits"),
    "5,000 digits": (safetensors_file(b'{"a":' + RAW.replace(b"[1]", b"[%s]" % (b"9" * 5000)) + b"}", 4), "double"),
    "a shape that overflows": (safetensors_file({"a": entry([2**32, 2**32], 0, 0)}), "64 bits"),
    "bits that overflow": (safetensors_file({"a": entry([2**60], 0, 0)}), "64 bits"),
    "an overflow times nothing": (safetensors_file({"a": entry([2**32, 2**32, 0], 0, 0)}), "64 bits"),
    "three offsets": (safetensors_file({"a": {**ONE, "data_offsets": [0, 4, 4]}}, 4), "no two integers"),
    "offsets backwards": (safetensors_file({"a": entry([1], 4, 0)}, 4), "[4, 0] are not in order"),
    "offsets of 2**64": (safetensors_file({"a": entry([1], 2**64, 2**64 + 4)}, 4), "data_offsets"),
    "too few bytes": (safetensors_file({"a": entry([2], 0, 4)}, 4), "F32 [2] is 8 bytes, its data_offsets span 4"),
    "half a byte": (safetensors_file({"a": entry([3], 0, 2, "F4")}, 2), "F4 [3] is 1.5 bytes"),
    "an overlap": (safetensors_file({"a": ONE, "b": ONE}, 4), "which overlaps the one before"),
    "a gap": (safetensors_file({"a": ONE, "b": entry([1], 8, 12)}, 12), "which leaves 4 bytes before it unused"),
    "a gap at first": (safetensors_file({"a": entry([1], 4, 8)}, 8), "which leaves 4 bytes before it unused"),
    "offsets far outside": (safetensors_file({"a": entry([1], 2**62, 2**62 + 4)}, 4), "bytes before it unused"),
    "data cut off": (safetensors_file({"a": ONE}, 3), "holds 3 of the 4 bytes of its tensors (truncated?)"),
    "data behind": (safetensors_file({"a": ONE}, 5), "has 1 bytes behind its last tensor"),
    "lists in lists": (safetensors_file(b'{"a":{"x":' + b"[" * 200 + b"]" * 200 + b"}}", 0), "nested more than 128"),
    "lists in lists without end": (safetensors_file(b'{"a":' + b"[" * 90_000), "nested more than 128 deep"),
    "objects in objects": (safetensors_file(b'{"a":' * 50_000), "nested more than 128 deep"),
    "a long entry": (safetensors_file(b'{"a":{"x":"' + b"y" * 2_000_000 + b'"}}'), "more than 1,000,000 bytes in one"),
    "a list of lists": (
        safetensors_file(b'{"a":[' + b"[]," * 1_000_000 + b"[]]}"),
        "more than 1,000,000 bytes in one",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_believed_is_refused_in_one_line(fault: str) -> None:
    data, said = BAD[fault]
    with pytest.raises(HeaderError) as refused:
        read(data)
    assert str(refused.value).startswith("model.safetensors: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


LENIENT = {"a tensor twice", "a tensor twice, escaped", "a key of metadata twice", "a tensor that is a list"}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_the_library_refuses_the_same_but_for_what_is_there_twice(fault: str) -> None:
    if fault in LENIENT:
        safetensors.deserialize(BAD[fault][0])
    else:
        with pytest.raises(safetensors.SafetensorError):
            safetensors.deserialize(BAD[fault][0])


GOOD: dict[str, bytes] = {
    "nothing": safetensors_file({}),
    "space": safetensors_file(b' \t\r\n{ "a" : ' + RAW.replace(b":", b" :\n") + b" } \n", 4),
    "no metadata": safetensors_file({"__metadata__": None}),
    "metadata behind": safetensors_file({"a": ONE, "__metadata__": {"k": 'v\u00e9 " \\ \n'}}, 4),
    "a scalar": safetensors_file({"a": entry([], 0, 4)}, 4),
    "empty tensors among others": safetensors_file(
        {"a": entry([0], 0, 0), "b": ONE, "c": entry([0, 2**63], 4, 4), "d": entry([0], 4, 4)}, 4
    ),
    "data in another order than the names": safetensors_file({"b": entry([1], 4, 8), "a": ONE}, 8),
    "more fields": safetensors_file({"a": {"x": {"y": [1, 2.5, None, -3, 10**30]}, **ONE, "z": "\u00e9"}}, 4),
    "depth": safetensors_file(b'{"a":{"x":' + b"[" * 100 + b"]" * 100 + b"," + RAW[1:] + b"}", 4),
    "a name in escapes": safetensors_file({'\u00e9 \U0001f600 " \\ \x00 /': ONE}, 4),
    "a name in UTF-8": safetensors_file('{"é😀":'.encode() + RAW + b"}", 4),
    "an entry of many bytes": safetensors_file({"a": {"x": "é" * 40_000, **ONE}}, 4),
    "a name of many bytes": safetensors_file({"n" * 200_000: ONE}, 4),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_unusual_is_read_as_the_library_reads_it(name: str) -> None:
    assert by_us(read(GOOD[name])) == by_library(GOOD[name])


def test_metadata_is_read_whole() -> None:
    assert read(GOOD["metadata behind"]).metadata == {"k": 'v\u00e9 " \\ \n'}


SEEDS = [
    *GOOD.values(),
    safetensors.torch.save({"w": torch.zeros(2, 3), "b": torch.zeros(2, dtype=torch.int8)}, {"k": "v"}),
]
SIGNS = b'{}[],:"\\0123456789-+.eE truefalsn\n\x00\xc3\xa9\xff_abFUI'
changes = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from("sid"), st.sampled_from(list(SIGNS))), max_size=3
)


def changed(data: bytes, steps: list[tuple[float, str, int]]) -> bytes:
    """The file with bytes of its header set, put in or deleted; its length is set right."""
    length = int.from_bytes(data[:8], "little")
    header, rest = bytearray(data[8 : 8 + length]), data[8 + length :]
    for where, how, sign in steps:
        at = int(where * len(header))
        header[at : at + (how != "i")] = b"" if how == "d" else bytes([sign])
    return safetensors_file(bytes(header), rest)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from([data for data in SEEDS if len(data) < 2_000]), changes)
def test_changed_files_are_accepted_and_refused_as_by_the_library(
    seed: bytes, steps: list[tuple[float, str, int]]
) -> None:
    data = changed(seed, steps)
    ours, theirs = outcome(lambda: read(data)), outcome(lambda: by_library(data))
    if isinstance(ours, Header):
        # What the library does not know at all it refuses; we keep it with a note.
        assert by_us(ours) == theirs or (ours.notes and "unknown variant" in str(theirs))
    elif not isinstance(theirs, safetensors.SafetensorError):
        assert "twice" in str(ours) or "no JSON object" in str(ours)


def outcome(read: Callable[[], Any]) -> Any:
    """What it returns, or the error."""
    try:
        return read()
    except (HeaderError, safetensors.SafetensorError) as error:
        return error


def test_an_unknown_element_type_is_kept_with_a_note() -> None:
    header = read(
        safetensors_file({"a": entry([4, 3], 0, 5, "F3"), "b": entry([1], 5, 9), "c": entry([], 9, 9, "F3")}, 9)
    )
    assert by_us(header)["a"] == ("F3", (4, 3), 5)
    assert header.stored_elements == 14
    assert header.notes == (
        "model.safetensors: nobody knows the element type 'F3' of 2 tensors: their bytes are from the offsets, their "
        "elements from the shape",
    )


def test_a_short_header_is_one_read_and_a_long_one_two() -> None:
    small = Counting(safetensors_file({"a": ONE}, 4))
    read_safetensors(small)
    assert len(small.ranges) == 1
    count = 3_000
    many = {f"model.layers.{index}.weight": entry([1], 4 * index, 4 * index + 4) for index in range(count)}
    head = safetensors_file(many)
    large = Counting(head, length=len(head) + 4 * count)
    assert len(read_safetensors(large).tensors) == count
    assert large.ranges == [(0, module.FIRST_READ), (module.FIRST_READ, len(head))]


def test_a_file_that_gives_less_than_it_says_is_cut_off() -> None:
    head = safetensors_file({f"{index:05}" * 10: entry([0], 0, 0) for index in range(2_000)})
    with pytest.raises(HeaderError, match=r"ends at byte 150,000, inside its header \(truncated\?\)"):
        read_safetensors(Counting(head[:150_000], length=len(head)))


def test_metadata_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "METADATA_LIMIT", 3)
    data = safetensors_file(json.dumps({"__metadata__": {str(key): "" for key in range(4)}}).encode())
    with pytest.raises(HeaderError, match="__metadata__ has more than 3 keys"):
        read(data)
