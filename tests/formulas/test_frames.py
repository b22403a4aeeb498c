"""A form over a table of configs against the form config by config, and against models that are built."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hfcount
from hfcount.api import count
from hfcount.errors import BadInput
from hfcount.fast.frames import evaluate_lora
from hfcount.formulas import catalogue
from hfcount.formulas.config_fields import example_of
from hfcount.formulas.form import Form
from hfcount.formulas.frames import evaluate, evaluate_components
from hfcount.formulas.vectors import Ints


def form_of(model_type: str) -> Form:
    return next(catalogue.forms(model_type))


def one_by_one(form: Form, raw: dict[str, object], frame: pd.DataFrame) -> list[int | None]:
    """What the form says config by config, with Python's integers; None where it does not hold."""
    totals: list[int | None] = []
    for _, row in frame.iterrows():
        fields = {**raw, **{key: value.item() if hasattr(value, "item") else value for key, value in row.items()}}
        totals.append(sum(each.numel for each in form.evaluated(fields)) if form.covers(fields) else None)
    return totals


SIZES = st.integers(min_value=0, max_value=300)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"hidden_size": SIZES, "num_attention_heads": st.integers(0, 12), "num_hidden_layers": SIZES,
             "intermediate_size": SIZES, "vocab_size": SIZES}
        ),
        min_size=1, max_size=12,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_table_says_what_each_config_says(rows: list[dict[str, int]]) -> None:
    form, frame = form_of("llama"), pd.DataFrame(rows)
    found = evaluate(form, frame, errors="coerce")
    expected = one_by_one(form, {"model_type": "llama"}, frame)
    assert [None if pd.isna(each) else int(each) for each in found] == expected


@pytest.mark.parametrize("model_type", ["gpt2", "mixtral", "deepseek_v3", "t5", "jamba", "gemma3", "bert", "mamba"])
def test_other_architectures(model_type: str) -> None:
    """Counts of layers, remainders, conditions on strings, fields inside nested configs."""
    form = form_of(model_type)
    raw, chance = example_of(form), np.random.default_rng(7)
    layers = {"gpt2": "n_layer", "t5": "num_layers", "gemma3": "text_config.num_hidden_layers"}
    width = {"gpt2": "n_embd", "t5": "d_model", "gemma3": "text_config.intermediate_size"}
    depth, wide = layers.get(model_type, "num_hidden_layers"), width.get(model_type, "intermediate_size")
    frame = pd.DataFrame({depth: chance.integers(1, 40, 30), wide: chance.integers(1, 40, 30) * 48})
    found = evaluate(form, frame, raw, errors="coerce")
    for place in range(len(frame)):
        fields = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
        for path, value in frame.iloc[place].items():
            *scopes, last = str(path).split(".")
            holder = fields
            for scope in scopes:
                holder = holder.setdefault(scope, {})
            holder[last] = int(value)
        holds = form.covers(fields)
        assert pd.isna(found[place]) is not holds
        if holds:
            assert int(found[place]) == sum(each.numel for each in form.evaluated(fields)), fields


def test_built_models_agree() -> None:
    frame = pd.DataFrame({"n_embd": [24, 48, 96], "n_layer": [1, 3, 2], "vocab_size": [101, 7, 1000]})
    found = hfcount.formula("gpt2", fast=True).evaluate(frame)
    for place, row in frame.iterrows():
        settings = {**{key: int(value) for key, value in row.items()}, "n_head": 2}
        assert found[place] == count("card:gpt2", settings=settings).sizes.total


def test_components_add_up_and_have_the_models_names() -> None:
    frame = pd.DataFrame({"num_hidden_layers": [1, 32]}, index=["small", "7B"])
    found = evaluate_components(form_of("llama"), frame)
    assert found.loc["7B", "total"] == 6738415616
    assert (found.drop(columns="total").sum(axis=1) == found["total"]).all()
    assert found.loc["7B", "norm"] == (2 * 32 + 1) * 4096


def test_what_64_bits_do_not_hold_stays_exact() -> None:
    frame = pd.DataFrame({"n_embd": [10**9, 768], "n_layer": [10**6, 12]})
    found = evaluate(form_of("gpt2"), frame)
    d, layers = 10**9, 10**6
    assert found[0] == 50257 * d + 1024 * d + layers * (12 * d * d + 13 * d) + 2 * d
    assert found[0] > 2**63
    assert found[1] == 124439808


@given(
    left=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6),
    right=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6),
)
def test_columns_never_wrap_around(left: list[int], right: list[int]) -> None:
    size = min(len(left), len(right))
    one, other = (Ints.of(np.array(each[:size], dtype=np.int64)) for each in (left, right))
    assert list((one * other + one).values) == [a * b + a for a, b in zip(left[:size], right[:size], strict=True)]
    result = one // other
    for place, (a, b) in enumerate(zip(left[:size], right[:size], strict=True)):
        undefined = bool(np.broadcast_to(result.bad, size)[place])
        assert undefined is (b == 0)
        if b:
            assert result.values[place] == a // b


def test_a_broken_condition_names_its_row() -> None:
    frame = pd.DataFrame({"hidden_size": [4096, 100]}, index=["good", "odd"])
    with pytest.raises(ValueError, match=r"row odd: .*hidden_size % num_attention_heads == 0"):
        evaluate(form_of("llama"), frame)
    found = evaluate(form_of("llama"), frame, errors="coerce")
    assert found["good"] == 6738415616
    assert found["odd"] is pd.NA


def test_strings_and_truths_are_fields_too() -> None:
    frame = pd.DataFrame({"hidden_act": ["silu", "gelu", "xielu"], "attention_bias": [False, True, False]})
    found = evaluate(form_of("llama"), frame, errors="coerce")
    assert [pd.isna(each) for each in found] == [False, True, True]


def test_other_names_of_fields() -> None:
    form = form_of("gpt2")
    frame = pd.DataFrame({"hidden_size": [1600], "num_hidden_layers": [48]})
    assert evaluate(form, frame)[0] == 1557611200
    with pytest.raises(BadInput, match="given twice"):
        evaluate(form, frame.assign(n_embd=3))


def test_a_column_that_is_no_field_is_refused() -> None:
    with pytest.raises(BadInput, match="no_such_field is no field of GPT2LMHeadModel"):
        evaluate(form_of("gpt2"), pd.DataFrame({"no_such_field": [1]}))


def test_an_empty_table_gives_an_empty_column() -> None:
    assert len(evaluate(form_of("gpt2"), pd.DataFrame({"n_embd": np.array([], dtype=int)}))) == 0


def test_lora_by_rank_and_size() -> None:
    """Hu et al. 2021: r·(in + out) for each matrix; GPT-2's c_attn is d x 3d."""
    frame = pd.DataFrame({"n_embd": [768, 1024], "n_layer": [12, 24], "rank": [8, 4]})
    found = evaluate_lora(form_of("gpt2"), frame, r="rank")
    assert list(found) == [12 * 8 * 4 * 768, 24 * 4 * 4 * 1024]
    assert list(evaluate_lora(form_of("gpt2"), frame.drop(columns="rank"), r=1, targets="mlp")) == [
        12 * 2 * 5 * 768, 24 * 2 * 5 * 1024,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="does not tell"):
        evaluate_lora(form_of("gpt2"), frame, r="rank", targets=["ln_1"])
