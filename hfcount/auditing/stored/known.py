"""What files hold beside the parameters of today's classes, and why: a closed list, each with its source."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hfcount.auditing.stored.loading import fits_patterns

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OldBuffer:
    """A buffer that older classes stored and today's do not: the end of its name, and what shapes it can have."""

    pattern: str
    fits: Callable[[Shape], bool]
    what: str
    source: str


def _mask(shape: Shape) -> bool:
    return len(shape) >= 2 and shape[-1] == shape[-2] and math.prod(shape[:-2]) == 1


def _scalar(shape: Shape) -> bool:
    return math.prod(shape) == 1


def _frequencies(shape: Shape) -> bool:
    """One for each pair of a head's dimensions; no published head has more than 1,024."""
    return len(shape) == 1 and shape[0] <= 512


def _row(shape: Shape) -> bool:
    return len(shape) in (1, 2) and math.prod(shape[:-1]) == 1


def _table(shape: Shape) -> bool:
    """Positions by the dimensions of a head, (1, 1, T, d_h) or (T, d_h)."""
    return len(shape) >= 2 and math.prod(shape[:-2]) == 1 and shape[-1] <= 1024


OLD_BUFFERS: tuple[OldBuffer, ...] = (
    OldBuffer(
        pattern=r"(^|\.)(attn|attention|crossattention)\.bias$",
        fits=_mask,
        what="a causal mask, T x T in every layer",
        source="transformers up to 4.30, GPT2Attention.register_buffer('bias', ...); GPT-Neo, GPT-J, GPT-NeoX alike; "
        "ignored on load since (`_keys_to_ignore_on_load_unexpected` of GPT2Model and GPTNeoXModel)",
    ),
    OldBuffer(
        pattern=r"(^|\.)(attn|attention|crossattention)\.masked_bias$",
        fits=_scalar,
        what="the value that masks",
        source="transformers up to 4.30, GPT2Attention.register_buffer('masked_bias', torch.tensor(-1e4))",
    ),
    OldBuffer(
        pattern=r"(^|\.)attn\.causal_mask$",
        fits=_mask,
        what="a causal mask, T x T in every layer",
        source="transformers, CodeGenAttention.register_buffer('causal_mask', ...)",
    ),
    OldBuffer(
        pattern=r"(^|\.)(rotary_emb|rotary_pos_emb|rotary_embedding)\.(original_)?inv_freq$",
        fits=_frequencies,
        what="frequencies of the rotary embedding",
        source="transformers up to 4.31, LlamaRotaryEmbedding.register_buffer('inv_freq', ...) in every layer",
    ),
    OldBuffer(
        pattern=r"(^|\.)rotary_emb\.(cos|sin)_cached$",
        fits=_table,
        what="a table of the rotary embedding",
        source="transformers up to 4.28, LlamaRotaryEmbedding.register_buffer('cos_cached', ...)",
    ),
    OldBuffer(
        pattern=r"(^|\.)(position_ids|token_type_ids)$",
        fits=_row,
        what="0, 1, 2, ... for the positions",
        source="transformers up to 4.30, BertEmbeddings.register_buffer('position_ids', ...); CLIP, ViLT alike",
    ),
    OldBuffer(
        pattern=r"(^|\.)relative_position_index$",
        fits=lambda shape: len(shape) == 2 and shape[0] == shape[1],
        what="which bias each pair of places in a window takes",
        source="BEiT and Swin; ignored on load by BeitForImageClassification's `_keys_to_ignore_on_load_unexpected`",
    ),
    OldBuffer(
        pattern=r"(^|\.)(encoder|decoder)\.version$",
        fits=lambda shape: math.prod(shape) <= 3,
        what="the version of a fairseq module",
        source="BartPreTrainedModel._keys_to_ignore_on_load_unexpected",
    ),
    OldBuffer(
        pattern=r"(^|\.)embed_positions\._float_tensor$",
        fits=_scalar,
        what="the dtype of a sinusoidal table",
        source="fairseq, SinusoidalPositionalEmbedding.register_buffer('_float_tensor', torch.FloatTensor(1))",
    ),
)
_COMPILED = tuple((re.compile(each.pattern), each) for each in OLD_BUFFERS)


def old_buffer(name: str, shape: Shape) -> OldBuffer | None:
    """The buffer that a stored tensor of this name and shape once was; None for what is on no list."""
    if not fits_patterns(name):
        return None
    return next((each for pattern, each in _COMPILED if pattern.search(name) and each.fits(shape)), None)


# Multi-token prediction. DeepSeek-V3 (arXiv 2412.19437, section 2.2; README_WEIGHTS.md of its repository) stores the
# module as the layer after the last, with a matrix `eh_proj` that joins a state and an embedding; GLM-4.5 and Ling
# alike. Others (Qwen3-Next, LongCat, Nemotron-H) name it `mtp`. transformers' classes leave both out.
_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,9})\.")
_NAMED_MTP = re.compile(r"(^|\.)mtp(_[a-z]+)?\.")


def prediction_layers(names: Iterable[str], num_hidden_layers: int | None) -> frozenset[int]:
    """The layers after the last that are modules for multi-token prediction: those that store an `eh_proj`."""
    if num_hidden_layers is None:
        return frozenset()
    found = (_LAYER.search(name) for name in names if ".eh_proj." in name and fits_patterns(name))
    layers = (int(match[1]) for match in found if match)
    return frozenset(layer for layer in layers if layer >= num_hidden_layers)


def predicts_further_tokens(name: str, layers: frozenset[int]) -> bool:
    """Whether the stored `name` is of a module for multi-token prediction; `layers` by `prediction_layers`."""
    if not fits_patterns(name):
        return False
    match = _LAYER.search(name)
    return bool(_NAMED_MTP.search(name)) or (match is not None and int(match[1]) in layers)


# Megatron-LM (`--make-vocab-size-divisible-by`, 128 by default, times the tensor-parallel size) and others fill the
# vocabulary up to a multiple of a power of two, so that its matrix divides evenly.
PADDING = tuple(2**power for power in range(3, 11))


def is_padded(stored: Shape, built: Shape, vocabularies: frozenset[int]) -> bool:
    """Whether `stored` is `built` with its rows, a vocabulary, filled up to a multiple of 8, 16, ... or 1,024."""
    if not stored or not built or stored[1:] != built[1:] or stored[0] <= built[0] or built[0] not in vocabularies:
        return False
    return any(-(-built[0] // multiple) * multiple == stored[0] for multiple in PADDING)


def vocabularies(config: Mapping[str, Any]) -> frozenset[int]:
    """Every `vocab_size` of a config as a dictionary, those of its parts too."""
    own = {value for key, value in config.items() if str(key).endswith("vocab_size") and isinstance(value, int)}
    return frozenset(own).union(*(vocabularies(value) for value in config.values() if isinstance(value, Mapping)))
