"""What is asked of the activations bucket, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hfcount.budget.activations.tape import Terms


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """How a step is run.

    Attributes:
        batch, seq: rows, and tokens a row.
        attention: "sdpa" or "eager".
        device: whose kernels run, "cuda" or "cpu".
        autocast: the type that autocast computes in, or None.
        checkpointing: each layer keeps its input alone and is run again in the backward pass.
        dtype: what the model's values are computed in, for the estimate.
    """

    batch: int
    seq: int
    attention: str = "sdpa"
    device: str = "cuda"
    autocast: str | None = None
    checkpointing: bool = False
    dtype: str = "bfloat16"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """Layers that keep the same: how many there are, the bytes of one, and the sizes that are its own."""

    name: str
    count: int
    terms: Terms
    sizes: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activations:
    """The bytes that the backward pass needs from the forward pass.

    Attributes:
        kept: what autograd holds at the end of the forward pass.
        recomputed: with checkpointing, what is held while the largest layer has been run again: its own and the
            inputs of all, but no longer what the head and the loss kept.
        kinds: the kinds of layers; empty for an estimate.
        outside: what embeddings, last norm, head and loss keep.
        sizes: the values of the symbols.
        exact: whether a dataflow is written down for every part of the model; else `kept` is an estimate.
        basis: what the figure is, or what the estimate assumes.
    """

    kept: int
    recomputed: int = 0
    kinds: tuple[Kind, ...] = ()
    outside: Terms = dataclasses.field(default_factory=Terms)
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    exact: bool
    basis: str

    @property
    def peak(self) -> int:
        """The larger of the two moments."""
        return max(self.kept, self.recomputed)
