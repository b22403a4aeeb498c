"""What `memory` answers: the buckets of each regime, side by side, and what they assume."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.shown import Charted

if TYPE_CHECKING:
    import pandas as pd

    from hfcount.quantization import Stored
    from hfcount.sources import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """One regime's bytes. Where the model cannot have the regime, the figures are None and `reason` says why.

    Attributes:
        regime: "full", "lora", "qlora" or "inference".
        r, targets: of the adapters; None and () without.
        trainable, frozen: parameters.
        weights_bytes: all parameters in the types that they are kept in, quantized ones with their statistics.
        master_bytes: fp32 copies beside 16-bit trained parameters.
        gradients_bytes: of the trained parameters.
        optimizer_bytes: the optimizer's moments, with their statistics and code books.
        activations_bytes: what the backward pass needs, at the larger of its two moments with checkpointing.
        kv_cache_bytes: of inference alone; None where no closed form is known for the model's state.
        total_bytes: the sum of these.
        ratio_to_full: of the total to full fine-tuning's.
        buffers_bytes: beside the buckets, not in the total.
        scalars_bytes: one-element counters of the optimizer, which torch keeps on the host; not in the total.
        paged_bytes: what of the optimizer's state may move to the host.
        adapter_bytes: the part of the weights that is adapters.
        quantized: the bytes of the quantized weights, term by term.
        unconverted_bytes: fused experts that stay in 16 bit or more although the model is "in 4 bit".
        activations_kept_bytes: what of them is kept at the end of the forward pass.
        activations_exact: whether the activations are a closed form, else an estimate.
        activations_basis: what they are, or assume.
        activations_formula, activations_symbols: the closed form and the values of its symbols.
        activations_rule_bytes: what the labs' rule, batch·seq·d·L·16, would say.
        method: "closed-form", "simulated" or "measured".
        peak_phase: of a simulated step "forward", "backward" or "step"; None else. Its buckets are those at the peak,
            with all that is there for a moment among the activations.
        phases: of a simulated step the highest moment of each phase, in bytes.
        temporary_bytes: of a simulated step what of the activations is there for a moment.
        flops: of a simulated step, floating-point operations: "forward", "backward", "whole", "per_token", and what
            the usual "rule" says of the whole.
        largest: of a simulated step the largest tensors at the peak: bytes, bucket, module, name, shape, dtype.
        simulated_seconds: how long the simulation took.
        reason: why there are no figures.
    """

    regime: str
    r: int | None = None
    targets: tuple[str, ...] = ()
    trainable: int | None = None
    frozen: int | None = None
    weights_bytes: int | None = None
    master_bytes: int | None = None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    activations_bytes: int | None = None
    kv_cache_bytes: int | None = None
    total_bytes: int | None = None
    ratio_to_full: float | None = None
    buffers_bytes: int = 0
    scalars_bytes: int = 0
    paged_bytes: int = 0
    adapter_bytes: int = 0
    quantized: Stored | None = None
    unconverted_bytes: int = 0
    activations_kept_bytes: int | None = None
    activations_exact: bool | None = None
    activations_basis: str | None = None
    activations_formula: str | None = None
    activations_symbols: Mapping[str, int] = dataclasses.field(default_factory=dict)
    activations_rule_bytes: int | None = None
    method: str = "closed-form"
    peak_phase: str | None = None
    phases: Mapping[str, int] = dataclasses.field(default_factory=dict)
    temporary_bytes: int = 0
    flops: Mapping[str, int] = dataclasses.field(default_factory=dict)
    largest: tuple[Mapping[str, Any], ...] = ()
    simulated_seconds: float | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """ "full", "lora r=8", "qlora r=8"."""
        return self.regime if self.r is None else f"{self.regime} r={self.r}"


BUCKETS = ("weights", "master", "gradients", "optimizer", "activations", "kv_cache")
"""The parts of a total, in the order in which they are shown; Budget has `..._bytes` of each."""


UNTRIED = "gradients and optimizer are counted for every trained parameter"
"""How the note begins that a step could not be tried, so that what the loss does not reach is counted too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One bucket of one regime: the most that the simulated step held of it, and the closed form for the same kernels.

    Attributes:
        exact: whether the closed form claims to be exact; else it is an estimate.
        reason: why the two differ, where that is known.
    """

    regime: str
    bucket: str
    closed_bytes: int
    simulated_bytes: int
    exact: bool
    reason: str = ""

    @property
    def difference(self) -> int:
        return self.closed_bytes - self.simulated_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory(Charted):
    """The budgets of one model under one way to train.

    Attributes:
        model, model_class, model_type, source: what was asked, what it is built as, where its config was read.
        budgets: in the order asked.
        full: full fine-tuning, which the ratios are to; where it was not asked, in closed form.
        batch, seq: rows a device, and tokens a row.
        precision, recipe: the recipe's name and what it says.
        optimizer, attention, device, gradient_checkpointing, double_quant, quantization, sharding, devices: as asked.
        warnings: what is odd in what was asked; notes: what a reader must know; a line each.
        versions: of the packages that the figures depend on.
        comparisons: of simulated steps, each bucket beside its closed form.
        curves: of simulated steps, memory over the step by regime: a row for each operation, a column for each bucket.
    """

    model: str
    model_class: str
    model_type: str
    source: Source
    budgets: tuple[Budget, ...]
    full: Budget
    batch: int
    seq: int
    precision: str
    recipe: str
    optimizer: str
    attention: str
    device: str
    gradient_checkpointing: bool
    double_quant: bool
    quantization: str
    sharding: str
    devices: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    comparisons: tuple[Comparison, ...] = ()
    curves: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def exact_buckets(self) -> tuple[str, ...]:
        """The buckets that are exact to the byte, activations aside."""
        untried = any(note.startswith(UNTRIED) for note in self.notes)
        return ("weights",) if untried else ("weights", "gradients", "optimizer")
