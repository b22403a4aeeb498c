"""What one recipe's step holds at once: the buckets of `hfcount memory`, taken apart by moment.

`hfcount memory` adds up all buckets, as if all stood there together, and leaves out what a step holds for a moment.
A measured peak is one moment. Here there are three, from the same figures and by the same rules for every row:

    at the loss          weights, master, optimizer; what the forward pass kept; the logits, their copies and gradients
    in the last layer    weights, master, optimizer; what is kept, with the checkpointed layer run again
    after the backward   weights, master, optimizer; all gradients

and the peak is the largest. Bytes of a logit at the loss (16-bit weights; torch/nn/functional.py, cross_entropy):

    whole     2 (16 bit) + 4 (log softmax, which autograd keeps) + 4 + 4 (gradients of the loss's two steps) = 14
    chunked   2 (16 bit) + 4/8 (one chunk of eight in fp32) = 2.5 (torchtune, CEWithChunkedOutputLoss); a trained head
              gathers its gradient from the chunks: its own and one chunk's, 2·V·d·2 bytes
    cut       0: the logits are never made (Wijmans et al. 2024, arXiv 2411.09009)

The chunked rule, and that FSDP holds one gathered layer at the loss, were chosen among readings of the code with
torchtune's own table in view; its rows are no independent evidence for them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.budget.activations import Activations, Setting, activations
from hfcount.budgeting import Asked, Way, memory_of
from hfcount.memory_answer import Budget
from hfcount.sources import resolve
from hfcount.workbench import Adapters, Workbench

if TYPE_CHECKING:
    import pandas as pd

KEPT_OF_A_LOGIT = 4
LOSSES = {"whole": 14.0, "chunked": 2.5, "cut": 0.0}
PARTS = ("weights", "master", "gradients", "optimizer", "activations")
OFFLOADED = {"inputs", "paged", "model"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class How:
    """What a recipe does besides the arguments of `hfcount.memory`.

    Attributes:
        loss: how the logits meet the loss, a key of LOSSES.
        fused: the optimizer steps inside the backward pass, each gradient freed at once.
        accumulates: gradients of earlier micro-batches stand there at the loss.
        offloaded: "inputs" of checkpointed layers, the "paged" optimizer state, the whole "model" on the host.
        gathers: what FSDP puts together: layers one ahead, and embeddings and head either for good, as the "root", or
            "apart", the head at the loss alone.
        omits: buckets that the figure does not count.
        nominal: the number of parameters that the figure is for, where the model has another.
    """

    loss: str = "whole"
    fused: bool = False
    accumulates: bool = False
    offloaded: tuple[str, ...] = ()
    gathers: str = ""
    omits: tuple[str, ...] = ()
    nominal: int | None = None

    def __post_init__(self) -> None:
        assert self.loss in LOSSES, self.loss
        assert set(self.offloaded) <= OFFLOADED, self.offloaded
        assert self.gathers in ("", "root", "apart"), self.gathers
        assert set(self.omits) <= set(PARTS), self.omits

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> How:
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """One moment of a step: its name, and the bytes of each thing that it holds."""

    name: str
    held: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.held.values())


@functools.cache
def bench_of(model: str, settings: tuple[str, ...]) -> Workbench:
    """The model with its overrides, built once."""
    return Workbench(resolve(model), settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One row's arguments, made into what budgeting.py makes of them."""

    bench: Workbench
    way: Way
    budget: Budget
    targets: str | tuple[str, ...]

    @classmethod
    def of(cls, model: str, arguments: Mapping[str, Any]) -> Step:
        """`hfcount.memory(model, **arguments)` for one regime and rank."""
        fields = {each.name for each in dataclasses.fields(Way)}
        way = Way(**{name: value for name, value in arguments.items() if name in fields})
        settings = tuple(f"{name}={value}" for name, value in arguments.get("settings", {}).items())
        targets = arguments.get("lora_targets", "default")
        targets = tuple(targets) if isinstance(targets, list) else targets
        asked = Asked.of([arguments["regime"]], arguments.get("lora_r", ()), targets, settings)
        bench = bench_of(model, settings)
        return cls(bench=bench, way=way, budget=memory_of(bench, way, asked).budgets[0], targets=targets)

    @property
    def full(self) -> bool:
        return self.budget.r is None

    @functools.cached_property
    def tensors(self) -> pd.DataFrame:
        """The tensors that the run keeps, the base's first."""
        if self.full:
            return self.bench.full(self.way.full)
        quantized = self.bench.quantized(self.way.scheme) if self.budget.regime == "qlora" else None
        return self.bench.adapted(self.way.adapters, self._adapters, quantized)

    @property
    def _adapters(self) -> Adapters:
        assert self.budget.r is not None
        return self.bench.adapters(self.budget.r, self.targets)

    @functools.cached_property
    def kept(self) -> Activations:
        """The activations bucket with its two moments apart."""
        way, precision = self.way, self.way.full if self.full else self.way.adapters
        assert way.seq is not None
        training = self.bench.training(
            self.tensors, precision, None if self.full else self._adapters, self.budget.r or 0
        )
        setting = Setting(
            batch=way.batch,
            seq=way.seq,
            attention=way.attention,
            device=way.device,
            autocast=precision.autocast,
            checkpointing=way.gradient_checkpointing,
            dtype=precision.base,
        )
        found = activations(self.bench.model, training, setting)
        assert found.peak == self.budget.activations_bytes
        return found

    @property
    def head(self) -> int:
        """The elements of the head's matrix."""
        return int(self.bench.model.get_output_embeddings().weight.numel())

    @property
    def logits(self) -> int:
        """b·s·V."""
        assert self.way.seq is not None
        return self.way.batch * self.way.seq * int(self.bench.model.get_output_embeddings().weight.shape[0])

    @property
    def base(self) -> pd.DataFrame:
        """The base's tensors, with the layer that each is in."""
        table = self.bench.table
        return self.tensors.iloc[: len(table)].assign(layer=table["layer"].to_numpy(na_value=-1))

    @property
    def layer_bytes(self) -> int:
        """The largest layer's weights, as they are kept."""
        base = self.base
        return int(base[base["layer"] >= 0].groupby("layer")["bytes"].sum().max())

    @property
    def outside_bytes(self) -> int:
        """The weights that are in no layer."""
        base = self.base
        return int(base.loc[base["layer"] < 0, "bytes"].sum())


def moments(step: Step, how: How) -> list[Moment]:
    """The three moments of a step, without what is zero."""
    standing, gradients = _standing(step, how)
    found = {"at the loss": _at_the_loss(step, how), "in the last layer": _in_a_layer(step, how)}
    if how.accumulates and found["at the loss"]:
        found["at the loss"]["gradients"] = gradients
    found["after the backward pass"] = {"gradients": _largest_gradient(step) if how.fused else gradients}
    at = [Moment(name=name, held={**standing, **held}) for name, held in found.items() if held]
    return [Moment(name=each.name, held={what: size for what, size in each.held.items() if size}) for each in at]


def peak(step: Step, how: How) -> Moment:
    """The largest moment."""
    return max(moments(step, how), key=lambda each: each.total)


def _standing(step: Step, how: How) -> tuple[dict[str, float], float]:
    """What stands there all the time, and the gradients."""
    sizes: dict[str, float] = {
        name: 0 if name in how.omits else getattr(step.budget, f"{name}_bytes")
        for name in ("weights", "master", "optimizer", "gradients")
    }
    if "paged" in how.offloaded:
        sizes["optimizer"] -= min(step.budget.paged_bytes, sizes["optimizer"])
    if "model" in how.offloaded:
        sizes = dict.fromkeys(sizes, 0)
    if how.nominal is not None:
        sizes = {name: size * how.nominal / step.bench.parameters for name, size in sizes.items()}
    return sizes, sizes.pop("gradients")


def _at_the_loss(step: Step, how: How) -> dict[str, float]:
    """What the forward pass kept, the logits, and the head where it is gathered and trained."""
    if "activations" in how.omits:
        return {}
    held = {
        "activations": step.kept.kept - _inputs(step, how) - KEPT_OF_A_LOGIT * step.logits,
        "logits": LOSSES[how.loss] * step.logits,
    }
    if how.loss == "chunked" and step.full:
        held["the head's gradient"] = 2 * 2 * step.head
    if how.gathers:
        held["gathered layer"] = step.layer_bytes
        held["gathered head"] = 2 * step.head if how.gathers == "apart" else step.outside_bytes
    return held


def _in_a_layer(step: Step, how: How) -> dict[str, float]:
    """A checkpointed layer run again; with FSDP its weights and the next one's, and its gradient if it trains."""
    kept = step.kept
    if "activations" in how.omits or not kept.recomputed:
        return {}
    held: dict[str, float] = {"activations": kept.recomputed - _inputs(step, how)}
    if how.gathers:
        held["gathered layers"] = (3 if step.full else 2) * step.layer_bytes
        held["gathered head"] = step.outside_bytes if how.gathers == "root" else 0
    return held


def _inputs(step: Step, how: How) -> int:
    """The inputs of the checkpointed layers that are on the host."""
    kept = step.kept
    if "inputs" not in how.offloaded:
        return 0
    return sum(each.terms.value({**kept.sizes, **each.sizes}) for each in kept.kinds)


def _largest_gradient(step: Step) -> int:
    trained = step.tensors[step.tensors["trained"]]
    return 2 * int(trained["numel"].max())
