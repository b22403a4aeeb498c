"""What all dataflows share: what stands around a layer, norms, dropouts, and the choice of a flow by parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.layers import Norm, Part
from hfcount.budget.activations.tape import Size, Tape, Value

D: Size = ("d",)
F: Size = ("f",)
HEADS: Size = ("h", "d_h")
GROUPS: Size = ("k", "d_h")

Tables = tuple[Value, Value]
Sizes = dict[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Around:
    """What all layers of a model share.

    Attributes:
        config: the model's.
        attention: "sdpa" or "eager".
        mask: the type of eager attention's mask: that of the embeddings.
        tables: cosines and sines by the type of layer, under "" where all layers turn alike; empty without.
        turned: how many numbers of a head they turn.
    """

    config: Any
    attention: str
    mask: str
    tables: Mapping[str, Tables]
    turned: int

    def tables_of(self, layer: int) -> Tables | None:
        """The cosines and sines that the layer of this number turns by."""
        if "" in self.tables or not self.tables:
            return self.tables.get("")
        return self.tables[self.config.layer_types[layer]]


Flow = Callable[[Tape, Value, Part, Around], Value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A part whose dataflow is written down: what it consists of, what it may have besides, and its flow."""

    has: tuple[str, ...]
    may: tuple[str, ...] = ()
    flow: Flow


CALLS = frozenset((
    "_upcast_and_reordered_attn", "apply_rotary_pos_emb", "attention_interface", "cat", "chunk", "clamp_",
    "contiguous", "dropout", "empty_like", "get", "get_interface", "getattr", "hasattr", "isinstance",
    "k_layernorm", "k_norm", "q_attn", "q_layernorm", "q_norm", "reshape", "sigmoid", "size", "split",
    "transpose", "turn", "uniform_", "update", "ValueError", "view",
))  # fmt: skip
"""What the code of attention and MLPs may call besides their parts."""


def flow_of(part: Part, known: tuple[Known, ...]) -> Flow:
    """The flow of the first of `known` that fits `part`; KeyError where none does, or where it computes more."""
    part.check_calls(CALLS)
    for each in known:
        if part.consists(each.has, each.may):
            return each.flow
    raise KeyError(type(part.module).__name__)


def normed(tape: Tape, x: Value, norm: Norm | None, rows: Size = op.TOKENS) -> Value:
    """`x` through a norm, or as it is where there is none."""
    if norm is None:
        return x
    scale = x.size[-2:] if len(norm.shape) == 2 else x.size[len(rows) :]
    sized = {"scale": scale} if norm.kind in COPYING else {}
    return NORMS[norm.kind](tape, x, dtype=norm.dtype, trained=norm.trained, rows=rows, **sized)


NORMS: Mapping[str, Callable[..., Value]] = {
    "layer": op.layer_norm,
    "plain layer": op.plain_layer_norm,
    "written layer": op.written_layer_norm,
    "rms": op.rms_norm,
    "wide rms": op.wide_rms_norm,
    "centred rms": op.centred_rms_norm,
}

COPYING = ("centred rms", "written layer")
"""Norms that keep a copy of their scale."""


def dropped(tape: Tape, x: Value, part: Part, name: str) -> Value:
    """`x` through the dropout that `part` holds under `name`: a module, a number, or nothing."""
    held = getattr(part.module, name, 0.0)
    return op.dropout(tape, x, float(getattr(held, "p", held)))
