"""A form over a table of configs against the form config by config, and against models that are built."""

from __future__ import annotations

import copy
import random
from typing import Any

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
from hfcount.formulas.expressions import evaluate as worked_out
from hfcount.formulas.expressions import field_paths, namespace
from hfcount.formulas.form import Form
from hfcount.formulas.frames import evaluate, evaluate_components
from hfcount.formulas.paths import at, put, take_out
from hfcount.formulas.vectors import Columns, Ints, NotVectorised


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
    width = {"gpt2": "n_embd", "t5": "d_model", "gemma3": "text_config.intermediate_size",
             "mamba": "hidden_size"}  # fmt: skip
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


def varied(value: Any, chance: random.Random) -> Any:
    """A value of the same kind as a field's, or now and then of none."""
    if isinstance(value, bool):
        return chance.choice([True, False])
    if isinstance(value, int):
        return chance.choice([value, value, 2 * value, value + 1, value // 2, chance.randint(0, 12), None, -1])
    if isinstance(value, float):
        return chance.choice([value, 2 * value, value / 2, int(value)])
    if isinstance(value, list):
        return chance.choice([value, value, value[:-1], [varied(each, chance) for each in value]])
    if isinstance(value, str):
        return chance.choice([value, value, "gelu", None])
    return chance.choice([None, None, 16]) if value is None else value


def said_alone(form: Form, raw: dict[str, Any]) -> int | None:
    try:
        return sum(each.numel for each in form.evaluated(raw)) if form.covers(raw) else None
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError):
        return None


@pytest.mark.parametrize("model_type", catalogue.model_types()[::7])
def test_every_field_of_any_architecture(model_type: str) -> None:
    """Any columns, whole and not, missing cells and lists too: the table says what the form says of each config."""
    chance = random.Random(model_type)
    for form in catalogue.forms(model_type):
        raw = {key: value for key, value in example_of(form).items() if key != "id2label"}
        fields = form.fields(raw)
        read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
        leaves = sorted(path for path in read if not isinstance(at(fields, path), dict) and path != "id2label")
        chosen = [path for path in chance.sample(leaves, min(4, len(leaves))) if path not in form.noticed]
        data = {path: [varied(at(fields, path), chance) for _ in range(8)] for path in chosen}
        found = evaluate(form, pd.DataFrame(data), raw, errors="coerce")
        for place in range(len(found)):
            config = copy.deepcopy(raw)
            for path in chosen:
                for alias in (alias for alias, own in form.renamed.items() if own == path):
                    take_out(config, alias)
                put(config, path, copy.deepcopy(data[path][place]))
            said = None if pd.isna(found[place]) else int(found[place])
            assert said == said_alone(form, config), {path: data[path][place] for path in chosen}


@pytest.mark.parametrize(
    ("card", "frame"),
    [
        ("gpt2", {"n_embd": [24, 48, 96], "n_layer": [1, 3, 2], "vocab_size": [101, 7, 1000], "n_head": [2, 4, 1]}),
        ("llama-7b", {"hidden_size": [64, 128], "num_attention_heads": [4, 8], "num_key_value_heads": [4, 8],
                      "num_hidden_layers": [1, 3]}),
        ("mixtral-8x7b", {"hidden_size": [64, 128], "num_local_experts": [2, 5], "num_hidden_layers": [2, 1]}),
        ("t5-base", {"d_model": [48, 96], "num_layers": [1, 2], "d_ff": [10, 20]}),
        ("gemma-3-4b-pt", {"text_config.intermediate_size": [64, 100], "vision_config.num_hidden_layers": [1, 2]}),
    ],
)  # fmt: skip
def test_built_models_agree(card: str, frame: dict[str, list[int]]) -> None:
    table = pd.DataFrame(frame)
    found = hfcount.formula(card, fast=True).evaluate(table)
    for place, row in table.iterrows():
        built = count(f"card:{card}", settings={key: int(value) for key, value in row.items()}).sizes.total
        assert found[place] == built, f"{found[place]:,} by the table, {built:,} built: {found[place] - built:+,}"


EXPRESSIONS = (
    "a + b*3 - a//b", "a % b", "a and b", "a or b", "not a", "a if b else a//b", "a < b <= 3", "b > 0 < a//b",
    "a if a is None else b", "b is not None and a % b == 0", "b == 0 or a//b > 1", "min(a, b, 2)", "max(a, -b)",
    "abs(a - b)*int(b)", "k or a", "n is None or a % n == 0", "(a if n is None else n)*b", "a**2*b**3",
    "s == 'x' and a",
)  # fmt: skip


@given(
    a=st.lists(st.integers(-9, 9), min_size=1, max_size=8), b=st.lists(st.integers(-9, 9), min_size=8, max_size=8),
    text=st.sampled_from(EXPRESSIONS), scale=st.sampled_from([1, 2**33, 10**20]),
)  # fmt: skip
def test_columns_mean_what_python_means(a: list[int], b: list[int], text: str, scale: int) -> None:
    others = {"k": 0, "n": None, "s": "x"}
    a = [each * scale for each in a]
    b = b[: len(a)]
    columns = Columns({"a": Ints.of(np.array(a)), "b": Ints.of(np.array(b))}, namespace(others))
    found = columns.vectorised(text)
    for place, (one, other) in enumerate(zip(a, b, strict=True)):
        value, bad = (np.broadcast_to(np.asarray(each), len(a))[place] for each in (found.values, found.bad))
        try:
            expected = worked_out(text, namespace({**others, "a": one, "b": other}))
        except ZeroDivisionError:
            assert bad
        else:
            assert not bad
            assert value == expected


@pytest.mark.parametrize("text", ["a/2", "n*a", "sum(1 for i in range(a))", "s*a", "a in (1, 2)", "a == s", "n > a"])
def test_what_is_no_arithmetic_of_columns(text: str) -> None:
    with pytest.raises(NotVectorised):
        Columns({"a": Ints.of(np.array([1]))}, namespace({"n": None, "s": "x"})).vectorised(text)


def test_components_add_up_and_have_the_models_names() -> None:
    frame = pd.DataFrame({"num_hidden_layers": [1, 32]}, index=["small", "7B"])
    found = evaluate_components(form_of("llama"), frame)
    assert found.loc["7B", "total"] == 6738415616
    assert (found.drop(columns="total").sum(axis=1) == found["total"]).all()
    assert found.loc["7B", "norm"] == (2 * 32 + 1) * 4096


def test_what_64_bits_do_not_hold_stays_exact() -> None:
    frame = pd.DataFrame({"n_embd": [10**9, 768], "n_layer": [10**6, 12], "n_head": [10, 12]})
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


def test_lists_are_fields_too() -> None:
    form = form_of("swin")
    depths = [[2, 2, 6, 2], [1, 1, 1, 1], [2, 2, 6, 2]]
    found = evaluate(form, pd.DataFrame({"depths": depths}))
    assert list(found) == [said_alone(form, {"model_type": "swin", "depths": each}) for each in depths]
    assert found[0] > found[1]


def test_missing_cells_are_null_and_leave_whole_numbers_whole() -> None:
    """pandas makes floats of whole numbers where one is missing; Llama's head_dim is then hidden_size // heads."""
    frame = pd.DataFrame({"head_dim": [128, None, 64], "num_hidden_layers": pd.array([32, 32, 16], dtype="Int64")})
    found = evaluate(form_of("llama"), frame, errors="coerce")
    for place, config in enumerate([{"head_dim": 128}, {}, {"head_dim": 64, "num_hidden_layers": 16}]):
        assert (None if pd.isna(found[place]) else found[place]) == said_alone(form_of("llama"), config)
    missing = evaluate(form_of("gpt2"), pd.DataFrame({"n_embd": [768, None]}), errors="coerce")
    assert missing[0] == 124439808
    assert missing.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("frame", "raw", "says"),
    [
        ({"vocab_size": [50257, 50257.5]}, {}, "row 1: .*vocab_size is int"),
        ({"vocab_size": ["50257"]}, {}, "row 0: .*vocab_size is int"),
        ({"tie_word_embeddings": [True, 1]}, {}, "row 1: .*tie_word_embeddings is bool"),
        ({"n_embd": [768, 770]}, {}, r"row 1: .*n_embd % n_head == 0"),
        ({"n_layer": [3, -1]}, {}, r"row 1: .*\(n_layer\) >= 0"),
        ({"model_type": ["gpt2", "llama"]}, {}, "row 1: .*model_type is gpt2"),
        ({"n_layer": [3]}, {"n_embd": 12, "hidden_size": 24}, "hidden_size and n_embd are the same"),
    ],
)  # fmt: skip
def test_what_is_no_config_of_the_form(frame: dict[str, Any], raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        evaluate(form_of("gpt2"), pd.DataFrame(frame), {"model_type": "gpt2", **raw})
    found = evaluate(form_of("gpt2"), pd.DataFrame(frame), {"model_type": "gpt2", **raw}, errors="coerce")
    assert pd.isna(found.iloc[-1])


def test_a_field_given_by_a_column_is_not_asked_of_the_config() -> None:
    raw = {"model_type": "gpt2", "n_embd": 12, "hidden_size": 24}
    assert evaluate(form_of("gpt2"), pd.DataFrame({"n_embd": [768]}), raw)[0] == 124439808


def test_labels_are_counted_by_their_names() -> None:
    form = next(each for each in catalogue.forms("bert") if each.model_class == "BertForSequenceClassification")
    found = evaluate(form, pd.DataFrame({"num_labels": [2, 5]}))
    assert found[1] - found[0] == 3 * (768 + 1)
    with pytest.raises(BadInput, match="id2label"):
        evaluate(form, pd.DataFrame({"num_labels": [2]}), {"model_type": "bert", "id2label": {"0": "a"}})


def test_other_names_of_fields() -> None:
    form = form_of("gpt2")
    frame = pd.DataFrame({"hidden_size": [1600], "num_hidden_layers": [48], "num_attention_heads": [25]})
    assert evaluate(form, frame)[0] == 1557611200
    with pytest.raises(BadInput, match="given twice"):
        evaluate(form, frame.assign(n_embd=3))


def test_a_column_that_is_no_field_is_refused() -> None:
    with pytest.raises(BadInput, match="no_such_field is no field of GPT2LMHeadModel"):
        evaluate(form_of("gpt2"), pd.DataFrame({"no_such_field": [1]}))


def test_an_absurd_depth_takes_no_minutes() -> None:
    """Jamba's layers are counted by going through their numbers."""
    frame = pd.DataFrame({"num_hidden_layers": [32, 10**15]})
    found = evaluate(form_of("jamba"), frame, errors="coerce")
    assert found.isna().tolist() == [False, True]


def test_an_empty_table_gives_an_empty_column() -> None:
    assert len(evaluate(form_of("gpt2"), pd.DataFrame({"n_embd": np.array([], dtype=int)}))) == 0


def test_lora_by_rank_and_size() -> None:
    """Hu et al. 2021: r·(in + out) for each matrix; GPT-2's c_attn is d x 3d."""
    frame = pd.DataFrame({"n_embd": [768, 1024], "n_layer": [12, 24], "n_head": [12, 16], "rank": [8, 4]})
    found = evaluate_lora(form_of("gpt2"), frame, r="rank")
    assert list(found) == [12 * 8 * 4 * 768, 24 * 4 * 4 * 1024]
    assert list(evaluate_lora(form_of("gpt2"), frame.drop(columns="rank"), r=1, targets="mlp")) == [
        12 * 2 * 5 * 768, 24 * 2 * 5 * 1024,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="does not tell"):
        evaluate_lora(form_of("gpt2"), frame, r="rank", targets=["ln_1"])
    assert evaluate_lora(form_of("gpt2"), frame.assign(n_layer=[0, 1]), r="rank", errors="coerce").isna()[0]
    for ranks in ([0], [8.5], [None]):
        with pytest.raises(BadInput, match="a rank is a whole number"):
            evaluate_lora(form_of("gpt2"), pd.DataFrame({"rank": ranks}), r="rank")
    with pytest.raises(BadInput, match="no column 'r'"):
        evaluate_lora(form_of("gpt2"), frame)
