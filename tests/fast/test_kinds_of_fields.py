"""A field of another kind than the class's default is taken where the form was traced with it, and only there."""

from __future__ import annotations

import dataclasses

import pytest

from hfcount.api import count_source
from hfcount.fast import NotCovered, fast_count
from hfcount.sources.cards import load_card
from hfcount.sources.source import Source

VARIANTS = {
    "null, as a guard asks for": ("Qwen/Qwen3-0.6B", {"num_hidden_layers": 5, "vocab_size": 4000}),
    "a list, as a guard asks for": ("openai/gpt-oss-20b", {"vocab_size": 201_096}),
    "an empty list": ("Qwen/Qwen3-30B-A3B", {"num_hidden_layers": 5}),
    "a number, as in the config traced": ("state-spaces/mamba-130m-hf", {"time_step_rank": 40}),
}


def varied(model: str, changes: dict[str, object]) -> Source:
    card = load_card(model)
    return dataclasses.replace(card, config={**card.config, **changes})


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_same_as_the_class_itself(variant: tuple[str, dict[str, object]]) -> None:
    source = varied(*variant)
    fast, built = fast_count(source), count_source(source)
    assert fast.sizes == built.sizes
    assert [(each.name, each.parameters) for each in fast.conventions] == [
        (each.name, each.parameters) for each in built.conventions
    ]


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("Qwen/Qwen3-30B-A3B", {"mlp_only_layers": [1]}),
        ("openai/gpt-oss-20b", {"layer_types": ["full_attention", "sliding_attention"] * 12}),
        ("state-spaces/mamba-130m-hf", {"time_step_rank": True}),
        ("state-spaces/mamba-130m-hf", {"time_step_rank": 48.0}),
    ],
)
def test_what_no_form_was_traced_with(model: str, changes: dict[str, object]) -> None:
    with pytest.raises(NotCovered):
        fast_count(varied(model, changes))
