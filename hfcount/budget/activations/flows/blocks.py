"""Decoder layers as dataflows: attention and MLP with norms, dropouts and residual sums around them."""

from __future__ import annotations

import dataclasses

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.flows.attention import attention_of, attention_sizes
from hfcount.budget.activations.flows.known import Around, Sizes, dropped, normed
from hfcount.budget.activations.flows.mlps import mlp_of, mlp_sizes, plain
from hfcount.budget.activations.layers import Part
from hfcount.budget.activations.tape import Tape, Value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A kind of decoder layer: the names of its parts.

    Attributes:
        attention, mlp: of the two branches; no name where the MLP's matrices are the layer's own.
        norms: before and after attention, before and after the MLP; None where there is none.
        dropouts: after attention and after the MLP.
        may: what else it may hold.
        parallel: whether both branches start from the layer's input (GPT-J; Chowdhery et al. 2022, section 2); None
            where the layer's `use_parallel_residual` says so.
        keeps_mask: whether the mask is handed to it by position, so that checkpointing keeps it as an input.
    """

    attention: str
    mlp: str
    norms: tuple[str | None, str | None, str | None, str | None]
    dropouts: tuple[str | None, str | None] = (None, None)
    may: tuple[str, ...] = ()
    parallel: bool | None = False
    keeps_mask: bool = False

    def fits(self, layer: Part) -> bool:
        """Whether the layer consists of just these parts."""
        needed = (self.attention, *(name for name in (self.mlp, *self.norms) if name))
        chooses = self.parallel is not None or hasattr(layer.module, "use_parallel_residual")
        return chooses and layer.consists(needed, (*self.may, *(name for name in self.dropouts if name)))

    def sizes(self, layer: Part) -> Sizes:
        """The sizes of a layer by their symbols."""
        return {**attention_sizes(layer[self.attention]), **mlp_sizes(layer[self.mlp] if self.mlp else layer)}

    def run(self, tape: Tape, x: Value, layer: Part, around: Around) -> Value:
        """What comes out of the layer; the tape keeps what autograd would."""
        if not getattr(layer.module, "do_layer_norm_before", True):
            raise KeyError("norms after the residual sums")
        parallel = self.parallel
        if parallel is None:
            parallel = bool(layer.module.use_parallel_residual)
        before, after, second, last = (name and layer.norm(name) for name in self.norms)
        inner = normed(tape, x, before or None)
        attended = normed(tape, attention_of(tape, inner, layer[self.attention], around), after or None)
        attended = self._dropped(tape, attended, layer, 0)
        if not parallel:
            x = op.add(tape, x, attended)
        if not parallel or second:
            inner = normed(tape, x, second or None)
        mlp = mlp_of(tape, inner, layer[self.mlp], around) if self.mlp else plain(tape, inner, layer, around)
        out = normed(tape, mlp, last or None)
        out = self._dropped(tape, out, layer, 1)
        return op.add(tape, x, op.add(tape, out, attended) if parallel else out)

    def _dropped(self, tape: Tape, x: Value, layer: Part, branch: int) -> Value:
        name = self.dropouts[branch]
        return dropped(tape, x, layer, name) if name else x


def block_of(layer: Part) -> Block:
    """The kind of a decoder layer; KeyError where none is written down for it."""
    if not layer.written_here:
        raise KeyError(type(layer.module).__name__)
    layer.check_calls(CALLS)
    for block in BLOCKS:
        if block.fits(layer):
            return block
    raise KeyError(type(layer.module).__name__)


CALLS = frozenset((
    "crossattention", "dropout", "hasattr", "ln_cross_attn", "reshape", "size", "view", "ValueError",
))  # fmt: skip
"""What the code of a layer may call besides its parts."""

_FIRST, _SECOND = "input_layernorm", "post_attention_layernorm"

BLOCKS = (
    # LLaMA (Touvron et al. 2023, section 2.2) and its kin; with dropouts Phi-3
    Block(
        attention="self_attn",
        mlp="mlp",
        norms=(_FIRST, None, _SECOND, None),
        dropouts=("resid_attn_dropout", "resid_mlp_dropout"),
    ),
    # Gemma 2 (2024, section 2): norms around both branches
    Block(
        attention="self_attn",
        mlp="mlp",
        norms=(_FIRST, _SECOND, "pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ),
    # GLM-4 (0414): the same under other names
    Block(
        attention="self_attn",
        mlp="mlp",
        norms=(_FIRST, "post_self_attn_layernorm", _SECOND, "post_mlp_layernorm"),
    ),
    # OLMo 2 (2024, section 2.1): norms after both branches
    Block(attention="self_attn", mlp="mlp", norms=(None, _SECOND, None, "post_feedforward_layernorm")),
    # GPT-NeoX (Black et al. 2022, section 2.1)
    Block(
        attention="attention",
        mlp="mlp",
        norms=(_FIRST, None, _SECOND, None),
        dropouts=("post_attention_dropout", "post_mlp_dropout"),
        parallel=None,
    ),
    # Phi (Gunasekar et al. 2023) and Cohere: one norm before both branches
    Block(
        attention="self_attn",
        mlp="mlp",
        norms=(_FIRST, None, None, None),
        dropouts=("resid_dropout", "resid_dropout"),
        parallel=True,
    ),
    # StableLM: either way
    Block(
        attention="self_attn",
        mlp="mlp",
        norms=(_FIRST, None, _SECOND, None),
        dropouts=(None, "dropout"),
        parallel=None,
    ),
    Block(
        attention="self_attn", mlp="mlp", norms=(_FIRST, None, None, None), dropouts=(None, "dropout"), parallel=None
    ),
    # OPT (Zhang et al. 2022): the MLP's matrices are the layer's own
    Block(
        attention="self_attn",
        mlp="",
        norms=("self_attn_layer_norm", None, "final_layer_norm", None),
        dropouts=("dropout", "dropout"),
        may=("fc1", "fc2", "activation_fn"),
    ),
    # GPT-2 (Radford et al. 2019, section 2.3)
    Block(attention="attn", mlp="mlp", norms=("ln_1", None, "ln_2", None), keeps_mask=True),
)
