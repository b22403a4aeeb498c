"""How to train, and what each regime trains, freezes and keeps, by closed forms."""

from __future__ import annotations

import dataclasses
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.budget.buckets import gradients_bytes, master_bytes, state_of, weights_bytes
from hfcount.budget.estimate import BASIS, estimated_activations
from hfcount.budget.kv_cache import kv_cache_bytes
from hfcount.budget.optimizers import optimizer as optimizer_called
from hfcount.budget.recipes import BYTES, Precision, named, recipe
from hfcount.budget.sharding import check_sharding, share
from hfcount.errors import BadInput
from hfcount.facts import facts_of, lora_of, packed_of
from hfcount.lora import LoraOptions
from hfcount.memory_answer import Budget
from hfcount.quantization import Scheme
from hfcount.records import key_of
from hfcount.simulation.plan import ATTENTIONS, FLASH
from hfcount.workbench import Workbench

if TYPE_CHECKING:
    import pandas as pd

    from hfcount.simulation.reached import Reach

FLASH_FROM = 8.0
"""flash_attn's kernels say "FlashAttention only supports Ampere GPUs or newer" (flash_api.cpp)."""
UNSCALED = "torch's GradScaler does not unscale fp16 gradients"
REGIMES = ("full", "lora", "qlora", "inference")
LORA_RANKS = (4, 8, 16)
QLORA_RANKS = (8,)
NOT_SHOWN = (
    "kbit_upcast", "stepping", "reentrant", "accumulation", "capability", "keeps_outputs", "zero_grad",
    "grad_scaler", "autocast", "base_dtype",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """How to train, checked when it is made; BadInput names the option.

    Attributes:
        batch: rows on each device; seq: tokens a row (of a sound: samples or frames), None for the
            model's positions, at most 2,048.
        precision: a recipe's name; optimizer: an optimizer's.
        attention: "sdpa", "eager" or "flash_attention_2"; device: whose kernels keep the activations, "cuda" or "cpu".
        gradient_checkpointing: each layer keeps its input alone.
        quantization: "nf4", "fp4" or "int8"; double_quant: its statistics quantized once more.
        kbit_upcast: whether QLoRA's other parameters become fp32; None for what the recipe does.
        sharding, devices: see simulation/sharding.py; offload: what is divided lies in the host's memory.
        stepping: how the optimizer goes over its tensors in a simulated step: "foreach" (torch's default on CUDA),
            "loop" or "fused".
        reentrant: checkpointing as torch did it first; accumulation: batches before a step. For simulated steps too.
        capability: of the card whose kernels a simulated step runs on "cuda", "8.0" for an A100.
        keeps_outputs: whether the loop of a simulated step holds the model's outputs until the step is over.
        zero_grad: what it does with gradients after a step, "to-none" or "to-zero". Both default to what transformers'
            Trainer does.
        grad_scaler: whether the loop scales the loss with torch's GradScaler; None for what the Trainer does: it has
            one where autocast computes in fp16.
        autocast: whether the forward pass runs under autocast; None for what the recipe does.
        base_dtype: what the frozen base of LoRA and QLoRA is loaded in; None for what the recipe does.
    """

    batch: int = 1
    seq: int | None = None
    precision: str = "mixed-bf16"
    optimizer: str = "adamw"
    attention: str = "sdpa"
    device: str = "cuda"
    gradient_checkpointing: bool = False
    quantization: str = "nf4"
    double_quant: bool = False
    kbit_upcast: bool | None = None
    sharding: str = "none"
    devices: int = 1
    offload: bool = False
    stepping: str = "foreach"
    reentrant: bool = False
    accumulation: int = 1
    capability: str = "8.0"
    keeps_outputs: bool = False
    zero_grad: str = "to-none"
    grad_scaler: bool | None = None
    autocast: bool | None = None
    base_dtype: str | None = None

    def __post_init__(self) -> None:
        _check_positive("batch", self.batch)
        _check_positive("accumulation", self.accumulation)
        named(self.stepping, dict.fromkeys(("foreach", "loop", "fused")), "stepping")
        if self.seq is not None:
            _check_positive("seq", self.seq)
        recipe(self.precision)
        optimizer_called(self.optimizer)
        named(self.zero_grad, dict.fromkeys(("to-none", "to-zero")), "zero-grad")
        named(self.attention, dict.fromkeys(ATTENTIONS), "attention")
        named(self.device, dict.fromkeys(("cuda", "cpu")), "device")
        if self.attention == FLASH and self.device == "cpu":
            raise BadInput(f"--attention {self.attention} has kernels of CUDA alone: give --device cuda")
        check_sharding(self.sharding, self.devices)
        if self.grad_scaler and self.sharding != "none":
            raise BadInput(f"--grad-scaler: --sharding {self.sharding} is simulated without it")
        if self.base_dtype is not None:
            named(self.base_dtype, BYTES, "base-dtype")
        Scheme(kind=self.quantization, double=self.double_quant)
        if not re.fullmatch(r"\d{1,2}\.\d", self.capability):
            raise BadInput(f"capability {self.capability!r}: give a compute capability, 8.0")
        if self.attention == FLASH and float(self.capability) < FLASH_FROM:
            asked = f"--attention {self.attention} needs compute capability {FLASH_FROM}"
            raise BadInput(f"{asked}, and this is {self.capability}: give --attention sdpa")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Way:
        """Return the way that keywords name; BadInput with the near names for one that is unknown."""
        for name in options:
            named(name, dict.fromkeys(each.name for each in dataclasses.fields(cls)), "keyword")
        return cls(**options)

    @property
    def full(self) -> Precision:
        return self._computed(recipe(self.precision).full)

    @property
    def adapters(self) -> Precision:
        precision = recipe(self.precision).adapters
        if self.base_dtype is not None:
            precision = precision.over(self.base_dtype)
        if self.kbit_upcast is not None:
            precision = dataclasses.replace(precision, upcast=self.kbit_upcast)
        return self._computed(precision)

    def _computed(self, precision: Precision) -> Precision:
        return precision if self.autocast is None else precision.under(self.autocast)

    @property
    def scheme(self) -> Scheme:
        return Scheme(kind=self.quantization, double=self.double_quant)


def _check_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"--{name} {value}: give a positive integer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Which budgets are wanted: regimes, ranks (() for the usual ones), what LoRA targets, overrides of the config."""

    regimes: tuple[str, ...]
    ranks: tuple[int, ...]
    targets: str | tuple[str, ...]
    settings: tuple[str, ...]

    @classmethod
    def of(
        cls, regimes: Sequence[str], lora_r: int | Sequence[int], targets: str | Sequence[str], settings: Sequence[str]
    ) -> Asked:
        """What was asked, checked before anything is built; BadInput for what is unknown."""
        regimes = (regimes,) if isinstance(regimes, str) else tuple(regimes)
        for each in regimes:
            named(each, dict.fromkeys(REGIMES), "regime")
        ranks = (lora_r,) if isinstance(lora_r, int) else tuple(lora_r)
        checked = [LoraOptions(r=rank, targets=targets) for rank in ranks or (1,)]  # type: ignore[arg-type]
        return cls(
            regimes=tuple(dict.fromkeys(regimes)), ranks=ranks, targets=checked[0].targets, settings=tuple(settings)
        )


def usual_seq(bench: Workbench) -> int:
    """Return the length of a row where nobody says it: the model's positions up to 2,048, or ten seconds of sound."""
    return facts_of(bench).usual_seq


def described(bench: Workbench, way: Way, regime: str, rank: int | None, targets: str | tuple[str, ...]) -> Budget:
    """Return what a regime trains and freezes, without what it takes.

    LoRA's base is frozen, QLoRA's quantized besides. Where the model cannot have the regime, `reason` says why.
    """
    precision = way.full if regime == "full" else way.adapters
    if way.grad_scaler and (precision.master or precision.gradients == "float16"):
        unscaled = "16-bit parameters with fp32 masters have a scaler of their own" if precision.master else UNSCALED
        return Budget(regime=regime, r=rank, reason=f"--grad-scaler: {unscaled}")
    if regime == "full":
        return Budget(regime=regime, trainable=facts_of(bench).parameters, frozen=0)
    assert rank is not None
    packed = packed_of(bench, way.scheme) if regime == "qlora" else None
    if packed is not None and not packed.converted:
        return Budget(regime=regime, r=rank, reason="transformers converts no layer of this model to bitsandbytes'")
    lora = lora_of(bench, rank, targets)
    if lora.refusal:
        return Budget(regime=regime, r=rank, reason=lora.refusal)
    trained = lora.trained(rank)
    return Budget(
        regime=regime,
        r=rank,
        targets=lora.targets,
        trainable=trained,
        frozen=facts_of(bench).parameters,
        adapter_bytes=share(
            trained * BYTES[way.adapters.trained], "weights", sharding=way.sharding, devices=way.devices
        ),
        quantized=None if packed is None else packed.stored,
        unconverted_bytes=0 if packed is None or not packed.fused else _unconverted_bytes(bench, way),
    )


def lasting_budget(bench: Workbench, way: Way, budget: Budget, targets: str | tuple[str, ...]) -> Budget:
    """Return a budget with its lasting buckets by their closed forms, and an estimate of the activations."""
    from hfcount.simulation.media import hop

    assert way.seq is not None
    precision = way.full if budget.r is None else way.adapters
    tensors = tensors_of(bench, way, budget, targets)
    state = state_of(tensors, precision, optimizer_called(way.optimizer))
    buckets = {
        "weights": weights_bytes(tensors),
        "master": master_bytes(tensors, precision),
        "gradients": gradients_bytes(tensors, precision),
        "optimizer": state.total,
    }
    shares = {name: share(value, name, sharding=way.sharding, devices=way.devices) for name, value in buckets.items()}
    rows = way.batch * max(1, way.seq // hop(bench.model.config))  # samples become rows of the encoder
    kept = estimated_activations(bench.model, precision, rows=rows, checkpointing=way.gradient_checkpointing)
    return dataclasses.replace(
        budget,
        **{f"{name}_bytes": value for name, value in shares.items()},  # type: ignore[arg-type]
        activations_bytes=kept,
        communication_bytes=0,
        temporary_bytes=0,
        total_bytes=sum(shares.values()) + kept,
        buffers_bytes=bench.buffers_bytes,
        scalars_bytes=share(state.scalars, "optimizer", sharding=way.sharding, devices=way.devices),
        paged_bytes=share(state.paged, "optimizer", sharding=way.sharding, devices=way.devices),
        basis=BASIS,
    )


def tensors_of(bench: Workbench, way: Way, budget: Budget, targets: str | tuple[str, ...]) -> pd.DataFrame:
    """Return the tensors that a regime keeps, a row each (see budget/buckets.py)."""
    if budget.r is None:
        return with_reached(bench, bench.full(way.full))
    quantized = bench.quantized(way.scheme) if budget.regime == "qlora" else None
    return with_reached(bench, bench.adapted(way.adapters, bench.adapters(budget.r, targets), quantized))


def with_reached(bench: Workbench, tensors: pd.DataFrame) -> pd.DataFrame:
    """Return `tensors` with what the loss does not reach; an adapter is reached where its module runs and is."""
    reach = _reach(bench)
    if not reach.names and not reach.idle:
        return tensors
    modules = {name.rpartition(".")[0] for name in reach.names}
    modules -= {name.rpartition(".")[0] for name in bench.table["name"] if name not in reach.names}
    owners = tensors["name"].str.extract(r"^(.*?)\.lora_", expand=False)
    return tensors.assign(reached=~(tensors["name"].isin(reach.names) | owners.isin(modules | reach.idle)))


_REACHES: weakref.WeakKeyDictionary[Workbench, Reach] = weakref.WeakKeyDictionary()


def _reach(bench: Workbench) -> Reach:
    """What a step of the model leaves out, found out once."""
    if bench not in _REACHES:
        from hfcount.simulation.reached import left_out

        _REACHES[bench] = left_out(bench)
    return _REACHES[bench]


def unreached_notes(bench: Workbench) -> list[str]:
    """Return a note on the parameters that no gradient reaches, or on why that is not known."""
    reach = _reach(bench)
    if reach.reason:
        counted = "gradients and optimizer are counted for every trained parameter"
        return [f"{counted}: no step could be tried ({reach.reason})"]
    if not reach.names:
        return []
    rows = bench.table[bench.table["name"].isin(reach.names)]
    first = ", ".join(rows["name"][:2]) + (f" and {len(rows) - 2:,} more" if len(rows) > 2 else "")
    return [f"no gradient reaches {int(rows['numel'].sum()):,} parameters in a step ({first}): no optimizer state"]


def _unconverted_bytes(bench: Workbench, way: Way) -> int:
    """Return the bytes of fused experts that stay as they are in a quantized model."""

    def find() -> int:
        base = bench.frozen(way.adapters, bench.quantized(way.scheme))
        fused = (bench.table["expert"].to_numpy() > 0) & (bench.table["shape"].map(len).to_numpy() > 2)
        return int(base.loc[fused & ~base["quantized"].to_numpy(), "bytes"].sum())

    kept = bench.record.answer(f"unconverted {key_of(way.adapters)} {key_of(way.scheme)}", find)
    return share(kept, "weights", sharding=way.sharding, devices=way.devices)


def inference_budget(bench: Workbench, way: Way) -> Budget:
    """Return the weights to serve from, and the key-value cache of `batch` rows of `seq` tokens."""
    assert way.seq is not None
    base = way.adapters.base
    tensors = bench.frozen(dataclasses.replace(way.adapters, upcast=False))
    cache = kv_cache_bytes(bench.skeleton.config, batch=way.batch, seq=way.seq, width=BYTES[base])
    weights = share(weights_bytes(tensors), "weights", sharding=way.sharding, devices=way.devices)
    return Budget(
        regime="inference",
        trainable=0,
        frozen=bench.parameters,
        weights_bytes=weights,
        master_bytes=0,
        gradients_bytes=0,
        optimizer_bytes=0,
        activations_bytes=0,
        temporary_bytes=0,
        kv_cache_bytes=cache,
        total_bytes=weights + (cache or 0),
        buffers_bytes=bench.buffers_bytes,
    )


def warnings_on(bench: Workbench, way: Way) -> tuple[str, ...]:
    assert way.seq is not None
    positions = facts_of(bench).positions
    if positions is None or way.seq <= positions:
        return ()
    return (f"--seq {way.seq:,} is beyond the model's {positions:,} positions",)


def notes_on(bench: Workbench, way: Way, budgets: Sequence[Budget], targets: str | tuple[str, ...]) -> list[str]:
    """Return what a reader of these figures must know."""
    notes: list[str] = []
    adapted = [each for each in budgets if each.r is not None and each.reason is None]
    if adapted:
        notes += filter(None, {lora_of(bench, each.r, targets).note: None for each in adapted if each.r})
    notes += dict.fromkeys(each.basis for each in budgets if each.basis)
    quantized = next((each for each in budgets if each.quantized is not None), None)
    if quantized is not None:
        notes.append(f"{way.quantization.upper()}: {packed_of(bench, way.scheme).backend}")
        if quantized.unconverted_bytes:
            notes.append(_left_wide(bench, way, quantized))
    if way.sharding != "none":
        held = "what one of them holds; rows and tokens are each one's own"
        notes.append(f"{way.sharding} over {way.devices} devices: {held}")
    host = max((each.host_bytes for each in budgets), default=0)
    if host:
        notes.append(f"offloaded to the host's memory: up to {host:,} bytes a device")
    paged = max((each.paged_bytes for each in budgets), default=0)
    if paged:
        notes.append(f"paged optimizer: up to {paged:,} bytes of its state may move to the host")
    if way.optimizer.endswith("8bit"):
        notes.append(
            "transformers' Trainer keeps the 8-bit optimizer's states of embeddings in 32 bits; here all are 8"
        )
    return notes


def _left_wide(bench: Workbench, way: Way, budget: Budget) -> str:
    fused = packed_of(bench, way.scheme).fused
    share_ = fused / facts_of(bench).parameters
    kept = "fp32, which prepare_model_for_kbit_training makes of them" if way.adapters.upcast else "16 bit"
    return (
        f"{fused:,} weights of fused experts ({share_:.1%} of the model) are not converted, since "
        f"bitsandbytes takes linear layers alone. They stay in {kept}: {budget.unconverted_bytes:,} bytes"
    )
