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
        base_dtype, autocast: what the model, or the frozen base, is loaded in, and what autocast computes in.
        grad_scaler: whether torch's GradScaler scales the loss.
        trainable, frozen: parameters.
        weights_bytes: all parameters in the types that they are kept in, quantized ones with their statistics.
        master_bytes: fp32 copies beside 16-bit trained parameters.
        gradients_bytes: of the trained parameters.
        optimizer_bytes: the optimizer's moments, with their statistics and code books.
        activations_bytes: what the forward pass keeps for the backward pass.
        communication_bytes: of one of several devices: gathered parameters, and what collectives read and write.
        temporary_bytes: all else: what is there for a moment, the batch, buffers, cuBLAS's workspace and what the
            allocator rounds up. `temporary` has the parts.
        kv_cache_bytes: of inference alone; None where no closed form is known for the model's state.
        total_bytes: the peak of the step: the sum of these at that moment.
        peak_plain_bytes, peak_checkpointing_bytes: the peak without and with gradient checkpointing, whichever was
            asked; None where the class has no such step.
        ratio_to_full: of the total to full fine-tuning's.
        buffers_bytes: beside the buckets where no step was simulated, not in the total.
        scalars_bytes: one-element counters of the optimizer, which torch keeps on the host; not in the total. None
            where only the step was simulated.
        paged_bytes: what of the optimizer's state may move to the host.
        adapter_bytes: the part of the weights that is adapters.
        quantized: the bytes of the quantized weights, term by term.
        unconverted_bytes: fused experts that stay in 16 bit or more although the model is "in 4 bit".
        activations_rule_bytes: what the labs' rule, batch·seq·d·L·16, would say.
        method: "simulated": the figures are those at the step's peak; "closed-form": the lasting buckets by their
            closed forms, and an estimate of the activations.
        basis: what an estimate assumes, and why there is no simulated step.
        peak_phase: "forward", "backward" or "step"; None without a simulated step.
        host_bytes: the most that lies in the host's memory, with offloading.
        phases: the highest moment of each phase, in bytes.
        highest: the most that each bucket holds at any moment.
        form: the tensors' bytes at that peak as a polynomial in b, s and r; None where there is none.
        flops: of a simulated step, floating-point operations: "forward", "backward", "whole", "per_token", and what
            the usual "rule" says of the whole.
        largest: of a simulated step the largest tensors at the peak, those of one bucket and size together: bytes,
            count, bucket, module, name, shape, dtype.
        simulated_seconds: how long the simulation took.
        reason: why there are no figures.
    """

    regime: str
    r: int | None = None
    targets: tuple[str, ...] = ()
    base_dtype: str | None = None
    autocast: str | None = None
    grad_scaler: bool = False
    trainable: int | None = None
    frozen: int | None = None
    weights_bytes: int | None = None
    master_bytes: int | None = None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    activations_bytes: int | None = None
    communication_bytes: int | None = None
    temporary_bytes: int | None = None
    temporary: Mapping[str, int] = dataclasses.field(default_factory=dict)
    kv_cache_bytes: int | None = None
    total_bytes: int | None = None
    peak_plain_bytes: int | None = None
    peak_checkpointing_bytes: int | None = None
    ratio_to_full: float | None = None
    buffers_bytes: int = 0
    scalars_bytes: int | None = None
    paged_bytes: int = 0
    adapter_bytes: int = 0
    quantized: Stored | None = None
    unconverted_bytes: int = 0
    activations_rule_bytes: int | None = None
    method: str = "closed-form"
    basis: str | None = None
    peak_phase: str | None = None
    phases: Mapping[str, int] = dataclasses.field(default_factory=dict)
    host_bytes: int = 0
    highest: Mapping[str, int] = dataclasses.field(default_factory=dict)
    form: str | None = None
    flops: Mapping[str, int] = dataclasses.field(default_factory=dict)
    largest: tuple[Mapping[str, Any], ...] = ()
    simulated_seconds: float | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """ "full", "lora r=8", "qlora r=8"."""
        return self.regime if self.r is None else f"{self.regime} r={self.r}"


BUCKETS = ("weights", "master", "gradients", "optimizer", "activations", "communication", "temporary", "kv_cache")
"""The parts of a total, in the order in which they are shown; Budget has `..._bytes` of each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One lasting bucket of one regime: the most that the simulated step held of it, and its closed form.

    `reason` is why the two differ, where that is known.
    """

    regime: str
    bucket: str
    closed_bytes: int
    simulated_bytes: int
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
        batch, seq: rows a device, and tokens a row (samples or frames of a sound); an image has none.
        inputs: the shape of each input of the step; none where no input can be made from the config.
        encoder_decoder: whether a decoder reads tokens of its own.
        precision, recipe: the recipe's name and what it says.
        optimizer, attention, device, gradient_checkpointing, double_quant, quantization: as asked.
        sharding, devices, offload: as asked.
        warnings: what is odd in what was asked; notes: what a reader must know; a line each.
        versions: of the packages that the figures depend on.
        comparisons: of simulated steps, each lasting bucket beside its closed form, where that was asked.
        curves: of simulated steps, memory over the step by regime: a row for each operation, a column for each bucket.
    """

    model: str
    model_class: str
    model_type: str
    source: Source
    budgets: tuple[Budget, ...]
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
    offload: bool
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    inputs: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    encoder_decoder: bool = False
    comparisons: tuple[Comparison, ...] = ()
    curves: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def full(self) -> Budget:
        """Full fine-tuning, which the ratios are to; LookupError where it was not asked."""
        for each in self.budgets:
            if each.regime == "full":
                return each
        raise LookupError("full fine-tuning was not asked: regimes has no full")
