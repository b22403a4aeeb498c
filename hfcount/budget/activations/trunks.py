"""What stands around the layers of a causal language model: embeddings before them, norm, head and loss after."""

from __future__ import annotations

import dataclasses

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.flows import normed
from hfcount.budget.activations.layers import Part
from hfcount.budget.activations.tape import Storage, Tape, Value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trunk:
    """The names of a base model's parts: token embedding, learned positions, dropout after them, layers, last norm,
    and the module that makes rotary tables."""

    tokens: str
    layers: str
    norm: str
    positions: str | None = None
    dropout: str | None = None
    rotary: str | None = None


TRUNKS = (
    Trunk(tokens="embed_tokens", layers="layers", norm="norm", positions="embed_positions", rotary="rotary_emb"),
    Trunk(tokens="wte", layers="h", norm="ln_f", positions="wpe", dropout="drop"),
)


def trunk_of(base: Part) -> Trunk:
    """The names that fit `base`; KeyError where none do."""
    for trunk in TRUNKS:
        if base.has(trunk.tokens, trunk.layers, trunk.norm):
            return trunk
    raise KeyError(type(base.module).__name__)


def embedded(tape: Tape, base: Part, trunk: Trunk, *, forced: bool) -> Value:
    """The input of the first layer. A lookup keeps its indices if the table trains.

    `forced` asks for a gradient of the embeddings although they are frozen, as PEFT does before checkpointing
    (`enable_input_require_grads`).
    """
    x = _looked_up(tape, base[trunk.tokens], op.TOKENS)
    if trunk.positions is not None and base.has(trunk.positions) and _has_table(base[trunk.positions]):
        x = op.add(tape, x, _looked_up(tape, base[trunk.positions], ("s",)))
    if forced:
        x = tape.new(x.size, x.dtype, grad=True)
    if trunk.dropout is not None:
        x = op.dropout(tape, x, float(base[trunk.dropout].module.p))  # type: ignore[arg-type]
    return x


def _has_table(part: Part) -> bool:
    return f"{part.path}.weight" in part.training.dtypes


def _looked_up(tape: Tape, table: Part, indices: tuple[str, ...]) -> Value:
    weight = table.parameter("weight", ("V", "d"))
    if weight.grad:
        tape.save(tape.new(indices, "int64", grad=False))
    return tape.new((*op.TOKENS, "d"), weight.dtype, grad=weight.grad)


def rotary_tables(base: Part, trunk: Trunk, dtype: str, *, head: int) -> tuple[Value, Value] | None:
    """Cosines and sines for all positions, which all layers share; KeyError where they turn a part of a head."""
    if trunk.rotary is None or not base.has(trunk.rotary):
        return None
    frequencies = getattr(base[trunk.rotary].module, "inv_freq", None)
    if frequencies is None:
        return None
    if 2 * frequencies.numel() != head:
        raise KeyError("partial rotary embeddings")
    first, second = (Storage(("s", "d_h"), dtype, shared=True) for _ in range(2))
    return Value(first.size, dtype, False, first), Value(second.size, dtype, False, second)


def headed(tape: Tape, x: Value, base: Part, trunk: Trunk, head: Part) -> None:
    """The last norm, the logits and the loss."""
    x = normed(tape, x, base.norm(trunk.norm))
    parent, _, name = head.path.rpartition(".")
    matrix = Part(head.model, parent, head.training).matrix(name, ("d",), ("V",))
    op.cross_entropy(tape, op.linear(tape, x, matrix))
