"""Configs that no catalogue entry was built from: drawn around a form's example, then bent as real ones are."""

from __future__ import annotations

import copy
import random
from typing import Any

from hfcount.formulas.form import Form
from hfcount.formulas.tracing.draws import _at, _places, _put, drawn, shortened

STRINGS = (
    "gelu", "relu", "silu", "absolute", "relative_key", "rope", "alibi", "layer_norm", "rms_norm", "sine", "mean",
    "auto", "linear", "dense", "sparse", "group", "layer", "full", "none", "learned", "post", "pre", "full_attention",
    "sliding_attention",
)  # fmt: skip
EXTRA = (
    "foo", "num_labels", "n_ctx", "tie_word_embeddings", "head_dim", "rope_scaling", "layer_types", "attention_bias",
    "is_decoder", "add_cross_attention", "use_cache", "num_key_value_heads", "hidden_act", "n_inner", "ffn_dim",
)  # fmt: skip
EXTRA_VALUES: tuple[Any, ...] = (None, True, False, 3, 16, "gelu", {"factor": 2.0, "rope_type": "linear"}, {})


def strange(form: Form, base: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A config around `base`: other sizes, nulls, numbers for truths, longer lists, other names, fields left out."""
    raw = (
        copy.deepcopy(base)
        if chance.random() < 0.4
        else drawn(form, base, chance, share=chance.choice((0.1, 0.3, 1.0)))
    )
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = [place for place in _places(raw) if place[-1] not in ("model_type", "architectures")]
        if places:
            place = chance.choice(places)
            _put(raw, place, _bent(_at(raw, place), chance))
    return shortened(_renamed_or_extended(raw, form, chance), form, chance)


def _bent(old: Any, chance: random.Random) -> Any:
    if chance.random() < 0.15:
        return None
    if isinstance(old, bool):
        return chance.choice((not old, int(old), 2 if old else 0))
    if isinstance(old, int):
        near = (old + 1, max(0, old - 1), old * 2, old // 2, float(old))
        return chance.choice((0, 1, 2, 3, 5, 7, 11, 13, 16, 24, 32, 48, 64, 96, *near))
    if isinstance(old, float):
        return chance.choice((0.0, 1.0, old * 2, int(old), 0.5))
    return chance.choice(STRINGS) if isinstance(old, str) else old


def _renamed_or_extended(raw: dict[str, Any], form: Form, chance: random.Random) -> dict[str, Any]:
    """Now and then a list has another length, a field its other name (or both), or one is there that was not."""
    lists = [key for key, value in raw.items() if isinstance(value, list) and value]
    renamed = [(alias, name) for alias, name in form.renamed.items() if "." not in alias and name in raw]
    kind = chance.random()
    if kind < 0.1 and lists:
        key = chance.choice(lists)
        raw[key] = raw[key][:-1] if chance.random() < 0.5 else [*raw[key], raw[key][-1]]
    elif kind < 0.2 and renamed:
        alias, name = chance.choice(renamed)
        raw[alias] = raw[name] + 1 if type(raw[name]) is int and chance.random() < 0.5 else raw[name]
        if chance.random() < 0.5:
            del raw[name]
    elif kind < 0.3:
        raw[chance.choice(EXTRA)] = chance.choice(EXTRA_VALUES)
    elif kind < 0.35:
        raw["id2label"] = {str(number): "x" for number in range(chance.choice((1, 3, 5)))}
    return raw
