"""What stands around the layers of a causal language model: embeddings before them, norm, head and loss after."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.flows import normed
from hfcount.budget.activations.flows.known import Tables, dropped
from hfcount.budget.activations.layers import Part
from hfcount.budget.activations.tape import Size, Storage, Tape, Value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trunk:
    """The names of a base model's parts: token embedding, learned positions, dropout after them, layers, last norm,
    and the module that makes rotary tables. `counted` says that positions are counted for each row."""

    tokens: str
    layers: str
    norm: str
    positions: str | None = None
    dropout: str | None = None
    rotary: str | None = None
    counted: bool = False

    def fits(self, base: Part) -> bool:
        """Whether the base model consists of these parts and nothing else."""
        may = (self.positions, self.dropout, self.rotary)
        return base.consists((self.tokens, self.layers, self.norm), tuple(name for name in may if name))


TRUNKS = (
    Trunk(
        tokens="embed_tokens",
        layers="layers",
        norm="norm",
        positions="embed_positions",
        dropout="embedding_dropout",
        rotary="rotary_emb",
    ),
    Trunk(tokens="wte", layers="h", norm="ln_f", positions="wpe", dropout="drop"),
    Trunk(tokens="embed_in", layers="layers", norm="final_layer_norm", dropout="emb_dropout", rotary="rotary_emb"),
    Trunk(
        tokens="embed_tokens", layers="layers", norm="final_layernorm", dropout="embed_dropout", rotary="rotary_emb"
    ),
    Trunk(tokens="embed_tokens", layers="layers", norm="final_layer_norm", positions="embed_positions", counted=True),
)


CALLS = frozenset((
    "", "_bidirectional_window_overlay", "arange", "BaseModelOutputWithPast",
    "BaseModelOutputWithPastAndCrossAttentions", "block", "CausalLMOutputWithCrossAttentions",
    "CausalLMOutputWithPast", "contiguous", "copy", "create_bidirectional_mask", "create_causal_mask",
    "create_sliding_window_causal_mask", "cumsum", "CwmModelOutputWithPast", "decoder", "decoder_layer",
    "dropout", "DynamicCache", "EncoderDecoderCache", "enumerate", "get_seq_length", "isinstance", "layer",
    "load_balancing_loss_func", "long", "loss_function", "mask_function", "MoeCausalLMOutputWithPast",
    "MoeModelOutputWithPast", "ones", "pop", "positions_of", "project_in", "project_out", "rand", "set", "size",
    "slice", "slice_logits_to_keep", "tanh", "tensor", "to", "unsqueeze", "ValueError", "view",
    "warn_if_padding_and_no_attention_mask",
))  # fmt: skip
"""What the code of a base model and of what stands on it may call besides their parts."""


def base_of(whole: Part, prefix: str) -> Part:
    """The base model, or the decoder that it holds."""
    base = whole[prefix]
    return base["decoder"] if base.consists(("decoder",)) else base


def trunk_of(base: Part) -> Trunk:
    """The names that fit `base`; KeyError where none do."""
    base.check_calls(CALLS)
    for trunk in TRUNKS:
        if base.written_here and trunk.fits(base):
            return trunk
    raise KeyError(type(base.module).__name__)


def embedded(tape: Tape, base: Part, trunk: Trunk, *, forced: bool) -> Value:
    """The input of the first layer. A lookup keeps its indices if the table trains.

    `forced` asks for a gradient of the embeddings although they are frozen, as PEFT does before checkpointing
    (`enable_input_require_grads`).
    """
    x = _looked_up(tape, base[trunk.tokens], op.TOKENS)
    if forced:
        x = tape.new(x.size, x.dtype, grad=True)
    if trunk.positions is not None and base.has(trunk.positions) and _has_table(base[trunk.positions]):
        indices = op.TOKENS if trunk.counted else ("s",)
        x = op.add(tape, x, _looked_up(tape, base[trunk.positions], indices))
    if trunk.dropout is not None:
        x = dropped(tape, x, base, trunk.dropout)
    return normed(tape, x, base.norm(trunk.norm)) if _norms_twice(base, trunk) else x


def _norms_twice(base: Part, trunk: Trunk) -> bool:
    """Whether the last norm also stands before the first layer (nanochat), which only the code says."""
    return inspect.getsource(inspect.unwrap(type(base.module).forward)).count(f"self.{trunk.norm}(") > 1


def _has_table(part: Part) -> bool:
    return f"{part.path}.weight" in part.training.dtypes


def _looked_up(tape: Tape, table: Part, indices: Size) -> Value:
    """Rows of an embedding; where it scales them (Gemma), the product keeps the scale, one number."""
    weight = table.parameter("weight", ("V", "d"))
    if weight.grad:
        tape.save(tape.new(indices, "int64", grad=False))
        if hasattr(table.module, "embed_scale"):
            tape.save(tape.new((), weight.dtype, grad=False))
    return tape.new((*op.TOKENS, "d"), weight.dtype, grad=weight.grad)


def rotary_tables(base: Part, trunk: Trunk, dtype: str, *, head: int) -> tuple[dict[str, Tables], int]:
    """Cosines and sines for all positions by type of layer ("" for one pair for all), and how many numbers they turn.

    Layers share them. The module that makes them is made anew, away from the meta device, and asked for two positions.
    """
    if trunk.rotary is None or not base.has(trunk.rotary):
        return {}, 0
    module: Any = base[trunk.rotary].module
    kinds = [
        name.removesuffix("inv_freq").removesuffix("_")
        for name, _ in module.named_buffers()
        if name.endswith("inv_freq") and "original" not in name
    ]
    made = {kind: _made(module, dtype, kind) for kind in kinds}
    if len(set(made.values())) > 1:
        raise KeyError("rotary tables of several sizes")
    if not made:
        return {}, 0
    turned, table = made[kinds[0]]
    size: Size = ("s", "d_h" if turned == head else "d_r")
    return {kind: (_table(size, table), _table(size, table)) for kind in kinds}, turned


def _made(module: Any, dtype: str, kind: str) -> tuple[int, str]:
    """The numbers of a position's cosines, and their type, where the model computes in `dtype`."""
    import torch

    fresh = type(module)(module.config).to("cpu")
    x = torch.zeros(1, 2, 8, dtype=getattr(torch, dtype))
    kinds = (kind,) if kind else ()
    cosines, _ = fresh(x, torch.arange(2)[None], *kinds)
    return cosines.shape[-1], str(cosines.dtype).removeprefix("torch.")


def _table(size: Size, dtype: str) -> Value:
    return Value(size, dtype, False, Storage(size, dtype, shared=True))


def headed(tape: Tape, x: Value, base: Part, trunk: Trunk, head: Part) -> None:
    """The last norm, the logits and the loss; KeyError where the model makes more of them.

    Logits that are capped keep their tangent (Gemma 2, section 2).
    """
    Part(head.model, "", head.training).check_calls(CALLS)
    x = normed(tape, x, base.norm(trunk.norm))
    parent, _, name = head.path.rpartition(".")
    matrix = Part(head.model, parent, head.training).matrix(name, ("d",), ("V",))
    logits = op.linear(tape, x, matrix)
    if getattr(head.model.config, "final_logit_softcapping", None):
        logits = op.activation(tape, logits, "tanh")
    op.cross_entropy(tape, logits)
