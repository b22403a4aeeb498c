"""The key-value cache of a generating decoder, in closed form by kind of layer.

Each layer keeps a key and a value of d_h numbers for every key-value head and token (transformers/cache_utils.py):
2·b·s·k·d_h·bytes. A layer with a sliding window of w keeps at most w - 1 tokens beside the one that it works on.
Multi-head latent attention (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1) keeps what keys and values are made from,
kv_lora_rank + qk_rope_head_dim numbers a token, as transformers 5.23 does; 5.10 cached the keys and
values of all heads.
"""

from __future__ import annotations

from typing import Any

_NO_CACHE = ("mamba", "linear_attention", "ssm", "conv", "recurrent")


def kv_cache_bytes(config: Any, *, batch: int, seq: int, width: int) -> int | None:
    """Bytes of the cache for `batch` rows of `seq` tokens in elements of `width` bytes; None where a layer keeps a
    state of another kind, for which there is no form here."""
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    heads = _integer(text, "num_attention_heads", "n_head", "n_heads", "num_heads")
    hidden = _integer(text, "hidden_size", "n_embd", "d_model")
    depth = _integer(text, "num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers", "n_layers")
    if not heads or not hidden or not depth:
        return None
    key = value = _integer(text, "head_dim", "d_kv") or hidden // heads
    groups = _groups(text, heads)
    latent, rope = _integer(text, "kv_lora_rank"), _integer(text, "qk_rope_head_dim")
    if latent and rope:
        key, value, groups = latent, rope, 1
    total = 0
    for kind in _kinds(text, depth):
        if any(each in kind for each in _NO_CACHE):
            return None
        tokens = min(seq, max(1, _window(text) - 1)) if kind == "sliding_attention" and _window(text) else seq
        total += batch * tokens * groups * (key + value) * width
    return total


def _groups(text: Any, heads: int) -> int:
    if getattr(text, "multi_query", False) and not getattr(text, "new_decoder_architecture", False):
        return 1
    return _integer(text, "num_key_value_heads", "num_kv_heads") or heads


def _kinds(text: Any, depth: int) -> list[str]:
    kinds = getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None)
    if isinstance(kinds, (list, tuple)) and len(kinds) == depth:
        return [str(each) for each in kinds]
    sliding = bool(_window(text)) and getattr(text, "use_sliding_window", True)
    return ["sliding_attention" if sliding else "full_attention"] * depth


def _window(text: Any) -> int:
    return _integer(text, "sliding_window") or 0


def _integer(config: Any, *names: str) -> int | None:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
