"""The pasted function says what the form says: the same total, or a ValueError where the form does not hold."""

from __future__ import annotations

import ast
import copy
import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcount.formulas import catalogue
from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form, Row
from hfcount.formulas.python_source import python_source

GPT2 = Form(
    model_type="gpt2",
    model_class="GPT2ForSequenceClassification",
    symbols={"V": "vocab_size", "d": "n_embd", "L": "n_layer", "num_labels": "num_labels", "K": "unused"},
    guards=("activation_function in ACTIVATIONS", "n_inner is None", "not (add_cross_attention)", "num_labels > 0"),
    defaults={"vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_inner": None, "activation_function": "gelu_new",
              "unused": 1, "never_read": 3},
    noticed=("n_ctx_old", "summary.old"),
    renamed={"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    rows=(
        Row(name="wte", module_class="Embedding", component="token_embedding", shape=("V", "d")),
        Row(name="h.*.mlp", module_class="Conv1D", component="mlp", shape=("d", "8*d + 5"), times="L"),
        Row(name="score", module_class="Linear", component="classifier", shape=("num_labels", "d")),
    ),
    verified=20,
    versions={"transformers": "5.23.0"},
)  # fmt: skip

HYBRID = Form(
    model_type="hybrid",
    model_class="HybridModel",
    symbols={
        "d": "text_config.hidden_size",
        "L": "text_config.num_hidden_layers",
        "L_full": "sum(1 for i in range(text_config.num_hidden_layers) "
        "if text_config.layer_types[i] == 'full_attention')",
        "n_1": "math.ceil(text_config.hidden_size/256)",
        "depths_0": "vision_config.depths[0]",
        "num_labels_vision": "vision_config.num_labels",
        "size": "size",
        "n_2": "extra if cell is None else 7",
    },
    guards=(
        "text_config.layer_types.count('full_attention') + text_config.layer_types.count('mamba') == L_all",
        "vision_config.tie_word_embeddings is ABSENT",
        "audio_config.hidden_size is ABSENT",
        "not (text_config.missing)",
        "head_dim is None or head_dim is ABSENT",
        "len(vision_config.depths) == 2",
    ),
    defaults={"text_config": {"hidden_size": 300, "layer_types": ["mamba", "full_attention"], "num_hidden_layers": 2},
              "vision_config": {"depths": [2, 6]}, "size": 5, "L_all": 2, "extra": 9},
    rows=(
        Row(name="in", module_class="Linear", component="attention", shape=("d", "n_1"), times="L_full"),
        Row(name="norm", module_class="Norm", component="norm", shape=("d",), times="L"),
        Row(name="patch", module_class="Conv2d", component="vision", shape=("depths_0", "size", "n_2")),
        Row(name="head", module_class="Linear", component="classifier", shape=("num_labels_vision",)),
    ),
)  # fmt: skip


@functools.cache
def catalogued() -> tuple[tuple[Form, dict[str, Any]], ...]:
    """Every packaged form, with fields at which it holds: those that it was traced from, else its defaults."""
    found = []
    for model_type in catalogue.model_types():
        for form in catalogue.forms(model_type):
            found.append((form, start_of(form)))
    return tuple(found)


def start_of(form: Form) -> dict[str, Any]:
    from hfcount.sources.cards import load_card

    example = form.example if isinstance(form.example, Mapping) else {"card": form.example}
    raw = dict(load_card(example["card"]).config) if example.get("card") else dict(example.get("config", {}))
    return {**raw, "model_type": form.model_type}


@functools.cache
def function_of(source: str) -> Callable[[dict[str, Any]], int]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names["parameters"]


def outcome(call: Callable[[], int]) -> int | str:
    try:
        return call()
    except ValueError:
        return "ValueError"


def total(form: Form, raw: Mapping[str, Any]) -> int:
    return sum(value.numel for value in form.evaluated(raw))


def assert_agree(form: Form, raw: dict[str, Any]) -> int | str:
    source = python_source(form)
    before = json.dumps(raw, default=repr)
    expected, found = outcome(lambda: total(form, raw)), outcome(lambda: function_of(source)(raw))
    assert found == expected, f"{form.model_class}: source {found}, form {expected}, at {raw}\n{source}"
    assert json.dumps(raw, default=repr) == before, "the function changed its argument"
    return found


def test_gpt2_by_hand() -> None:
    """V·d + L·(8d² + 5d) + 3d at the defaults with three labels."""
    config = {"id2label": {"0": "a", "1": "b", "2": "c"}}
    d = 768
    assert function_of(python_source(GPT2))(config) == 50257 * d + 12 * (8 * d * d + 5 * d) + 3 * d


def test_older_names_are_understood() -> None:
    run = function_of(python_source(GPT2))
    assert run({"hidden_size": 10, "num_hidden_layers": 1}) == run({"n_embd": 10, "n_layer": 1})
    assert run({"hidden_size": 12, "n_embd": 12}) == run({"n_embd": 12})
    with pytest.raises(ValueError, match="hidden_size and n_embd are the same"):
        run({"hidden_size": 10, "n_embd": 12})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"n_inner": 5}, "n_inner is None"),
        ({"add_cross_attention": True}, r"not \(add_cross_attention\)"),
        ({"activation_function": "swiglu"}, "activation_function in ACTIVATIONS"),
        ({"n_ctx_old": 1}, "n_ctx_old is not given"),
        ({"summary": {"old": 1}}, "summary.old is not given"),
        ({"n_layer": -1}, "-1 is no size"),
        ({"n_layer": None}, "sizes"),
        ({"unused": -1}, "0 <= unused < "),
    ],
)
def test_what_does_not_hold_is_named(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        function_of(python_source(GPT2))(config)
    with pytest.raises(ValueError, match=r"\w"):
        GPT2.evaluated(config)


def test_it_reads_as_a_person_writes_it() -> None:
    lines = [line.strip() for line in python_source(GPT2).splitlines()]
    assert lines[0] == "def parameters(config):"
    assert 'd = size(config["n_embd"])' in lines
    assert '"n_inner is None": lambda: config["n_inner"] is None,' in lines
    assert "V*d  # token embedding" in lines
    assert "+ L*(8*d**2 + 5*d)  # mlp" in lines
    assert not any("never_read" in line for line in lines)
    assert all(len(line) <= 119 for line in python_source(GPT2).splitlines())


def test_nothing_is_imported_but_math() -> None:
    assert not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(ast.parse(python_source(GPT2))))
    imports = [node for node in ast.walk(ast.parse(python_source(HYBRID))) if isinstance(node, ast.Import)]
    assert [alias.name for node in imports for alias in node.names] == ["math"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 300 * 2 * 1 + 300 * 2 + 2 * 5 * 7 + 2),  # cell is absent, which is not None: n_2 = 7
        ({"cell": None}, 300 * 2 * 1 + 300 * 2 + 2 * 5 * 9 + 2),
        ({"vision_config": {"depths": [3, 1], "id2label": {"0": "a"}}}, 300 * 2 * 1 + 300 * 2 + 3 * 5 * 7 + 1),
        ({"text_config": None, "audio_config": {}}, 300 * 2 * 1 + 300 * 2 + 2 * 5 * 7 + 2),
    ],
)
def test_nested_fields_lists_and_absence_by_hand(config: dict[str, Any], expected: int) -> None:
    config = {"audio_config": {}, **config}
    assert assert_agree(HYBRID, config) == expected


VALUES = st.one_of(
    st.integers(-3, 200), st.booleans(), st.none(), st.floats(-2, 50), st.sampled_from(["gelu", "silu", "x", "", "8"]),
    st.sampled_from([math.inf, -math.inf, math.nan, 10**30, 2**63]),
    st.lists(st.one_of(st.integers(0, 9), st.sampled_from(["mamba", "full_attention"])), max_size=3),
    st.dictionaries(st.sampled_from(["hidden_size", "0"]), st.integers(0, 9), max_size=2),
)  # fmt: skip


NESTED_ALIASES = [
    ("glm4v", "vision_config", {"depth": 3, "hidden_size": 96, "num_heads": 4, "intermediate_size": 64}),
    ("qwen2_5_vl", "vision_config", {"depth": 3, "hidden_size": 64, "num_heads": 4, "intermediate_size": 96}),
    ("idefics", "vision_config", {"num_hidden_layers": 3, "embed_dim": 64, "num_attention_heads": 4}),
    ("granite_speech", "encoder_config", {"num_layers": 2}),
]


@pytest.mark.pinned
@pytest.mark.parametrize(("model_type", "part", "sizes"), NESTED_ALIASES, ids=lambda each: str(each)[:14])
def test_other_names_inside_a_nested_config_are_read_as_the_class_reads_them(
    model_type: str, part: str, sizes: dict[str, int]
) -> None:
    """Each size of a nested config by its other name: what the real class builds."""
    from transformers import CONFIG_MAPPING

    from hfcount.classes import model_class_named
    from hfcount.skeleton import build_empty

    form = next(iter(catalogue.forms(model_type)))
    other = {name: alias for alias, name in CONFIG_MAPPING[model_type]().__dict__[part].attribute_map.items()}
    assert set(other) & set(sizes)
    renamed = {other.get(name, name): value for name, value in sizes.items()}
    raw = {**start_of(form), part: {**start_of(form).get(part, {}), **renamed}}
    for name in sizes:
        if other.get(name, name) != name:
            raw[part].pop(name, None)
    model_class = model_class_named(form.model_class)
    assert model_class is not None
    model = build_empty(model_class, CONFIG_MAPPING[model_type].from_dict(copy.deepcopy(raw)), where=model_type)
    assert assert_agree(form, raw) == sum(each.numel() for each in model.parameters())


def paths_of(form: Form) -> list[str]:
    """Fields to mutate: all that are read, by all their names, those that must not be there, and labels."""
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    parents = {path.rpartition(".")[0] for path in read} - {""}
    return sorted({*read, *form.noticed, *form.renamed, *form.renamed.values(), *parents, "id2label", "num_labels"})


def put(raw: dict[str, Any], path: str, value: Any) -> None:
    *scopes, last = path.split(".")
    for scope in scopes:
        if not isinstance(raw.get(scope), dict):
            raw[scope] = {}
        raw = raw[scope]
    raw[last] = value


def mutated(data: st.DataObject, form: Form, start: dict[str, Any]) -> dict[str, Any]:
    raw = copy.deepcopy(start)
    paths = paths_of(form)
    for path in data.draw(st.lists(st.sampled_from(paths), max_size=4, unique=True)):
        small = st.integers(1, 9) if data.draw(st.integers(0, 3)) else VALUES
        put(raw, path, data.draw(small))
    return raw


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_configs_agree_by_hand_made_forms(data: st.DataObject) -> None:
    form, start = data.draw(st.sampled_from([(GPT2, {}), (HYBRID, {"audio_config": {}})]))
    assert_agree(form, mutated(data, form, start))


def test_packaged_forms_agree_at_their_own_configs() -> None:
    """Nearly all have a value there: a source that always refuses would agree with nothing."""
    said = [isinstance(assert_agree(form, start), int) for form, start in catalogued()[::5]]
    assert sum(said) > 0.95 * len(said)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_configs_agree_with_packaged_forms(data: st.DataObject) -> None:
    forms = catalogued() or ((GPT2, {}),)
    form, start = forms[data.draw(st.integers(0, len(forms) - 1))]
    assert_agree(form, mutated(data, form, start))
