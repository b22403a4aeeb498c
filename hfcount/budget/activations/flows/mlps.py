"""MLPs as dataflows: plain, gated, and mixtures of experts."""

from __future__ import annotations

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.code import like
from hfcount.budget.activations.flows.known import Around, D, F, Known, Sizes, dropped, flow_of
from hfcount.budget.activations.layers import ACTIVATION_NAMES, Part, activation_of
from hfcount.budget.activations.tape import Size, Tape, Value

PAIRS = (
    ("fc1", "fc2"),
    ("dense_h_to_4h", "dense_4h_to_h"),
    ("c_fc", "c_proj"),
    ("fc_in", "fc_out"),
    ("up_proj", "down_proj"),
)
"""The names of a plain MLP's two matrices."""


def mlp_of(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """`x` through the MLP `part`; KeyError for one whose dataflow is not known."""
    return out_of(tape, flow_of(part, KNOWN)(tape, x, part, around), part)


def out_of(tape: Tape, x: Value, part: Part) -> Value:
    """What leaves an MLP, through the dropout that it ends in, if any."""
    for name in ("dropout", "residual_dropout"):
        x = dropped(tape, x, part, name)
    return x


def gated(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """down(act(gate(x))·up(x)) (Shazeer 2020)."""
    return gated_by(tape, x, part, F)


def gated_by(tape: Tape, x: Value, part: Part, width: Size) -> Value:
    """A gated MLP of this width inside."""
    gate = op.linear(tape, x, part.matrix("gate_proj", D, width))
    active = op.activation(tape, gate, activation_of(part))
    up = op.linear(tape, x, part.matrix("up_proj", D, width))
    return op.linear(tape, op.multiply(tape, active, up), part.matrix("down_proj", width, D))


def joined(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """A gated MLP whose gate and up are one matrix; its result is kept whole."""
    both = op.linear(tape, x, part.matrix("gate_up_proj", D, ("2f",)))
    half = op.view(both, (*op.TOKENS, *F))
    active = op.activation(tape, half, activation_of(part))
    return op.linear(tape, op.multiply(tape, active, half), part.matrix("down_proj", F, D))


def plain(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """fc2(act(fc1(x)))."""
    first, second = next(pair for pair in PAIRS if part.has(*pair))
    active = op.activation(tape, op.linear(tape, x, part.matrix(first, D, F)), activation_of(part))
    return op.linear(tape, active, part.matrix(second, F, D))


def sparse(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """A mixture of fused experts (transformers/integrations/moe.py, grouped_mm_experts_forward).

    1. Each token is copied n_k times in the order of its experts; the grouped product keeps the copies.
    2. gate and up come out of one product; the activation and the gating keep both, the down product its input.
    3. Results are weighted (both factors kept), put back in order (the order kept) and added up.
    """
    _check_experts(part, around)
    chosen: Size = (*op.TOKENS, "n_k")
    weights = routed(tape, x, part["gate"], around)
    copies = tape.new((*chosen, "d"), x.dtype, grad=x.grad)
    if x.grad:
        tape.save(*(tape.new(chosen, "int64", grad=False) for _ in range(2)))
    elif weights.grad:
        tape.save(tape.new(chosen, "int64", grad=False))
    experts = part["experts"]
    both = grouped(tape, copies, experts, "gate_up_proj", ("2f",))
    if both.grad:
        tape.save(tape.new(("E",), "int32", grad=False))  # where each expert's rows begin, for both products
    half = op.view(both, (*chosen, "f"))
    active = op.activation(tape, half, activation_of(experts))
    out = grouped(tape, op.multiply(tape, active, half), experts, "down_proj", D)
    placed = op.multiply(tape, out, tape.new(chosen, weights.dtype, grad=weights.grad))
    if placed.grad:
        tape.save(tape.new(chosen, "int64", grad=False))
        if not hasattr(experts.module, "_is_expert_parallel"):  # transformers 5.10 masks rows of other devices
            tape.save(tape.new(chosen, "bool", grad=False))
    return tape.new(x.size, x.dtype, grad=placed.grad)


def sparse_with_shared(tape: Tape, x: Value, part: Part, around: Around) -> Value:
    """A mixture beside one expert for all tokens, which a sigmoid of its own weighs (Qwen2-MoE)."""
    shared = gated_by(tape, x, part["shared_expert"], ("f_s",))
    gate = op.linear(tape, x, part.matrix("shared_expert_gate", D, ()))
    weight = op.activation(tape, gate, "sigmoid")
    out = sparse(tape, x, part, around)
    return op.add(tape, out, op.multiply(tape, weight, shared))


def routed(tape: Tape, x: Value, router: Part, around: Around) -> Value:
    """The weights of the chosen experts: a softmax over all in fp32 and its n_k largest, scaled to one if asked.

    Kept are the softmax, the places of the chosen, and for the scaling the chosen and their sum.
    """
    as_asked = like(router.module, ROUTERS) == "as asked"
    scales = not as_asked or bool(router.module.norm_topk_prob)
    logits = op.matmul(tape, x, router.weight(tape, "weight", D, ("E",)), ("E",))
    chosen: Size = (*op.TOKENS, "n_k")
    if logits.grad:
        tape.save(tape.new((*op.TOKENS, "E"), "float32", grad=True), tape.new(chosen, "int64", grad=False))
        if scales:
            tape.save(tape.new(chosen, "float32", grad=True), tape.new(op.TOKENS, "float32", grad=True))
    return tape.new(chosen, logits.dtype if as_asked else "float32", grad=logits.grad)


def grouped(tape: Tape, x: Value, experts: Part, name: str, outputs: Size) -> Value:
    """A product with the matrices of all experts, each for its own rows."""
    weight = experts.weight(tape, name, x.size[3:], outputs, each=("E",))
    x = op.cast(tape, x, weight.dtype)  # this product does not take part in autocast
    if weight.grad:
        tape.save(x)
    if x.grad:
        tape.save(weight)
    return tape.new((*x.size[:3], *outputs), x.dtype, grad=x.grad or weight.grad)


def _check_experts(part: Part, around: Around) -> None:
    """KeyError where experts are run in another way, or their input is disturbed."""
    how = getattr(around.config, "_experts_implementation", None)
    if how not in (None, "grouped_mm"):
        raise KeyError(f"experts run by {how}")
    if getattr(part.module, "jitter_noise", 0):
        raise KeyError("router_jitter_noise")
    if like(part["gate"].module, ROUTERS) is None or not part["experts"].consists(
        ("gate_up_proj", "down_proj"), ACTIVATION_NAMES
    ):
        raise KeyError(type(part.module).__name__)


ROUTERS = {
    "mixtral.modeling_mixtral.MixtralTopKRouter": "scaled",
    "minimax_m2.modeling_minimax_m2.MiniMaxM2TopKRouter": "scaled",
    "qwen3_moe.modeling_qwen3_moe.Qwen3MoeTopKRouter": "as asked",
}
"""Routers whose choice is written down, and whether they scale the chosen to one."""


def mlp_sizes(part: Part) -> Sizes:
    """f, of a mixture the width of one expert, with their number E, the chosen n_k, and the shared expert's width f_s.

    KeyError for an MLP that is not known.
    """
    own = bool(part.has("self_attn"))
    if not own:
        flow_of(part, KNOWN)
    module = part.module
    if part.has("experts"):
        experts, both, _ = part["experts"].own("gate_up_proj").shape
        sizes = {"f": both // 2, "E": experts, "n_k": int(module.gate.top_k)}  # type: ignore[union-attr,arg-type]
        return {**sizes, "f_s": part["shared_expert.gate_proj"].shape[0]} if part.has("shared_expert") else sizes
    if part.has("gate_up_proj"):
        return {"f": part["gate_up_proj"].shape[0] // 2}
    return {"f": part[part.first(("gate_proj", *(first for first, _ in PAIRS)))].shape[0]}


KNOWN = (
    Known(has=("gate", "experts"), flow=sparse),
    Known(has=("gate", "experts", "shared_expert", "shared_expert_gate"), flow=sparse_with_shared),
    Known(has=("gate_proj", "up_proj", "down_proj"), may=ACTIVATION_NAMES, flow=gated),
    Known(has=("gate_up_proj", "down_proj"), may=ACTIVATION_NAMES, flow=joined),
    *(Known(has=pair, may=(*ACTIVATION_NAMES, "dropout"), flow=plain) for pair in PAIRS),
)
