"""The inverse questions against counts of the models, and against arithmetic by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hfcount
from hfcount.errors import BadInput, UnsoundForm
from hfcount.formulas import catalogue
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.solve import Candidate, equation_in, roots, sizes_beside
from hfcount.solving import _counted


def test_a_share_of_gpt2() -> None:
    """c_attn is d x 3d in 12 layers, so r trains 36,864·r; of P + t, 1% is r = P/99/36,864 = 34.1."""
    solution = hfcount.solve("gpt2", trainable="1%")
    assert solution.equation == "36864*r"
    assert math.isclose(solution.exact, 124439808 / 99 / 36864, rel_tol=1e-6)
    assert (solution.below.value, solution.below.count) == (34, 34 * 36864)
    assert solution.below.percent < 1 < solution.above.percent
    assert solution.below.verified


def test_a_number_that_trains() -> None:
    solution = hfcount.solve("llama-7b", trainable="4194304", lora_targets=["q_proj", "v_proj"])
    assert solution.below.value == 8  # Hu et al.: 32 layers · 2 matrices · 8 · (4096 + 4096)
    assert solution.below.count == solution.target == 4194304


def test_a_depth_for_a_size() -> None:
    """12d² + 13d in a layer; V·d + T·d + 2d outside."""
    layer, rest = 12 * 768**2 + 13 * 768, (50257 + 1024 + 2) * 768
    solution = hfcount.solve("gpt2", parameters="1B", over="n_layer")
    assert solution.below.value == (10**9 - rest) // layer == 135
    assert solution.above.value == 136
    assert solution.below.count == rest + 135 * layer
    assert math.isclose(solution.exact, (10**9 - rest) / layer)


def test_a_width_that_heads_divide() -> None:
    """Neither side is a whole number of heads beside the solution: the nearest multiples are taken."""
    solution = hfcount.solve("gpt2", parameters="1B", over="n_embd")
    for found in (solution.below, solution.above):
        assert found.value % 12 == 0
        assert found.count == hfcount.count("gpt2", settings={"n_embd": found.value}).sizes.total
    assert solution.below.count <= 10**9 < solution.above.count
    fast = hfcount.solve("gpt2", parameters="1B", over="n_embd", fast=True)
    assert (fast.below.value, fast.above.value) == (solution.below.value, solution.above.value)
    assert not fast.below.verified


def test_a_field_by_its_other_name_and_inside_a_config() -> None:
    assert hfcount.solve("gpt2", parameters="1B", over="num_hidden_layers", fast=True).below.value == 135
    solution = hfcount.solve("gemma-3-4b-pt", parameters="10B", over="text_config.intermediate_size", fast=True)
    assert solution.below.count <= 10**10 < solution.above.count
    assert solution.above.value == solution.below.value + 1


def test_a_size_with_which_the_count_falls_first() -> None:
    """ViT: 3·p² + 1 numbers a patch and (224 // p)² + 1 positions, of 768 each: fewest in between."""
    solution = hfcount.solve("vit-base-patch16-224", parameters="100M", over="patch_size", fast=True)
    totals = {}
    for size in (1, 2, 3, 77, 78, 79, 80):
        totals[size] = hfcount.count("vit-base-patch16-224", settings={"patch_size": size}).sizes.total
    assert totals[1] > 10**8 > totals[2]
    assert solution.below.value == max((each for each in totals if totals[each] <= 10**8), key=totals.__getitem__)
    assert solution.above.value == min((each for each in totals if totals[each] > 10**8), key=totals.__getitem__)
    assert "does not only grow with patch_size" in solution.notes[0]
    assert solution.equation is None


def test_more_than_can_be_built() -> None:
    solution = hfcount.solve("gpt2", parameters="10T", over="n_layer", fast=True)
    assert solution.nearest is None
    assert solution.notes[0] == f"n_layer = 4,000, the most that hfcount builds, gives {39385344 + 4000 * 7087872:,}"
    solution = hfcount.solve("gpt2", trainable="99.9999%")
    assert solution.nearest is None
    assert "r = 1,000,000, the most" in solution.notes[1]


def test_only_values_that_meet_the_conditions() -> None:
    form = next(catalogue.forms("gpt2"))
    raw = {"model_type": "gpt2"}
    few = dataclasses.replace(form, guards=(*form.guards, "n_layer % 50 == 7"))
    found = sizes_beside(few, raw, "n_layer", 10**9, lambda candidate: candidate)
    assert (found.below.value, found.above.value, found.remark) == (107, 157, None)
    none = dataclasses.replace(form, guards=(*form.guards, "n_layer < 0"))
    found = sizes_beside(none, raw, "n_layer", 10**9, lambda candidate: candidate)
    assert (found.below, found.above) == (None, None)
    assert found.remark == "with n_layer = 135 it does not hold that n_layer < 0"
    found = sizes_beside(form, raw, "n_layer", 10**9, lambda candidate: "the model refuses")
    assert found.remark == "the model refuses"


def test_a_form_that_the_model_contradicts_is_a_fault() -> None:
    with pytest.raises(UnsoundForm, match="the form gives 1, the model has 46,473,216"):
        _counted("gpt2", "n_layer", (), {}, Candidate(value=1, count=1))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"parameters": "1B", "over": "n_heads"}, "does not depend on it here; it does on n_embd, n_layer"),
        ({"parameters": "1B"}, "--over FIELD"), ({"over": "n_layer"}, "--over FIELD"),
        ({"trainable": "1%", "parameters": "1B", "over": "n_layer"}, "--trainable 1%, or"),
        ({"trainable": "0%"}, "more than 0%"), ({"trainable": "100%"}, "less than 100%"),
        ({"trainable": "much"}, "is no figure"), ({"parameters": "much", "over": "n_layer"}, "is no figure"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(asked: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        hfcount.solve("gpt2", fast=True, **asked)


def test_nothing_that_small() -> None:
    solution = hfcount.solve("gpt2", parameters="1M", over="n_layer", fast=True)
    assert solution.below is None
    assert (solution.above.value, solution.above.count) == (0, (50257 + 1024 + 2) * 768)
    assert hfcount.solve("gpt2", trainable="1000").below is None


@given(a=st.integers(0, 50), b=st.integers(1, 10**6), c=st.integers(0, 10**9), x=st.integers(0, 10**4))
def test_the_roots_are_where_the_equation_says(a: int, b: int, c: int, x: int) -> None:
    n = Polynomial.symbol("n")
    equation = a * n**2 + b * n + c
    found = roots(equation, a * x * x + b * x + c)
    assert found is not None
    assert math.isclose(found, x, rel_tol=1e-9, abs_tol=1e-6)


def test_a_field_inside_an_expression_has_no_equation() -> None:
    answer = hfcount.formula("llama-7b", fast=True)
    assert equation_in(answer.form, answer.raw, "hidden_size") is None
    assert equation_in(answer.form, answer.raw, "intermediate_size") is not None
