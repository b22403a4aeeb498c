"""Checkpoints of torch.save against torch's own reading of them, and pickles that want to run something."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from header_files import Counting
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcount.dtypes import torch_name
from hfcount.sources.headers import Header, HeaderError, InMemory, read_torch, torch_zip

FORMATS: dict[str, dict[str, Any]] = {
    "zip": {},
    "zip, protocol 4": {"pickle_protocol": 4},
    "zip, protocol 5": {"pickle_protocol": 5},
    "before 1.6": {"_use_new_zipfile_serialization": False},
}
DTYPES = [
    getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bfloat16"),
        *("float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
    )
]

TYPED = {torch.bool, torch.uint8, torch.int8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64}


def saved(value: Any, how: str = "zip") -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **FORMATS[how])
    return buffer.getvalue()


def read(data: bytes) -> Header:
    return read_torch(InMemory(data, "model.bin"))


def shapes(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {tensor.name: (tensor.dtype, tensor.shape) for tensor in header.tensors}


states = st.dictionaries(
    st.text("abc.é", min_size=1, max_size=9),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(states, st.sampled_from(sorted(FORMATS)))
def test_what_torch_saves_is_read_as_torch_loads_it(drawn: dict[str, tuple[torch.dtype, list[int]]], how: str) -> None:
    state = {name: torch.zeros(shape, dtype=torch.uint8).to(dtype) for name, (dtype, shape) in drawn.items()}
    if how == "before 1.6":  # torch cannot load what has no storage class from its old format
        state = {name: value if value.dtype in TYPED else torch.zeros(value.shape) for name, value in state.items()}
    data = saved(state, how)
    header = read(data)
    loaded = torch.load(io.BytesIO(data), weights_only=False)
    assert shapes(header) == {
        name: (torch_name(str(value.dtype)), tuple(value.shape)) for name, value in loaded.items()
    }
    assert header.nbytes == sum(value.nbytes for value in loaded.values())
    assert not header.notes


@pytest.mark.parametrize("how", FORMATS)
def test_a_modules_state_dict_with_tied_weights(how: str) -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    module[1].weight = module[0].weight
    header = read(saved(module.state_dict(), how))
    assert {name: shape for name, (_, shape) in shapes(header).items()} == {
        name: tuple(value.shape) for name, value in module.state_dict().items()
    }
    assert header.metadata == {"tied": {"1.weight": "0.weight"}}
    assert header.nbytes == 4 * (15 + 5 + 4 * 5) + 8
    assert header.notes == ("model.bin: tied tensors: 1, stored in the bytes of another, which count once",)


@pytest.mark.parametrize("how", FORMATS)
def test_what_is_saved_beside_the_weights_is_left_aside(how: str) -> None:
    weight = torch.ones(2, 2)
    value = {
        "epoch": 3,
        "best": 0.5,
        "state_dict": OrderedDict(w=weight, p=torch.nn.Parameter(torch.ones(3))),
        "optimizer": {
            "state": {0: {"exp_avg": torch.ones(2, 2)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99)}],
        },
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "set": {1, 2},
        "bytes": b"ab",
        "big": 2**70,
        "complex": 1j,
        "none": None,
    }
    header = read(saved(value, how))
    assert shapes(header) == {"w": ("F32", (2, 2)), "p": ("F32", (3,))}
    assert header.notes[0].startswith("model.bin: the weights are under 'state_dict'; left aside: 'optimizer'")


def test_wrappers_in_wrappers_and_dicts_in_dicts() -> None:
    layers = {"embedding": {"word": torch.ones(2)}, "layers": [{"w": torch.ones(3)}, {"w": torch.ones(4)}]}
    header = read(saved({"model": {"module": layers}, "iteration": 7}))
    assert {name: shape for name, (_, shape) in shapes(header).items()} == {
        "embedding.word": (2,),
        "layers.0.w": (3,),
        "layers.1.w": (4,),
    }


def test_views_have_the_bytes_of_the_file_once() -> None:
    whole = torch.zeros(10)
    header = read(saved({"a": whole[:4], "b": whole[2:6], "c": whole[0].expand(1_000), "d": torch.zeros(3)}))
    assert shapes(header)["c"] == ("F32", (1_000,))
    assert header.nbytes == 40 + 12
    header = read(saved({"a": whole[:4]}))
    assert header.nbytes == 16
    assert header.notes == ("model.bin: 24 bytes belong to storages of which the tensors show a part only",)


def test_tensors_of_other_kinds() -> None:
    sparse = torch.eye(3).to_sparse()
    four = torch.zeros(2, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    header = read(saved({"s": sparse, "m": torch.ones(5, device="meta"), "four": four}))
    assert shapes(header) == {
        "s.indices": ("I64", (2, 3)),
        "s.values": ("F32", (3,)),
        "m": ("F32", (5,)),
        "four": ("F4", (2, 8)),
    }
    assert header.nbytes == 2 * 3 * 8 + 3 * 4 + 8
    assert header.notes == ("model.bin: tensors without data (saved from the meta device): 1",)


def test_only_the_directory_and_the_pickle_are_read() -> None:
    data = saved({"w": torch.zeros(1_000_000), "v": torch.zeros(1_000_000)})
    file = Counting(data, "model.bin")
    assert read_torch(file).nbytes == 8_000_000
    assert sum(stop - start for start, stop in file.ranges) < 100_000
    old = Counting(saved({"w": torch.zeros(1_000_000), "v": torch.zeros(1_000_000)}, "before 1.6"), "model.bin")
    assert read_torch(old).nbytes == 8_000_000
    assert sum(stop - start for start, stop in old.ranges) < 300_000


def test_a_long_pickle_of_the_old_format_is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_zip, "_FIRST_READ", 100)
    assert len(read(saved({str(key): torch.zeros(1) for key in range(50)}, "before 1.6")).tensors) == 50


class Calls:
    """Pickles to a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (getattr, "builtins.getattr"), (Path, "pathlib.Path")],
)
def test_a_pickle_that_calls_something_is_refused(tmp_path: Path, how: str, function: Any, name: str) -> None:
    trace = tmp_path / "ran"
    arguments = (f"touch {trace}",) if function is os.system else (f"open({str(trace)!r}, 'w')",)
    data = saved({"w": torch.ones(2), "x": Calls(function, *arguments)}, how)
    with pytest.raises(HeaderError) as refused:
        read(data)
    path = {"posix.system": f"{os.name}.system"}.get(name, name)
    before = path.replace("builtins.", "__builtin__.")  # protocol 2 has Python 2's names
    assert str(refused.value) in {
        f"model.bin: loading it would call {each}: refused, nothing was run" for each in (path, before)
    }
    assert not trace.exists()


def test_a_whole_module_is_refused_by_the_name_of_its_class() -> None:
    with pytest.raises(HeaderError, match=r"would call torch\.nn\.modules\.linear\.Linear: refused"):
        read(saved(torch.nn.Linear(2, 2)))


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


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"
TENSOR = REBUILD + b"(" + STORAGE + b"K\x00K\x04\x85K\x01\x85\x89Nt" + b"R"
STATE = b"}" + text("w") + TENSOR + b"s"


def test_a_pickle_made_by_hand_is_what_torch_loads() -> None:
    data = zipped(program(STATE), **{"data/0": bytes(16), "version": b"3\n", "byteorder": b"little"})
    assert torch.load(io.BytesIO(data), weights_only=True)["w"].shape == (4,)
    assert shapes(read(data)) == {"w": ("F32", (4,))}


def test_a_compressed_pickle_is_read() -> None:
    assert read(zipped(program(STATE), zipfile.ZIP_DEFLATED, **{"data/0": bytes(16)})).nbytes == 16


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
    assert shapes(read(data)) == {"w": ("F32", (0,))}


def billion() -> bytes:
    """Lists that hold the one before twice, 28 deep: in 300 bytes 2**28 values."""
    return b"]" + b"q\x00](h\x00h\x00e" * 28


def nested_key() -> bytes:
    """A dict whose key is a tuple of tuples forty deep: to hash it takes 2**40 steps."""
    return b"}" + b")" + b"q\x00h\x00\x86" * 40 + b"K\x01s"


NO_TENSOR = "holds no tensor"
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no checkpoint of torch.save"),
    "words": (b"hello", "neither a zip archive nor a pickle"),
    "another pickle": (pickle.dumps({"a": 1}, 2), "is a pickle, but no checkpoint of torch.save"),
    "a zip without a directory": (b"PK\x03\x04" + bytes(50), "has no directory at its end"),
    "a zip without a pickle": (zipped(b"").replace(b"data.pkl", b"data.txt"), "is a zip archive without a data.pkl"),
    "TorchScript": (zipped(program(STATE), **{"constants.pkl": b"", "data/0": bytes(16)}), "is a TorchScript program"),
    "no stop": (zipped(b"\x80\x02}"), "ends early (truncated?)"),
    "no tensor": (zipped(program(b"}")), NO_TENSOR),
    "a number": (zipped(program(b"K\x01")), NO_TENSOR),
    "an empty stack": (zipped(program(b"")), "is malformed"),
    "no mark": (zipped(program(b"t")), "is malformed"),
    "an unknown memo": (zipped(program(b"h\x07")), "is malformed"),
    "an unknown opcode": (zipped(program(b"\xf0")), "has the opcode 0xf0"),
    "a text of protocol 0": (zipped(program(b"Vabc\n")), "has the opcode 0x56"),
    "an extension": (zipped(program(b"\x82\x01")), "has the opcode 0x82"),
    "a text of 4 GiB": (zipped(program(b"X\xff\xff\xff\xff")), "ends early"),
    "a text of 2**63 bytes": (zipped(program(b"\x8d" + struct.pack("<Q", 2**63))), "ends early"),
    "bytes of 2**63": (zipped(program(b"\x8e" + struct.pack("<Q", 2**63))), "ends early"),
    "a number of 4 GiB": (zipped(program(b"\x8b\xff\xff\xff\xff")), "ends early"),
    "a memo index of 2**32": (zipped(program(b"}r\xff\xff\xff\xff")), NO_TENSOR),
    "calling a number": (zipped(program(b"K\x01)R")), "calls what is no function"),
    "calling a tensor": (zipped(program(TENSOR + b")R"), **{"data/0": bytes(16)}), "calls what is no function"),
    "os.system by its name": (zipped(program(b"cos\nsystem\n")), "would call os.system: refused, nothing was run"),
    "os.system from the stack": (
        zipped(program(text("os"), text("system"), b"\x93")),
        "would call os.system: refused",
    ),
    "os.system as an instance": (zipped(program(b"(ios\nsystem\n")), "would call os.system: refused"),
    "a name with an escape": (zipped(program(b"cos\x1b[31m\nsystem\n")), "would call os\\x1b[31m.system: refused"),
    "an attribute of an allowed name": (zipped(program(b"ctorch\nSize.__init__\n")), "would call torch.Size.__init__"),
    "a storage that is not there": (zipped(program(STATE)), "storage '0' is not in the archive"),
    "a storage cut off": (zipped(program(STATE), **{"data/0": bytes(15)}), "storage '0' has 15 of its 16 bytes"),
    "beyond the storage": (
        zipped(program(STATE.replace(b"K\x04\x85", b"K\x05\x85")), **{"data/0": bytes(16)}),
        "a tensor that reaches beyond its storage",
    ),
    "a negative size": (
        zipped(program(STATE.replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85")), **{"data/0": bytes(16)}),
        "sizes that are no integers from 0 on",
    ),
    "a size that is true": (
        zipped(program(STATE.replace(b"K\x04\x85", b"\x88\x85")), **{"data/0": bytes(16)}),
        "sizes that are no integers from 0 on",
    ),
    "another persistent id": (zipped(program(b"(K\x01tQ")), "a persistent id that is no storage"),
    "lists of lists of lists": (zipped(program(billion())), "holds more than 2,000,000 values"),
    "lists in lists": (zipped(program(b"]" * 200_000 + b"a" * 199_999)), "nested more than 32 deep"),
    "a list that holds itself": (zipped(program(b"]q\x00h\x00a")), "nested more than 32 deep"),
    "a key that is nested": (zipped(program(nested_key())), NO_TENSOR),
    "a tensor twice": (
        zipped(
            program(b"}", text("a.b"), TENSOR, b"s", text("a"), b"}", text("b"), TENSOR, b"ss"),
            **{"data/0": bytes(16)},
        ),
        "has the tensor 'a.b' twice",
    ),
    "steps without end": (zipped(program(b"N0" * 3_000_000), zipfile.ZIP_DEFLATED), "more than 5,000,000 steps"),
    "a pickle of 70 MB in 70 KB": (zipped(bytes(70_000_000), zipfile.ZIP_DEFLATED), "at most 64,000,000 are read"),
    "a tar": (b"0.data\0" + bytes(600), "neither a zip archive nor a pickle"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_believed_is_refused_in_one_line(fault: str) -> None:
    data, said = BAD[fault]
    with pytest.raises(HeaderError) as refused:
        read(data)
    assert str(refused.value).startswith("model.bin: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


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
