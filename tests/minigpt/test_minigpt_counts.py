"""Mini-GPT's parameters against counts made by hand and against the models of others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from minigpt_models import distinct_parameters
from transformers import AutoModelForCausalLM, NanoChatConfig

from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM

LAB02: dict[str, Any] = {"vocab_size": 64, "norm": "layernorm", "mlp_bias": True}
NANOCHAT: dict[str, Any] = {
    "vocab_size": 65536, "norm": "rmsnorm-no-weight", "hidden_act": "relu2", "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
}  # fmt: skip

# Each sum is the derivation on paper: embedding + layers x (attention + MLP + norms) + final norm.
BY_HAND = [
    ({}, 512 * 64 + 2 * (4 * 64**2 + 2 * 64 * 256 + 2 * 64) + 64, 131_392),
    ({"hidden_size": 32}, 512 * 32 + 2 * (4 * 32**2 + 2 * 32 * 128 + 2 * 32) + 32, 41_120),
    (LAB02, 64 * 64 + 2 * (16_384 + 32_768 + 256 + 64 + 4 * 64) + 2 * 64, 103_680),
    (
        {**LAB02, "hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512},
        64 * 128 + 4 * (65_536 + 131_072 + 512 + 128 + 4 * 128) + 2 * 128,
        799_488,
    ),
    (
        {**LAB02, "hidden_size": 256, "num_hidden_layers": 6, "intermediate_size": 1024},
        64 * 256 + 6 * (262_144 + 524_288 + 1024 + 256 + 4 * 256) + 2 * 256,
        4_749_312,
    ),
    (  # microgpt: 27 characters, both tables and the head apart, norms without a gain
        {
            "vocab_size": 27, "hidden_size": 16, "num_hidden_layers": 1, "max_position_embeddings": 8,
            "position_embedding": "learned", "norm": "rmsnorm-no-weight", "hidden_act": "relu",
            "tie_word_embeddings": False,
        },
        2 * 27 * 16 + 8 * 16 + 12 * 16**2,
        4_064,
    ),
    (  # nanochat d20, as its author prints it: 560,988,160
        {**NANOCHAT, "hidden_size": 1280, "num_hidden_layers": 20, "num_attention_heads": 10},
        2 * 65536 * 1280 + 20 * 12 * 1280**2,
        560_988_160,
    ),
]  # fmt: skip


def count(**fields: Any) -> int:
    """Distinct parameters of the model of those fields, built without memory and tied."""
    with torch.device("meta"):
        model = MiniGPTForCausalLM(MiniGPTConfig(**fields))
    model.tie_weights()
    return distinct_parameters(model)


@pytest.mark.parametrize(("fields", "derived", "published"), BY_HAND)
def test_counts_by_hand(fields: dict[str, Any], derived: int, published: int) -> None:
    counted = count(**fields)
    assert counted == derived == published, f"counted {counted:,}, published {published:,}: {counted - published:+,}"


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"position_embedding": "learned"}, 32 * 64),
        ({"position_embedding": "sinusoidal"}, 0),
        ({"position_embedding": "none"}, 0),
        ({"mlp_bias": True}, 2 * 320),
        ({"attention_bias": True}, 2 * 192),
        ({"attention_output_bias": True}, 2 * 64),
        ({"attention_bias": True, "attention_output_bias": True}, 2 * 256),
        ({"tie_word_embeddings": False}, 32_768),
        ({"norm": "layernorm"}, 5 * 64),
        ({"norm": "rmsnorm-no-weight"}, -5 * 64),
        ({"final_norm": False}, -64),
        ({"gated_mlp": True}, 2 * 64 * 256),
        ({"gated_mlp": True, "mlp_bias": True}, 2 * (64 * 256 + 256 + 256 + 64)),
        ({"num_key_value_heads": 1}, -2 * 2 * 64 * 48),
        ({"num_key_value_heads": 2}, -2 * 2 * 64 * 32),
    ],
)
def test_what_a_choice_adds(change: dict[str, Any], more: int) -> None:
    added = count(**change) - 131_392
    assert added == more, f"{change}: {added:+,} parameters, by hand {more:+,}: {added - more:+,}"


@pytest.mark.parametrize("depth", [4, 8, 20])
def test_nanochat_counts_as_the_class_of_transformers(depth: int) -> None:
    shape: dict[str, Any] = {
        "hidden_size": 64 * depth, "num_hidden_layers": depth, "num_attention_heads": max(1, depth // 2),
        "intermediate_size": 256 * depth,
    }  # fmt: skip
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(NanoChatConfig(vocab_size=65536, **shape))
    assert count(**NANOCHAT, **shape) == distinct_parameters(theirs)


@st.composite
def drawn_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of any small Mini-GPT that can be built."""
    key_value_heads, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    heads = key_value_heads * groups
    return {
        "vocab_size": draw(st.integers(1, 60)),
        "hidden_size": heads * 2 * draw(st.integers(1, 4)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "intermediate_size": draw(st.one_of(st.none(), st.integers(1, 50))),
        "max_position_embeddings": draw(st.integers(5, 40)),
        "position_embedding": draw(st.sampled_from(["rope", "learned", "sinusoidal", "none"])),
        "norm": draw(st.sampled_from(["layernorm", "rmsnorm", "rmsnorm-no-weight"])),
        "hidden_act": draw(st.sampled_from(["gelu", "relu", "relu2", "silu"])),
        **{
            name: draw(st.booleans())
            for name in (
                "final_norm", "gated_mlp", "attention_bias", "attention_output_bias", "mlp_bias", "tie_word_embeddings"
            )
        },
    }  # fmt: skip


def by_hand(c: dict[str, Any]) -> int:
    """The count on paper, from the fields alone: each matrix, then its bias."""
    d, f = c["hidden_size"], c["intermediate_size"] or 4 * c["hidden_size"]
    kv = d // c["num_attention_heads"] * c["num_key_value_heads"]
    into_mlp = 2 if c["gated_mlp"] else 1
    norm = {"layernorm": 2 * d, "rmsnorm": d, "rmsnorm-no-weight": 0}[c["norm"]]
    layer = d * d + 2 * d * kv + d * d + into_mlp * d * f + f * d + 2 * norm
    layer += c["attention_bias"] * (d + 2 * kv) + c["attention_output_bias"] * d
    layer += c["mlp_bias"] * (into_mlp * f + d)
    tables = c["vocab_size"] * d * (1 if c["tie_word_embeddings"] else 2)
    tables += c["max_position_embeddings"] * d * (c["position_embedding"] == "learned")
    return tables + c["num_hidden_layers"] * layer + c["final_norm"] * norm


@settings(max_examples=60, deadline=None)
@given(fields=drawn_fields())
def test_any_config_counts_as_by_hand_ties_and_runs(fields: dict[str, Any]) -> None:
    model = MiniGPTForCausalLM(MiniGPTConfig(**fields)).eval()
    counted, expected = distinct_parameters(model), by_hand(fields)
    assert counted == expected, f"counted {counted:,}, by hand {expected:,}: {counted - expected:+,}"
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == fields["tie_word_embeddings"]
    logits = model(torch.zeros(2, 5, dtype=torch.long)).logits
    assert logits.shape == (2, 5, fields["vocab_size"])
    assert torch.isfinite(logits).all()
