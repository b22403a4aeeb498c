"""The closed form of bitsandbytes' bytes against bitsandbytes' own tensors on the CPU, term by term."""

from __future__ import annotations

import math
from typing import Any

import bitsandbytes
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hfcount.configs import load_config
from hfcount.errors import BadInput
from hfcount.inventory import inventory
from hfcount.quantization import KINDS, Scheme, Stored, stored
from hfcount.quantization.measured import MOST_ELEMENTS, measured
from hfcount.quantization.storage import BLOCK_SIZES
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve

STORAGE = {1: torch.uint8, 2: torch.bfloat16, 4: torch.float32}


def real(shape: tuple[int, ...], scheme: Scheme, dtype: torch.dtype = torch.float16) -> Stored:
    """What bitsandbytes keeps for random weights of `shape`; weighed by this file's own hand."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    if scheme.kind == "int8":
        layer = bitsandbytes.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to("cpu")
        assert layer.CB.data_ptr() == layer.data_ptr(), "two copies of the codes"
        return Stored(packed=layer.nbytes, absmax=layer.SCB.nbytes)
    codes, state = bitsandbytes.functional.quantize_4bit(
        weight, blocksize=scheme.block, compress_statistics=scheme.double, quant_type=scheme.kind,
        quant_storage=STORAGE[scheme.storage_bytes],
    )  # fmt: skip
    assert codes.dtype == STORAGE[scheme.storage_bytes]
    kept = {name: value for name, value in vars(state).items() if isinstance(value, torch.Tensor)}
    if not scheme.double:
        assert kept.keys() == {"absmax", "code"}
        return Stored(packed=codes.nbytes, absmax=kept["absmax"].nbytes, tables=kept["code"].nbytes)
    inner = {name: value for name, value in vars(state.state2).items() if isinstance(value, torch.Tensor)}
    assert kept.keys() == {"absmax", "code", "offset"}
    assert inner.keys() == {"absmax", "code"}
    return Stored(
        packed=codes.nbytes,
        absmax=kept["absmax"].nbytes,
        nested=inner["absmax"].nbytes + kept["offset"].nbytes,
        tables=kept["code"].nbytes + inner["code"].nbytes,
    )


def assert_same(shape: tuple[int, ...], scheme: Scheme, **how: Any) -> None:
    ours, theirs = stored(shape, scheme), real(shape, scheme, **how)
    assert ours == theirs, f"{shape} {scheme}: {ours.total:,} {ours}, bitsandbytes {theirs.total:,} {theirs}"


FOUR_BIT = [Scheme(kind=kind, double=double) for kind in ("nf4", "fp4") for double in (False, True)]
ALL = [*FOUR_BIT, Scheme(kind="int8")]


def named(scheme: Scheme) -> str:
    return f"{scheme.kind}{'-double' if scheme.double else ''}"


@pytest.mark.parametrize("scheme", ALL, ids=named)
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (33, 31), (1, 63), (1, 64), (1, 65), (64, 64), (64, 256), (128, 129), (3, 5461), (1, 16_385), (512, 96)],
    ids=str,
)
def test_shapes(shape: tuple[int, int], scheme: Scheme) -> None:
    assert_same(shape, scheme)


@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("block", BLOCK_SIZES)
def test_where_a_block_and_256_blocks_end(block: int, kind: str, double: bool) -> None:
    scheme = Scheme(kind=kind, double=double, block=block)
    for elements in (1, block - 1, block, block + 1, 256 * block - 1, 256 * block, 256 * block + 1):
        if elements < 300_000 or kind == "nf4":
            assert_same((1, elements), scheme)


def test_bitsandbytes_offers_these_block_sizes_and_no_other() -> None:
    for block in (16, 48, 8192):
        with pytest.raises((ValueError, AssertionError)):
            bitsandbytes.functional.quantize_4bit(torch.randn(8, 8), blocksize=block)
        with pytest.raises(BadInput):
            Scheme(block=block)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    scheme=st.sampled_from(FOUR_BIT),
    block=st.sampled_from(BLOCK_SIZES),
)
@example(rows=1, columns=1, scheme=FOUR_BIT[1], block=64)
@example(rows=129, columns=127, scheme=FOUR_BIT[1], block=64)
def test_drawn_shapes_in_four_bits(rows: int, columns: int, scheme: Scheme, block: int) -> None:
    assert_same((rows, columns), Scheme(kind=scheme.kind, double=scheme.double, block=block))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 300), columns=st.integers(1, 300))
def test_drawn_shapes_in_int8(rows: int, columns: int) -> None:
    assert_same((rows, columns), Scheme(kind="int8"))


@pytest.mark.parametrize("storage_bytes", [2, 4])
@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
def test_wider_storage(storage_bytes: int, double: bool) -> None:
    """bitsandbytes takes only lengths that fill whole elements of the storage dtype; on those the form is its."""
    scheme, held = Scheme(double=double, storage_bytes=storage_bytes), 0
    for elements in (*range(1, 40), 127, 128, 129, 1023, 16_384, 16_388):
        try:
            theirs = real((1, elements), scheme)
        except RuntimeError:
            assert (elements + 1) // 2 % storage_bytes, f"{elements} would fill whole elements"
            continue
        held += 1
        assert stored((1, elements), scheme) == theirs, (elements, theirs)
    assert held >= 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("scheme", ALL, ids=named)
def test_the_type_of_the_weights_does_not_matter(scheme: Scheme, dtype: torch.dtype) -> None:
    assert_same((33, 31), scheme, dtype=dtype)


@pytest.mark.parametrize("scheme", ALL, ids=named)
def test_the_bytes_measured_for_the_confirmation_are_the_real_ones(scheme: Scheme) -> None:
    for shape in ((1, 1), (33, 31), (64, 257)):
        assert measured(shape, scheme, "cpu") == real(shape, scheme)


@pytest.mark.parametrize("scheme", ALL, ids=named)
def test_measuring_does_not_lean_on_the_cpu(scheme: Scheme, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that lies on another device from the start is quantized there; meta stands in for a GPU."""
    monkeypatch.setitem(MOST_ELEMENTS, "meta", 2**20)
    for shape in ((1, 1), (33, 31), (64, 257)):
        assert measured(shape, scheme, "meta") == stored(shape, scheme)


def test_what_cannot_be_measured_is_none() -> None:
    assert measured((2**12, 2**12), Scheme(), "cpu") is None, "too large for the CPU"
    assert measured((64, 64), Scheme(), "tpu") is None, "no such device"
    assert measured((1, 1), Scheme(storage_bytes=4), "cpu") is None, "bitsandbytes refuses the length"


# Figures by hand.


def test_the_linears_of_the_lora_lab() -> None:
    """24 matrices with 196,608 weights: half a byte each, and an fp32 scale for every 64."""
    table = inventory(build_skeleton(load_config(resolve("card:mini-gpt-lora-lab"))).model)
    linears = table[table["module_class"] == "Linear"]
    assert (len(linears), linears["numel"].sum()) == (24, 196_608)
    parts = [stored(shape, Scheme()) for shape in linears["shape"]]
    assert sum(each.packed for each in parts) == 98_304
    assert sum(each.absmax for each in parts) == 12_288
    assert sum(each.without_tables for each in parts) == 110_592
    assert sum(each.tables for each in parts) == 24 * 64
    assert sum(each.total for each in parts) == 110_592 + 1_536
    assert sum(real(shape, Scheme()).total for shape in linears["shape"]) == 112_128


def test_a_scale_for_64_weights() -> None:
    """The lab: "1 fp16 scale per 64-weight block ... 4/64". fp16 would be 2/64; bitsandbytes keeps fp32, 4/64."""
    _, state = bitsandbytes.functional.quantize_4bit(torch.randn(64, 64), quant_type="nf4", blocksize=64)
    assert state.absmax.dtype == torch.float32
    assert state.absmax.nbytes / 64**2 == 4 / 64 == 0.0625
    assert torch.float16.itemsize / 64 == 2 / 64
    assert stored((64, 64), Scheme()).absmax == 64**2 * 4 // 64


def test_bits_a_weight_in_the_limit() -> None:
    """4 + 32/64 = 4.5; doubled 4 + 8/64 + 32/(64·256) = 4.126953125 (Dettmers et al. 2023: "0.373 bits" saved)."""
    shape = (2**14, 2**14)
    weights = math.prod(shape)
    assert 8 * stored(shape, Scheme()).without_tables == weights * 9 // 2
    double = stored(shape, Scheme(double=True))
    assert 8 * (double.without_tables - 4) / weights == 4.126953125
    assert 4.5 - 8 * double.total / weights == pytest.approx(0.373, abs=1e-4)
    int8 = stored(shape, Scheme(kind="int8"))
    assert (int8.packed, int8.absmax, int8.tables) == (weights, 4 * 2**14, 0)


def test_for_tiny_tensors_double_quantization_is_the_larger() -> None:
    """A second code book weighs 1,024 bytes; 3 bytes saved a block make up for it, and for the rest, from 346 on."""
    single, double = Scheme(), Scheme(double=True)
    assert real((64, 64), double).total > real((64, 64), single).total
    assert real((64, 64), double).without_tables < real((64, 64), single).without_tables
    assert (stored((1, 1), single).total, stored((1, 1), double).total) == (1 + 4 + 64, 1 + 1 + 8 + 64 + 1024)
    cheaper = next(n for n in range(1, 2**16, 64) if stored((1, n), double).total < stored((1, n), single).total)
    assert -(-cheaper // 64) == 346
    assert real((1, cheaper), double).total < real((1, cheaper), single).total
    assert real((1, cheaper - 64), double).total >= real((1, cheaper - 64), single).total


def test_sums_are_term_by_term() -> None:
    one, other = Stored(packed=1, absmax=2, nested=3, tables=4), Stored(packed=10, absmax=20, nested=30, tables=40)
    assert one + other == Stored(packed=11, absmax=22, nested=33, tables=44)
    assert (one.without_tables, one.total) == (6, 10)
    assert Stored().total == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "nf3"}, "quantization 'nf3': one of nf4, fp4, int8"),
        ({"kind": ""}, "quantization '': one of nf4, fp4, int8"),
        ({"block": 48}, "quantization block of 48: one of 32, 64, 128, 256, 512, 1024, 2048, 4096"),
        ({"block": 0}, "quantization block of 0: one of 32"),
        ({"block": "64"}, "quantization block of '64': one of 32"),
        ({"storage_bytes": 8}, "quantization storage of 8 bytes: one of 1, 2, 4"),
        (
            {"kind": "int8", "double": True},
            "LLM.int8() has no statistics to quantize a second time; double quantization is for 4 bits",
        ),
    ],
)
def test_what_bitsandbytes_does_not_offer_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Scheme(**fields)
    assert str(caught.value).startswith(message)


def test_each_kind_is_tested_here() -> None:
    assert {scheme.kind for scheme in ALL} == set(KINDS)
