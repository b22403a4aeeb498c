"""The closed forms equal the count of the real classes for configs drawn at random, in every family."""

from __future__ import annotations

from typing import Any

import pytest
from family_witness import config_class
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_families import assert_form_is_count

from hfcount.formulas.registry import FAMILIES

SMALL = st.integers(1, 40)
BOOL = st.booleans()


@st.composite
def plain(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes that every family takes, with heads that divide the width; head sizes are even, for rotary positions."""
    heads = draw(st.integers(1, 6))
    return {
        "vocab_size": draw(st.integers(1, 300)),
        "hidden_size": heads * 2 * draw(st.integers(1, 5)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 4)),
        "tie_word_embeddings": draw(BOOL),
        "pad_token_id": None,
    }


@st.composite
def grouped(draw: st.DrawFn) -> dict[str, Any]:
    """The same with key-value heads that divide the query heads."""
    fields = draw(plain())
    heads = fields["num_attention_heads"]
    divisors = [k for k in range(1, heads + 1) if heads % k == 0]
    return {**fields, "num_key_value_heads": draw(st.sampled_from(divisors)), "intermediate_size": draw(SMALL)}


Fields = st.SearchStrategy[dict[str, Any]]


def renamed(names: dict[str, str], fields: Fields) -> Fields:
    return fields.map(lambda drawn: {names.get(key, key): value for key, value in drawn.items()})


def extended(
    base: st.SearchStrategy[dict[str, Any]], **extra: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(base, st.fixed_dictionaries(extra)).map(lambda pair: {**pair[0], **pair[1]})


GPT_NAMES = {"hidden_size": "n_embd", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}
BLOOM_NAMES = {"num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}
T5_NAMES = {"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
EVEN = st.integers(1, 8).map(lambda half: 2 * half)
MAYBE_EVEN = st.none() | EVEN

CONFIGS: dict[str, Fields] = {
    "openai-gpt": extended(renamed(GPT_NAMES, plain()), n_positions=SMALL),
    "gpt2": extended(renamed(GPT_NAMES, plain()), n_positions=SMALL, n_inner=st.none() | SMALL),
    "gpt_neox": extended(plain(), intermediate_size=SMALL, attention_bias=BOOL),
    "opt": extended(
        plain(), max_position_embeddings=SMALL, ffn_dim=SMALL, word_embed_proj_dim=st.none() | SMALL,
        do_layer_norm_before=BOOL, _remove_final_layer_norm=BOOL, enable_bias=BOOL, layer_norm_elementwise_affine=BOOL,
    ),
    "bloom": renamed(BLOOM_NAMES, plain()),
    "llama": extended(grouped(), head_dim=MAYBE_EVEN, attention_bias=BOOL, mlp_bias=BOOL),
    "mistral": extended(grouped(), head_dim=MAYBE_EVEN),
    "qwen2": grouped(),
    "qwen3": extended(grouped(), head_dim=EVEN, attention_bias=BOOL),
    "gemma": extended(grouped(), head_dim=EVEN, attention_bias=BOOL),
    "gemma2": extended(grouped(), head_dim=EVEN, attention_bias=BOOL),
    "olmo": extended(grouped(), attention_bias=BOOL),
    "olmo2": extended(grouped(), attention_bias=BOOL),
    "mixtral": extended(grouped(), head_dim=MAYBE_EVEN, num_local_experts=st.integers(1, 5)),
    "deepseek_v3": extended(
        plain(), num_key_value_heads=st.none(), intermediate_size=SMALL, moe_intermediate_size=SMALL,
        n_shared_experts=st.integers(0, 3), n_routed_experts=st.integers(1, 6), q_lora_rank=st.none() | SMALL,
        kv_lora_rank=SMALL, qk_rope_head_dim=EVEN, qk_nope_head_dim=SMALL, v_head_dim=SMALL,
        first_k_dense_replace=st.integers(0, 5), attention_bias=BOOL,
    ),
    "bert": extended(
        plain(), max_position_embeddings=SMALL, type_vocab_size=st.integers(1, 4), intermediate_size=SMALL,
        num_labels=st.integers(1, 9),
    ),
    "t5": extended(
        renamed(T5_NAMES, plain()), d_kv=SMALL, d_ff=SMALL, num_decoder_layers=st.none() | st.integers(1, 4),
        relative_attention_num_buckets=st.sampled_from([8, 10, 32]),
        feed_forward_proj=st.sampled_from(["relu", "gated-gelu"]), pad_token_id=st.just(0),
    ),
    "vit": extended(
        plain(), intermediate_size=SMALL, image_size=st.integers(16, 40) | st.just([24, 24]),
        patch_size=st.integers(3, 8), num_channels=st.integers(1, 4), num_labels=st.integers(0, 9), qkv_bias=BOOL,
        pooler_output_size=st.none() | SMALL,
    ),
    "nanochat": extended(grouped(), attention_bias=BOOL),
    "minigpt": extended(
        grouped(), max_position_embeddings=SMALL,
        position_embedding=st.sampled_from(["rope", "learned", "sinusoidal", "none"]),
        norm=st.sampled_from(["layernorm", "rmsnorm", "rmsnorm-no-weight"]), final_norm=BOOL, gated_mlp=BOOL,
        attention_bias=BOOL, attention_output_bias=BOOL, mlp_bias=BOOL,
    ),
}  # fmt: skip


def test_every_family_is_drawn() -> None:
    assert set(CONFIGS) == set(FAMILIES)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("model_type", CONFIGS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_form_is_count(model_type: str, data: st.DataObject) -> None:
    fields = data.draw(CONFIGS[model_type])
    model_class = data.draw(st.sampled_from(sorted(FAMILIES[model_type].heads)))
    assert_form_is_count(config_class(model_type)(**fields), model_class)
