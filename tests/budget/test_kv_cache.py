"""The key-value cache in closed form against what a real model's cache holds after a real forward pass."""

from __future__ import annotations

from typing import Any

import pytest

from hfcount.budget.kv_cache import kv_cache_bytes

SMALL = {"hidden_size": 32, "num_attention_heads": 4, "vocab_size": 64, "num_hidden_layers": 2}
GROUPED = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}
LATENT = {
    **SMALL, "intermediate_size": 48, "moe_intermediate_size": 16, "num_key_value_heads": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "kv_lora_rank": 16,
    "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12,
}  # fmt: skip

CASES = {
    "gpt2": ("GPT2", {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": 64}),
    "llama": ("Llama", GROUPED),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 16}),
    "mistral, window of 8": ("Mistral", {**GROUPED, "sliding_window": 8}),
    "gemma2, every other layer slides": ("Gemma2", {**GROUPED, "head_dim": 16, "sliding_window": 8}),
    "mixtral": ("Mixtral", {**GROUPED, "num_local_experts": 2}),
    "deepseek_v3": ("DeepseekV3", LATENT),
    "deepseek_v2": ("DeepseekV2", LATENT),
    "falcon, one key-value head": ("Falcon", {**SMALL, "multi_query": True, "new_decoder_architecture": False}),
    "bloom": ("Bloom", {"hidden_size": 32, "n_head": 4, "n_layer": 2, "vocab_size": 64}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cache_of_a_real_forward_pass(case: str) -> None:
    import torch
    import transformers

    name, fields = CASES[case]
    config: Any = getattr(transformers, f"{name}Config")(**fields)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.randint(0, 64, (3, 20))
    with torch.no_grad():
        cache = model(input_ids=ids, use_cache=True).past_key_values
    held = sum(tensor.numel() * 4 for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert kv_cache_bytes(config, batch=3, seq=20, width=4) == held


def test_a_state_of_another_kind_has_no_form_here() -> None:
    from transformers import MambaConfig

    assert kv_cache_bytes(MambaConfig(), batch=1, seq=10, width=2) is None


def test_llama_65b_by_hand() -> None:
    """2·L·s·h·d_h·2 bytes: 2·80·2,048·64·128·2 = 5 GiB."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=64, head_dim=128
    )
    assert kv_cache_bytes(config, batch=1, seq=2048, width=2) == 5 * 2**30
