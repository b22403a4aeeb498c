"""The states of optimizers in closed form against what the real ones hold after a step on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import bitsandbytes
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from live_training import REAL, weigh

from hfcount.budget.optimizers import MIN_8BIT_ELEMENTS, OPTIMIZERS, PAGED_ELEMENTS, State, optimizer, optimizer_state
from hfcount.errors import BadInput

pytestmark = pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")  # they hold the same there

Shapes = Iterable[Sequence[int]]

# Both sides of the 4,096 elements from which bitsandbytes keeps eight bits, and of its blocks of 256.
SHAPES = [
    (1,), (7,), (256,), (4_095,), (4_096,), (4_097,), (1, 1), (33, 31), (63, 65), (64, 64), (65, 63), (17, 241),
    (4_352,), (4_353,), (128, 129), (3, 5, 7), (4, 32, 33), (2, 2, 1),
]  # fmt: skip


def stepped(shapes: Shapes, make: Callable[[list[torch.nn.Parameter]], Any], dtype: torch.dtype) -> Any:
    """A real optimizer after one step over parameters of `shapes`."""
    parameters = [torch.nn.Parameter(torch.randn(tuple(shape)).to(dtype)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    found = make(parameters)
    found.step()
    return found


def assert_same(name: str, shapes: Shapes, dtype: str = "float32") -> None:
    shapes = list(shapes)
    ours = optimizer_state(shapes, optimizer(name), dtype=dtype)
    theirs = weigh(stepped(shapes, REAL[name], getattr(torch, dtype)))
    found = (ours.moments, ours.tables, ours.scalars)
    real = (theirs.moments, theirs.tables, theirs.scalars)
    assert found == real, f"{name}, {dtype}, {shapes}: (moments, tables, scalars) {found}, really {real}"


def test_each_optimizer_has_its_real_one_here() -> None:
    assert REAL.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", REAL)
def test_all_shapes_together(name: str, dtype: str) -> None:
    """Together, so that shared tables count once and what belongs to a tensor counts for each."""
    assert_same(name, SHAPES, dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", REAL)
def test_one_tensor(name: str, shape: tuple[int, ...]) -> None:
    assert_same(name, [shape])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(REAL)),
    shapes=st.lists(st.lists(st.integers(1, 24), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
@example(name="adamw-8bit", shapes=[(24, 24, 24), (16, 16, 16), (4, 4)], dtype="bfloat16")
def test_drawn_shapes(name: str, shapes: list[tuple[int, ...]], dtype: str) -> None:
    assert_same(name, shapes, dtype)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(REAL)),
    shapes=st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=3).map(tuple), min_size=1, max_size=6),
    dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
)
def test_many_drawn_shapes(name: str, shapes: list[tuple[int, ...]], dtype: str) -> None:
    assert_same(name, shapes, dtype)


def test_bitsandbytes_32_bit_adamw_keeps_fp32_moments_of_bf16_parameters() -> None:
    """Unlike torch's, which has them in the parameter's type."""
    theirs = weigh(stepped(SHAPES, bitsandbytes.optim.AdamW, torch.bfloat16))
    assert theirs == State(moments=optimizer_state(SHAPES, optimizer("paged-adamw"), dtype="bfloat16").moments)
    assert theirs.moments == 2 * weigh(stepped(SHAPES, torch.optim.AdamW, torch.bfloat16)).moments


def test_the_least_that_has_eight_bits_is_bitsandbytes_own() -> None:
    real = bitsandbytes.optim.AdamW8bit([torch.nn.Parameter(torch.zeros(1))])
    assert real.args.min_8bit_size == MIN_8BIT_ELEMENTS


def test_figures_by_hand() -> None:
    """4,096 elements: two moments of a byte, two absmax in fp32 for each of 16 blocks, two code books."""
    eight = optimizer("adamw-8bit")
    assert optimizer_state([(64, 64)], eight, dtype="float32") == State(moments=8_192 + 128, tables=2_048)
    assert optimizer_state([(4_095,)], eight, dtype="float32") == State(moments=32_760)
    assert optimizer_state([(4_097,)], eight, dtype="float32") == State(moments=8_194 + 136, tables=2_048)
    assert optimizer_state([(64, 64)] * 5, eight, dtype="float32").tables == 2_048
    factored = optimizer_state([(4_096, 11_008)], optimizer("adafactor"), dtype="float32")
    assert (factored.total, factored.scalars) == (4 * (4_096 + 11_008), 4)
    assert optimizer_state([], eight, dtype="float32") == State()


# Paged memory. bitsandbytes pages on a GPU only; its own code is run on the meta device, which stands in for one.


@pytest.mark.parametrize("name", ["paged-adamw-8bit", "paged-adamw"])
@pytest.mark.parametrize(
    "shapes",
    [[(99_999,)], [(100_000,)], [(100_001,)], [(400, 250), (399, 250), (64,), (3, 40_000)], [(64, 64)]],
    ids=str,
)
def test_what_is_paged(name: str, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    paged: list[torch.Tensor] = []

    def get_paged(*shape: int, dtype: torch.dtype, device: Any) -> torch.Tensor:
        paged.append(torch.empty(shape, dtype=dtype, device=device))
        return paged[-1]

    monkeypatch.setattr(bitsandbytes.functional, "get_paged", get_paged)
    monkeypatch.setattr(bitsandbytes.functional, "fill", lambda *_: None)
    parameters = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in shapes]
    real = REAL[name](parameters)
    for index, parameter in enumerate(parameters):
        real.init_state(real.param_groups[0], parameter, 0, index)
    assert optimizer_state(shapes, optimizer(name), dtype="float32").paged == sum(each.nbytes for each in paged)


def test_only_the_paged_ones_page() -> None:
    large = [(PAGED_ELEMENTS, 2)]
    pages = {name: optimizer_state(large, each, dtype="float32").paged for name, each in OPTIMIZERS.items()}
    assert {name for name, paged in pages.items() if paged} == {"paged-adamw", "paged-adamw-8bit"}
    assert pages["paged-adamw"] == 8 * 2 * PAGED_ELEMENTS
    assert pages["paged-adamw-8bit"] == 2 * 2 * PAGED_ELEMENTS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adam", "optimizer 'adam' is not known: did you mean adamw"),
        ("AdamW8bit", "optimizer 'AdamW8bit' is not known: did you mean adamw-8bit"),
        ("adafacto", "optimizer 'adafacto' is not known: did you mean adafactor?"),
        (
            "muon",
            "optimizer 'muon' is not known: one of adamw, adamw-8bit, paged-adamw-8bit, paged-adamw, adafactor, sgd",
        ),
    ],
)
def test_an_unknown_optimizer_has_near_names(name: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        optimizer(name)
    assert str(caught.value).startswith(message)
