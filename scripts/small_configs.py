"""Small configs of any model type: its defaults with few layers, small widths and a small vocabulary.

They are made by the names of fields alone and need not fit each other; where a class refuses them, or its forward
does, its default config is taken instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MINIMAL = ROOT / "scripts" / "facts" / "minimal_configs.json"
VOCABULARY, SPECIAL, PIXELS = 128, 8, 224

_HEADS = r"(num_attention_heads|n_head|n_heads|num_heads|encoder_attention_heads|decoder_attention_heads)"
_LAYERS = r"(num_hidden|n|num|(num_)?(encoder|decoder)|vision|num_block)_layers|n_layer|depth"
_DEPTH = ((_LAYERS, 2),)
_MOST: tuple[tuple[str, int], ...] = (
    *_DEPTH,
    (r".*vocab_size", VOCABULARY),
    (r"hidden_size|d_model|n_embd|embed_dim|encoder_hidden_size|emb_dim|embedding_size|width|dim|projection_dim", 64),
    (r"out_hidden_size|d_embed|text_embed_dim", 64),
    (r"d_ff|n_inner|ffn_dim|(encoder|decoder)_ffn_dim|ffn_hidden_size|.*intermediate_size", 96),
    (_HEADS, 4),
    (r"head_dim|d_kv|global_head_dim|rotary_dim", 16),
    (r"num_experts|num_local_experts|n_routed_experts|moe_num_experts", 4),
    (r"num_experts_per_tok|moe_top_k|top_k_experts|moe_k", 2),
    (r"image_size", 64),
    (r"mm_tokens_per_image", 4),
    (r"max_position_embeddings|n_positions|max_source_positions|max_target_positions|n_ctx", 512),
)
_KEY_HEADS = re.compile(r"num_kv_heads|kv_n_heads|.*num_key_value_heads")

_LIKE_PUBLISHED: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"vision_config": {"hidden_size": 8192}},
    "qwen2_5_vl": {"vision_config": {"out_hidden_size": 8192}},
    "llava_next": {"text_config": {"model_type": "llama", "vocab_size": 32064}},
    "llava_next_video": {"text_config": {"model_type": "llama", "vocab_size": 32064}},
    "vipllava": {"text_config": {"model_type": "llama", "vocab_size": 32064}},
    "wav2vec2-bert": {"vocab_size": 32},
    "blip-2": {"image_token_id": 50265, "text_config": {"model_type": "opt", "vocab_size": 50304}},
    "instructblip": {"image_token_id": 50265, "text_config": {"model_type": "opt", "vocab_size": 50304}},
}
"""Where the parts of a default config do not fit each other: what published configs of the type say."""

_CHANCE = re.compile(r"(.*_)?layerdrop|mask_(time|feature)_prob")
"""What makes one step differ from the next: layers left out, frames masked."""


def raw_config(model_type: str, model_class: str) -> dict[str, Any]:
    """The least that says which class is meant, with the fields that it needs besides its defaults.

    What a decoder begins with and what rows are filled up with is in every published config and in few defaults.
    """
    entries = json.loads(MINIMAL.read_text()).get(model_type, ())
    fields = next((each["fields"] or {} for each in entries if each["model_class"] in (None, model_class)), {})
    fields = {**_LIKE_PUBLISHED.get(model_type, {}), **fields}
    return {
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        **fields,
        "model_type": model_type,
        "architectures": [model_class],
    }


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with no size larger than the table above lets it be; ids of special tokens stay in the vocabulary."""
    return _at_most(config, _small_value)


def shallow(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with few layers, and else as it is."""
    return _at_most(config, lambda name, value, _: _at_most_of(_DEPTH, name, value))


def _at_most(config: Mapping[str, Any], shrink: Callable[[str, Any, Mapping[str, Any]], Any]) -> dict[str, Any]:
    found = {
        name: _at_most(value, shrink) if isinstance(value, Mapping) else shrink(str(name), value, config)
        for name, value in config.items()
    }
    depth = config.get("num_hidden_layers")
    for name, value in found.items():  # what is said of each layer
        if isinstance(value, list) and isinstance(depth, int) and len(value) == depth:
            found[name] = value[: found["num_hidden_layers"]]
    return found


def _small_value(name: str, value: Any, config: Mapping[str, Any]) -> Any:
    if _CHANCE.fullmatch(name):
        return 0.0
    if name == "mrope_section" and isinstance(value, list):
        return [2, 3, 3]  # halves of a head's 16
    if name == "image_size" and isinstance(value, (list, tuple)):
        return [min(each, PIXELS) for each in value]
    if not _is_size(value):
        return value
    if name.endswith(("token_id", "token_index")) and value >= VOCABULARY:
        return VOCABULARY - SPECIAL + value % SPECIAL
    if name == "head_dim" and "qk_rope_head_dim" in config:  # says the same twice
        return value
    if _KEY_HEADS.fullmatch(name):
        return 4 if value == config.get("num_attention_heads") else min(value, 2)
    return _at_most_of(_MOST, name, value)


def _at_most_of(most: tuple[tuple[str, int], ...], name: str, value: Any) -> Any:
    if not _is_size(value):
        return value
    return next((min(value, limit) for names, limit in most if re.fullmatch(names, name)), value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
