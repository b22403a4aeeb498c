"""The parts of the trace, each against plain Python or plain torch: values stay, and what is remembered is right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hfcount.formulas.activations import ACTIVATIONS
from hfcount.formulas.expressions import evaluate, field_paths, holds, namespace
from hfcount.formulas.tracing.assemble import essential
from hfcount.formulas.tracing.numbers import SymbolicFloat, SymbolicInt, text_of
from hfcount.formulas.tracing.recorder import negated, recording
from hfcount.formulas.tracing.sequences import SymbolicList, TracedRange, distinct
from hfcount.formulas.tracing.shapes import _TracedInt
from hfcount.formulas.tracing.writing import equals, literal

SMALL = st.integers(1, 50)


@given(a=SMALL, b=SMALL, other_a=SMALL, other_b=SMALL, operation=st.sampled_from(
    ["a + b", "a - b", "a * b", "a // b", "a % b", "a ** 2", "-a + 3", "(a + b) * (a - b)", "a * b // b", "2 * a // 2",
     "(a + 7) // 8 * 8", "a // b * b", "(a * 3) % 3", "abs(a - b)", "max(a, b)", "min(a, b, 7)", "int(a * 1.5)",
     "int(a / b)", "round(a * 0.5)", "math.ceil(a / b)", "math.ceil(a / 16)"]
))  # fmt: skip
def test_numbers_compute_as_plain_ones_and_remember_how(
    a: int, b: int, other_a: int, other_b: int, operation: str
) -> None:
    """What is remembered, worked out at other values where the same conditions hold, is what Python computes there."""
    import math

    with recording() as recorder:
        names = {"a": SymbolicInt.atom(a, "a"), "b": SymbolicInt.atom(b, "b")}
        result = eval(operation, {"math": math, "int": _TracedInt}, names)
        guards = list(recorder.guards)
    assert result == eval(operation, {"math": math}, {"a": a, "b": b})
    fields = {"a": other_a, "b": other_b}
    assume(all(holds(guard, namespace(fields)) for guard in guards))
    assert evaluate(text_of(result), namespace(fields)) == eval(operation, {"math": math}, dict(fields))


def test_a_comparison_is_a_condition() -> None:
    with recording() as recorder:
        heads, kv_heads = SymbolicInt.atom(8, "num_heads"), SymbolicInt.atom(8, "num_kv_heads")
        assert heads == kv_heads
        assert not heads > 16
        assert SymbolicFloat(0.5, "ratio") < 1.0
    assert list(recorder.guards) == ["num_heads == num_kv_heads", "num_heads <= 16", "ratio < 1.0"]


def test_a_loop_over_fields_counts_its_conditions() -> None:
    with recording() as recorder:
        length, dense = SymbolicInt.atom(6, "L"), SymbolicInt.atom(2, "k")
        kinds = ["dense" if i < dense else "sparse" for i in TracedRange(length)]
    assert kinds == ["dense"] * 2 + ["sparse"] * 4
    (loop,) = recorder.loops
    assert loop.over == "range(L)"
    assert list(loop.paths) == [[("i < k", True)]] * 2 + [[("i < k", False)]] * 4


def test_which_values_a_list_has_is_a_condition() -> None:
    with recording() as recorder:
        found = distinct(SymbolicList(["full", "sliding", "full"], "layer_types"))
    assert found == {"full", "sliding"}
    fields = {"layer_types": ["sliding", "full"]}
    assert all(holds(guard, namespace(fields)) for guard in recorder.guards)
    for other in (["full"], ["full", "sliding", "linear"]):
        assert not all(holds(guard, namespace({"layer_types": other})) for guard in recorder.guards)


def _made(torch: Any, n: int, m: int) -> dict[str, Any]:
    """Tensors made in the ways of constructors, from the sizes n and m."""
    base = torch.arange(n)
    grid = torch.stack(torch.meshgrid(base, torch.arange(m), indexing="ij"))
    table = torch.zeros(n, m)
    return {
        "empty": torch.empty(n, 2 * m),
        "arange with a step": torch.arange(0, n, 2),
        "arange of floats": torch.arange(0, 1, 4 / n),
        "expanded": base.expand((1, -1)),
        "repeated": base.repeat(3, 2),
        "sizes of another": torch.zeros(table.size()),
        "one size of another": torch.ones(table.shape[1], table.size(0)),
        "concatenated": torch.cat([table, table, torch.zeros(n, 3)], dim=1),
        "sliced": table[:, 0::2],
        "new axis": base[:, None],
        "outer": torch.outer(base, torch.arange(m)),
        "grid": torch.flatten(grid, 1),
        "differences": torch.flatten(grid, 1)[:, :, None] - torch.flatten(grid, 1)[:, None, :],
        "flat": table.view(-1),
        "like": torch.zeros_like(table) + 1,
        "moved": table.t(),
    }


def test_tensors_remember_their_sizes() -> None:
    """Shapes remembered at n = 8, m = 6 are torch's own at other sizes."""
    import torch

    import hfcount.formulas.tracing.shapes as shapes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "_MODEL_CODE", ("test_tracing_parts", __name__))
        with recording(), torch.device("meta"), shapes.NoteShapes():
            noted = _made(torch, SymbolicInt.atom(8, "n"), SymbolicInt.atom(6, "m"))
    for n, m in ((8, 6), (12, 10), (20, 4)):
        with torch.device("meta"):
            plain = _made(torch, n, m)
        for name, tensor in noted.items():
            dims = tuple(evaluate(text_of(SymbolicInt(0, dim)), namespace({"n": n, "m": m})) for dim in tensor.dims)
            assert dims == tuple(plain[name].shape), (name, n, m)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "open('x')",
        "a.__class__",
        "(lambda: 1)()",
        "[].append(1)",
        "a if",
        "math.factorial(9)",
        "f'{a}'",
    ],
)
def test_expressions_refuse_what_is_not_arithmetic(text: str) -> None:
    with pytest.raises(ValueError, match=r"expression"):
        evaluate(text, namespace({"a": 1}))


def test_conditions_are_said_once_and_shortly() -> None:
    guards = ["x[0] != 0", "x[0] == 2", "len(x) == 2", "x == [2, 3]", "a > 0", "a == 3", "b is None", "c > 1"]
    assert essential(guards) == ["x == [2, 3]", "a == 3", "b is None", "c > 1"]
    assert negated(negated("a in b")) == "a in b"
    assert equals("act", "gelu") == "act == 'gelu'"
    assert evaluate(literal([1.5, float("inf")]), namespace({})) == [1.5, float("inf")]
    assert field_paths("a.b*c[0] + sum(1 for i in range(L))") == {"a.b", "c", "L"}


@pytest.mark.pinned
def test_the_activations_without_parameters_are_transformers_own() -> None:
    from transformers.activations import ACT2FN

    bare = {name for name in ACT2FN if not list(ACT2FN[name].parameters())}
    assert set(ACTIVATIONS) <= bare
    assert bare - set(ACTIVATIONS) <= {"gelu_10", "xielu", "prelu", "sqrtsoftplus"}, bare - set(ACTIVATIONS)
