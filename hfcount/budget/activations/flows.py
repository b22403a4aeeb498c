"""Decoder layers as dataflows: which operation follows which, written down from the classes' own forward methods.

A layer's parts are found by what it has, not by its model's name. Each flow takes the tape, what comes into the layer
and the layer itself, and gives what goes out; the tape keeps what autograd would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.layers import Norm, Part, activation_of
from hfcount.budget.activations.tape import Size, Tape, Value

D: Size = ("d",)
F: Size = ("f",)
HEADS: Size = ("h", "d_h")
GROUPS: Size = ("k", "d_h")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Around:
    """What all layers of a model share: the config, the kind of attention, and the rotary tables (None without)."""

    config: Any
    attention: str
    tables: tuple[Value, Value] | None


Flow = Callable[[Tape, Value, Part, Around], Value]
Sizes = dict[str, int]


def flow_of(layer: Part) -> tuple[Flow, Sizes]:
    """The dataflow of a decoder layer, and its sizes by symbol; KeyError where none is written down for it."""
    for needed, flow, sizes in FLOWS:
        if layer.has(*needed):
            return flow, sizes(layer)
    raise KeyError(type(layer.module).__name__)


def normed(tape: Tape, x: Value, norm: Norm | None, rows: Size = op.TOKENS) -> Value:
    """`x` through a norm, or as it is where there is none."""
    if norm is None:
        return x
    if norm.kind == "layer":
        assert norm.dtype is not None
        return op.layer_norm(tape, x, dtype=norm.dtype, trained=norm.trained, rows=rows)
    return op.rms_norm(tape, x, dtype=norm.dtype, trained=norm.trained, rows=rows)


def pre_norm(tape: Tape, x: Value, layer: Part, around: Around) -> Value:
    """LLaMA's layer and its kin (Touvron et al. 2023, section 2.2): x + attention(norm(x)), then x + mlp(norm(x))."""
    attended = separate_attention(tape, normed(tape, x, layer.norm("input_layernorm")), layer["self_attn"], around)
    x = op.add(tape, x, attended)
    inner = normed(tape, x, layer.norm("post_attention_layernorm"))
    return op.add(tape, x, mlp_of(layer["mlp"])(tape, inner, layer["mlp"], around))


def separate_attention(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """Attention with a matrix each for queries, keys and values; rotary, and with norms on queries and keys if any."""
    query = op.linear(tape, x, part.matrix("q_proj", D, HEADS))
    key = op.linear(tape, x, part.matrix("k_proj", D, GROUPS))
    value = op.linear(tape, x, part.matrix("v_proj", D, GROUPS))
    query = normed(tape, query, part.norm("q_norm"), (*op.TOKENS, "h"))
    key = normed(tape, key, part.norm("k_norm"), (*op.TOKENS, "k"))
    if around.tables is not None:
        query, key = op.rotate(tape, query, *around.tables), op.rotate(tape, key, *around.tables)
    probability = float(getattr(part.module, "attention_dropout", 0.0))
    mixed = op.attention(tape, query, key, value, how=around.attention, probability=probability)
    return op.linear(tape, _in_rows(tape, mixed, around), part.matrix("o_proj", HEADS, D))


def _in_rows(tape: Tape, mixed: Value, around: Around) -> Value:
    """The heads side by side again: the fused kernel writes them so, the plain products need a copy."""
    if around.attention == "sdpa":
        return mixed
    return tape.new(mixed.size, mixed.dtype, grad=mixed.grad)


def mlp_of(part: Part) -> Flow:
    """The dataflow of an MLP; KeyError for one that is not written down."""
    for needed, flow in MLPS:
        if part.has(*needed):
            return flow
    raise KeyError(type(part.module).__name__)


def gated_mlp(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """down(act(gate(x))·up(x)) (Shazeer 2020)."""
    gate = op.linear(tape, x, part.matrix("gate_proj", D, F))
    active = op.activation(tape, gate, activation_of(around.config, part.module))
    up = op.linear(tape, x, part.matrix("up_proj", D, F))
    return op.linear(tape, op.multiply(tape, active, up), part.matrix("down_proj", F, D))


def plain_mlp(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """fc2(act(fc1(x)))."""
    inner = op.linear(tape, x, part.matrix("fc1", D, F))
    active = op.activation(tape, inner, activation_of(around.config, part.module))
    return op.linear(tape, active, part.matrix("fc2", F, D))


def sparse_mlp(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """A mixture of fused experts (transformers/integrations/moe.py, grouped_mm_experts_forward).

    1. The router: softmax over E in fp32; the chosen n_k values, their places and their sum are kept.
    2. Each token is copied n_k times in the order of its experts; the grouped product keeps the copies.
    3. gate and up come out of one product; the activation and the gating keep both, the down product its input.
    4. Results are weighted (both factors kept), put back in order (the order kept) and added up.
    """
    router = part["gate"].weight(tape, "weight", D, ("E",))
    chosen: Size = (*op.TOKENS, "n_k")
    logits = op.matmul(tape, x, router, ("E",))
    if logits.grad:
        tape.save(
            tape.new((*op.TOKENS, "E"), "float32", grad=True),
            tape.new(chosen, "int64", grad=False),
            tape.new(chosen, "float32", grad=True),
            tape.new(op.TOKENS, "float32", grad=True),
        )
    copies = tape.new((*chosen, "d"), x.dtype, grad=x.grad)
    if x.grad:
        tape.save(*(tape.new(chosen, "int64", grad=False) for _ in range(2)))
    experts = part["experts"]
    both = grouped(tape, copies, experts, "gate_up_proj", ("2f",))
    if both.grad:
        tape.save(tape.new(("E",), "int32", grad=False))  # where each expert's rows begin, for both products
    half = op.view(both, (*chosen, "f"))
    active = op.activation(tape, half, activation_of(around.config, experts.module))
    inner = op.multiply(tape, active, half)
    out = grouped(tape, inner, experts, "down_proj", D)
    if out.grad:
        tape.save(tape.new(chosen, "float32", grad=True), out, tape.new(chosen, "int64", grad=False))
    return tape.new(x.size, x.dtype, grad=out.grad or logits.grad)


def grouped(tape: Tape, x: Value, experts: Part, name: str, outputs: Size) -> Value:
    """A product with the matrices of all experts, each for its own rows."""
    weight = experts.weight(tape, name, x.size[3:], outputs, each=("E",))
    x = op.cast(tape, x, weight.dtype)  # this product does not take part in autocast
    if weight.grad:
        tape.save(x)
    if x.grad:
        tape.save(weight)
    return tape.new((*x.size[:3], *outputs), x.dtype, grad=x.grad or weight.grad)


def gpt2(tape: Tape, x: Value, layer: Part, around: Around) -> Value:
    """GPT-2's block (Radford et al. 2019, section 2.3): fused queries, keys and values, dropout on both branches."""
    inner = normed(tape, x, layer.norm("ln_1"))
    attn = layer["attn"]
    fused = op.linear(tape, inner, attn.matrix("c_attn", D, ("3d",)))
    query, key, value = (op.view(fused, (*op.TOKENS, *HEADS)) for _ in range(3))
    probability = float(attn["attn_dropout"].module.p)  # type: ignore[arg-type]
    mixed = op.attention(tape, query, key, value, how=around.attention, probability=probability, wide=False)
    plain = around.attention == "sdpa" and probability and not tape.kernels.fused_dropout
    rows = tape.new(mixed.size, mixed.dtype, grad=mixed.grad) if plain else _in_rows(tape, mixed, around)
    out = op.linear(tape, rows, attn.matrix("c_proj", HEADS, D))
    x = op.add(tape, x, op.dropout(tape, out, float(attn["resid_dropout"].module.p)))  # type: ignore[arg-type]
    inner = op.linear(tape, normed(tape, x, layer.norm("ln_2")), layer["mlp"].matrix("c_fc", D, F))
    active = op.activation(tape, inner, activation_of(around.config, layer["mlp"].module))
    out = op.linear(tape, active, layer["mlp"].matrix("c_proj", F, D))
    return op.add(tape, x, op.dropout(tape, out, float(layer["mlp"]["dropout"].module.p)))  # type: ignore[arg-type]


def pre_norm_sizes(layer: Part) -> Sizes:
    """d, heads, their size, and the MLP's sizes."""
    attn: Any = layer["self_attn"].module
    head = int(attn.head_dim)
    sizes = {
        "d": attn.q_proj.in_features,
        "h": attn.q_proj.out_features // head,
        "k": attn.k_proj.out_features // head,
        "d_h": head,
    }
    mlp: Any = layer["mlp"].module
    if layer["mlp"].has("experts"):
        experts, both, _ = mlp.experts.gate_up_proj.shape
        return {**sizes, "f": both // 2, "E": experts, "n_k": int(mlp.gate.top_k)}
    return {**sizes, "f": (mlp.fc1 if layer["mlp"].has("fc1") else mlp.gate_proj).out_features}


def gpt2_sizes(layer: Part) -> Sizes:
    attn: Any = layer["attn"].module
    return {"d": attn.embed_dim, "h": attn.num_heads, "d_h": attn.head_dim, "f": int(layer["mlp.c_fc"].module.nf)}  # type: ignore[arg-type]


_SEPARATE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")

FLOWS: tuple[tuple[tuple[str, ...], Flow, Callable[[Part], Sizes]], ...] = (
    ((*_SEPARATE, "input_layernorm", "post_attention_layernorm", "mlp"), pre_norm, pre_norm_sizes),
    (("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"), gpt2, gpt2_sizes),
)
MLPS: tuple[tuple[tuple[str, ...], Flow], ...] = (
    (("gate", "experts"), sparse_mlp),
    (("gate_proj", "up_proj", "down_proj"), gated_mlp),
    (("fc1", "fc2"), plain_mlp),
)
