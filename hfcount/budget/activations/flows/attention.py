"""Attention as dataflows: how queries, keys and values come to be, and what is made of what they give."""

from __future__ import annotations

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.flows.known import (
    GROUPS,
    HEADS,
    Around,
    D,
    Known,
    Sizes,
    dropped,
    flow_of,
    normed,
)
from hfcount.budget.activations.flows.rotary import turned
from hfcount.budget.activations.layers import Part
from hfcount.budget.activations.tape import Size, Tape, Value

OUTPUTS = ("o_proj", "dense", "out_proj", "c_proj")
"""The names of the last matrix."""
HEAD_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"))
DROPOUTS = ("attention_dropout", "attn_dropout", "dropout")


def attention_of(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """`x` through the attention `part`; KeyError for one whose dataflow is not known."""
    return flow_of(part, KNOWN)(tape, x, part, around)


def separate(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """A matrix each for queries, keys and values (Vaswani et al. 2017, section 3.2.2), with norms on them if any."""
    groups = groups_of(part)
    query = op.linear(tape, x, part.matrix("q_proj", D, HEADS))
    key = op.linear(tape, x, part.matrix("k_proj", D, groups))
    value = op.linear(tape, x, part.matrix("v_proj", D, groups))
    for first, second in HEAD_NORMS:
        if part.has(first, second):
            query = _normed_heads(tape, query, part, first)
            key = _normed_heads(tape, key, part, second)
    return _mixed(tape, query, key, value, part, around)


def joined(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """Queries, keys and values from one matrix; all of its result is kept where a part of it is.

    GPT-NeoX (Black et al. 2022) and Phi-3; GPT-2 (Radford et al. 2019), which does not turn them.
    """
    groups = groups_of(part)
    name = part.first(JOINED)
    width = ("h+2k", "d_h") if groups == GROUPS else JOINED[name]
    fused = op.linear(tape, x, part.matrix(name, D, width))
    query = op.view(fused, (*op.TOKENS, *HEADS))
    key, value = (op.view(fused, (*op.TOKENS, *groups)) for _ in range(2))
    return _mixed(tape, query, key, value, part, around)


JOINED: dict[str, Size] = {
    "query_key_value": ("3h", "d_h"),
    "qkv_proj": ("3h", "d_h"),
    "c_attn": ("3d",),
}


def _mixed(tape: Tape, query: Value, key: Value, value: Value, part: Part, around: Around) -> Value:
    """Queries and keys turned, mixed with values, and brought back to the model's width."""
    tables = around.tables_of(part.layer)
    if tables is not None and getattr(part.module, "use_rope", True):
        query, key = turned(tape, query, key, tables, part, head=head_size(part), size=around.turned)
    mixed = op.attention(
        tape,
        query,
        key,
        value,
        how=around.attention,
        probability=_probability(part),
        mask=around.mask if part.has("c_attn") else None,
        capped=bool(getattr(part.module, "attn_logit_softcapping", None)),
    )
    out = op.linear(tape, mixed, part.matrix(part.first(OUTPUTS), HEADS, D))
    for residual in ("resid_dropout", "residual_dropout"):
        out = dropped(tape, out, part, residual)
    return out


def _probability(part: Part) -> float:
    held = next((getattr(part.module, name) for name in DROPOUTS if hasattr(part.module, name)), 0.0)
    return float(getattr(held, "p", held))


def _normed_heads(tape: Tape, x: Value, part: Part, name: str) -> Value:
    """`x` through a norm on its heads, or on all heads of a token side by side (OLMo 2, section 2.1).

    The norm is the same before the turning as after it, as some classes have it: one keeps what the other makes.
    """
    norm = part.norm(name)
    whole = norm is not None and len(norm.shape) == 1 and norm.shape[0] != head_size(part)
    return normed(tape, x, norm, op.TOKENS if whole else x.size[:3])


def groups_of(part: Part) -> Size:
    """The symbols of keys and values: those of queries where there are as many."""
    return GROUPS if "k" in attention_sizes(part) else HEADS


def head_size(part: Part) -> int:
    """The size of a head."""
    module = part.module
    return int(getattr(module, "head_dim", None) or module.head_size)  # type: ignore[arg-type]


def attention_sizes(part: Part) -> Sizes:
    """d, the heads and their size; k only where keys have heads of another number."""
    flow_of(part, KNOWN)
    width, mixed = part[part.first(OUTPUTS)].shape
    head = head_size(part)
    heads = mixed // head
    if part.has("q_proj"):
        keys = part["k_proj"].shape[0] // head
    else:
        fused = part[part.first(JOINED)].shape[0]
        keys = (fused // head - heads) // 2
    return {"d": width, "h": heads, "d_h": head, **({"k": keys} if keys != heads else {})}


_SEPARATE = ("q_proj", "k_proj", "v_proj")
KNOWN = (
    *(
        Known(has=(*_SEPARATE, output, *norms), flow=separate)
        for output in ("o_proj", "dense", "out_proj")
        for norms in ((), *HEAD_NORMS)
    ),
    Known(has=("query_key_value", "dense"), flow=joined),
    Known(has=("qkv_proj", "o_proj"), flow=joined),
    Known(has=("c_attn", "c_proj", "attn_dropout", "resid_dropout"), flow=joined),
)
