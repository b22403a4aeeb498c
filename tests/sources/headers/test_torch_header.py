"""Checkpoints of torch.save against torch's own reading of them, and pickles that want to run something."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from header_files import STATE, TENSOR, Counting, program, text, zipped
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


def test_a_pickle_made_by_hand_is_what_torch_loads() -> None:
    data = zipped(program(STATE), **{"data/0": bytes(16), "version": b"3\n", "byteorder": b"little"})
    assert torch.load(io.BytesIO(data), weights_only=True)["w"].shape == (4,)
    assert shapes(read(data)) == {"w": ("F32", (4,))}


def test_a_compressed_pickle_is_read() -> None:
    assert read(zipped(program(STATE), zipfile.ZIP_DEFLATED, **{"data/0": bytes(16)})).nbytes == 16


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
