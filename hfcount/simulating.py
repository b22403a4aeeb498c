"""`memory` of a model on the bench: the figures are those at the peak of each regime's step, run without memory."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from hfcount.budget.estimate import lab_rule
from hfcount.budget.recipes import recipe
from hfcount.budgeting import (
    LORA_RANKS,
    NOT_SHOWN,
    QLORA_RANKS,
    Asked,
    Way,
    described,
    inference_budget,
    lasting_budget,
    notes_on,
    unreached_notes,
    usual_seq,
    warnings_on,
)
from hfcount.classes import text_config
from hfcount.deadline import Overdue, TimeIsUp, after_deadline
from hfcount.errors import BadInput, one_line
from hfcount.inventory import tied_head_size
from hfcount.limits import BUILD_BYTES, memory_limit
from hfcount.lora import LoraOptions
from hfcount.memory_answer import Budget, Comparison, Memory
from hfcount.result import PACKAGES, versions
from hfcount.simulation.flops_rule import matrix_parameters, rule
from hfcount.simulation.media import PIXELS, SECONDS
from hfcount.simulation.peak import Simulation
from hfcount.simulation.plan import Run, Sharding, Wished
from hfcount.simulation.simulate import simulate
from hfcount.simulation.sizes import RANK, ROWS, TOKENS
from hfcount.simulation.steps import steps_of
from hfcount.workbench import Workbench


def memory_of(
    bench: Workbench,
    way: Way,
    asked: Asked,
    *,
    method: str = "simulated",
    detail: bool = False,
    curves: bool = False,
    seconds: float | None = None,
) -> Memory:
    """What it takes to train the model on `bench`.

    A regime whose step cannot be simulated, within `seconds` where these are given, has its lasting buckets by their
    closed forms and an estimate of its activations; a note says why. So has every regime where the `method` is
    "closed-form". A way to shard that is not simulated is refused. `detail` holds the lasting buckets against their
    closed forms; `curves` has every layer run, so that the curve of memory is known.
    """
    way = dataclasses.replace(way, seq=way.seq or usual_seq(bench))
    until = None if seconds is None else time.monotonic() + seconds
    budgets: list[Budget] = []
    comparisons: list[Comparison] = []
    notes: list[str] = []
    lines: dict[str, Any] = {}
    for regime, rank in _rows(asked):
        if regime == "inference":
            budgets.append(inference_budget(bench, way))
            continue
        budget = _ruled(bench, way, described(bench, way, regime, rank, asked.targets))
        if budget.reason is not None:
            budgets.append(budget)
            continue
        found = step = None
        try:
            left = None if until is None else max(0.001, until - time.monotonic())
            if method == "simulated":
                with memory_limit():
                    step = _step(bench, way, budget, asked, whole=curves, seconds=left)
                    found = with_peaks(bench, way, budget, asked, step)
        except Exception as error:  # what torch and the models raise for what has no fake form
            if way.sharding != "none" and isinstance(error, BadInput) and not isinstance(error, Overdue):
                budgets.append(dataclasses.replace(budget, reason=str(error)))
                continue
            notes.append(f"{budget.name}: no peak, since {why(error)}")
        if found is None or step is None:
            with after_deadline():
                budgets.append(lasting_budget(bench, way, budget, asked.targets))
                notes += [each for each in unreached_notes(bench) if each not in notes]
            continue
        budgets.append(found)
        if detail and way.sharding == "none":
            comparisons += compared(way, lasting_budget(bench, way, budget, asked.targets), step)
            notes += [each for each in unreached_notes(bench) if each not in notes]
        notes += [each for each in _inputs_note(step) if each not in notes]
        if step.lines is not None:
            lines[budget.name] = step.lines
    if all(each.reason is not None for each in budgets):
        raise BadInput(f"{bench.source.model}: {budgets[0].name}: {budgets[0].reason}")
    return Memory(
        model=bench.source.model,
        model_class=type(bench.model).__name__,
        model_type=str(bench.skeleton.config.model_type),
        source=bench.source,
        budgets=tuple(_with_ratio(each, budgets) for each in budgets),
        recipe=recipe(way.precision).summary,
        warnings=warnings_on(bench, way),
        notes=(
            *(f"a variant: {setting}" for setting in asked.settings),
            *bench.source.notes,
            *bench.skeleton.notes,
            *notes_on(bench, way, budgets, asked.targets),
            *notes,
            *_kernels_note(way, budgets),
        ),
        versions=versions((*PACKAGES, "bitsandbytes")),
        comparisons=tuple(comparisons),
        curves=lines,
        **{each.name: getattr(way, each.name) for each in dataclasses.fields(way) if each.name not in NOT_SHOWN},
    )


def _rows(asked: Asked) -> list[tuple[str, int | None]]:
    """The regimes and ranks that are asked, a row each."""
    found: list[tuple[str, int | None]] = []
    for regime in asked.regimes:
        ranks = asked.ranks or _USUAL_RANKS.get(regime, ())
        found += [(regime, rank) for rank in ranks] if regime in _USUAL_RANKS else [(regime, None)]
    return found


_USUAL_RANKS = {"lora": LORA_RANKS, "qlora": QLORA_RANKS}


def _ruled(bench: Workbench, way: Way, budget: Budget) -> Budget:
    assert way.seq is not None
    rule = lab_rule(text_config(bench.skeleton.config), batch=way.batch, seq=way.seq)
    return dataclasses.replace(budget, activations_rule_bytes=rule)


def _step(
    bench: Workbench, way: Way, budget: Budget, asked: Asked, *, whole: bool, seconds: float | None
) -> Simulation:
    what, run = wished(bench, way, budget, asked), run_of(way)
    if whole:
        return simulate(bench, what, run, whole=True, seconds=seconds)
    return steps_of(bench).at(what, run, seconds=seconds)


def peak_bytes(bench: Workbench, way: Way, budget: Budget, asked: Asked) -> int:
    """Return the peak of a regime's step. Raises what torch and the models raise where it cannot be simulated."""
    return steps_of(bench).at(wished(bench, way, budget, asked), run_of(way)).peak.bytes


def needed_bytes(bench: Workbench, way: Way, budget: Budget, asked: Asked) -> int:
    """Return what a regime of this rank takes in another way: by its method, with what stands beside the buckets."""
    if budget.regime == "inference":
        return inference_budget(bench, way).total_bytes or 0
    if budget.method == "simulated":
        return peak_bytes(bench, way, budget, asked)
    return (lasting_budget(bench, way, budget, asked.targets).total_bytes or 0) + bench.buffers_bytes


def wished(bench: Workbench, way: Way, budget: Budget, asked: Asked) -> Wished:
    """What the simulation is asked for by a budget."""
    options = None
    if budget.r is not None:
        options = LoraOptions(r=budget.r, targets=bench.adapters(budget.r, asked.targets).given)
    precision = way.full if options is None else way.adapters
    return Wished(
        precision=precision,
        options=options,
        scheme=way.scheme if budget.regime == "qlora" else None,
        attention=way.attention,
        computed=(precision.autocast or precision.base) if way.device == "cuda" else None,
        checkpointing=way.gradient_checkpointing,
        reentrant=way.reentrant,
    )


def run_of(way: Way) -> Run:
    """How the step is run."""
    assert way.seq is not None
    return Run(
        batch=way.batch,
        seq=way.seq,
        capability=_capability(way) if way.device == "cuda" else None,
        optimizer=way.optimizer,
        stepping=way.stepping,
        accumulation=way.accumulation,
        sharding=None if way.sharding == "none" else Sharding(way.sharding, way.devices, offload=way.offload),
        keeps_outputs=way.keeps_outputs,
        zeroes_gradients=way.zero_grad == "to-zero",
    )


def _capability(way: Way) -> tuple[int, int]:
    major, minor = way.capability.split(".")
    return int(major), int(minor)


def compared(way: Way, closed: Budget, found: Simulation) -> list[Comparison]:
    """Each lasting bucket's most in the simulated step beside its closed form; on the CPU the optimizer's counters
    are part of its state."""
    figures = {
        "weights": closed.weights_bytes or 0,
        "master": closed.master_bytes or 0,
        "gradients": closed.gradients_bytes or 0,
        "optimizer": (closed.optimizer_bytes or 0) + ((closed.scalars_bytes or 0) if way.device == "cpu" else 0),
    }
    return [
        Comparison(
            regime=closed.name,
            bucket=bucket,
            closed_bytes=figure,
            simulated_bytes=found.highest[bucket],
            reason=_reason(way, closed, bucket) if figure != found.highest[bucket] else "",
        )
        for bucket, figure in figures.items()
    ]


def _reason(way: Way, closed: Budget, bucket: str) -> str:
    """Why a simulation holds more than the closed form, where that is known; "" where not."""
    precision = way.full if closed.r is None else way.adapters
    if bucket == "optimizer" and precision.moments != precision.trained and not precision.master:
        return f"the recipe's moments are {precision.moments}, torch's AdamW keeps them in its parameters' type"
    if bucket == "weights" and closed.regime == "qlora":
        return "bitsandbytes casts the biases of its layers to the type of what comes in"
    return ""


def with_peaks(bench: Workbench, way: Way, budget: Budget, asked: Asked, found: Simulation) -> Budget:
    """The budget with the figures at the peak of its simulated step, and the peak with checkpointing or without."""
    at = found.peak.buckets
    passing = {name: at[name] for name in ("temporary", "inputs", "buffers", "workspace", "rounding")}
    form = steps_of(bench).form(wished(bench, way, budget, asked), run_of(way))
    peaks = {way.gradient_checkpointing: found.peak.bytes}
    other = dataclasses.replace(way, gradient_checkpointing=not way.gradient_checkpointing)
    try:
        peaks[other.gradient_checkpointing] = peak_bytes(bench, other, budget, asked)
    except Overdue:
        raise
    except Exception:  # a class that has no checkpointing
        pass
    return dataclasses.replace(
        budget,
        weights_bytes=at["weights"],
        master_bytes=at["master"],
        gradients_bytes=at["gradients"],
        optimizer_bytes=at["optimizer"],
        activations_bytes=at["activations"],
        communication_bytes=at["communication"],
        temporary_bytes=sum(passing.values()),
        temporary=passing,
        total_bytes=found.peak.bytes,
        peak_plain_bytes=peaks.get(False),
        peak_checkpointing_bytes=peaks.get(True),
        method="simulated",
        peak_phase=found.peak.phase,
        phases={phase: moment.bytes for phase, moment in found.phases.items()},
        host_bytes=found.host_bytes,
        highest=dict(found.highest),
        form=None if form is None else form.text(_values(way, budget)),
        flops=_flops(bench, way, budget, found),
        largest=tuple({str(key): value for key, value in row.items()} for row in found.largest.to_dict("records")),
        simulated_seconds=found.seconds,
    )


def _values(way: Way, budget: Budget) -> dict[str, int]:
    assert way.seq is not None
    return {ROWS: way.batch, TOKENS: way.seq, RANK: budget.r or 0}


def _flops(bench: Workbench, way: Way, budget: Budget, found: Simulation) -> dict[str, int]:
    """The operations of a step, and what the usual rule says of the whole."""
    assert way.seq is not None
    text = text_config(bench.skeleton.config)
    tokens = way.batch * way.seq * way.accumulation
    whole = sum(found.flops.values())
    flops = {"forward": found.flops["forward"], "backward": found.flops["backward"], "whole": whole}
    flops["per_token"] = round(whole / tokens)
    layers, width = getattr(text, "num_hidden_layers", None), getattr(text, "hidden_size", None)
    if isinstance(layers, int) and isinstance(width, int):
        flops["rule"] = rule(
            matrices=matrix_parameters(bench.table, tied_head=tied_head_size(bench.model)),
            adapters=(budget.trainable or 0) if budget.r is not None else 0,
            tokens=tokens,
            layers=layers,
            width=width,
            seq=way.seq,
            twice=way.gradient_checkpointing,
        )
    return flops


def _with_ratio(budget: Budget, budgets: list[Budget]) -> Budget:
    full = next((each for each in budgets if each.regime == "full" and each.method == budget.method), None)
    if full is None or not full.total_bytes or budget.total_bytes is None or budget.regime == "inference":
        return budget
    return dataclasses.replace(budget, ratio_to_full=budget.total_bytes / full.total_bytes)


def why(error: BaseException) -> str:
    """What stopped a simulation, with the operator where torch names it, on one line."""
    if isinstance(error, (TimeIsUp, Overdue)):
        return str(TimeIsUp())
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return f"the step cannot be simulated: it would really take more than {BUILD_BYTES // 2**30} GiB"
    operator = getattr(error, "func", None)
    if operator is None:
        return f"the step cannot be simulated: {one_line(error)}"
    asks = type(error).__name__ in ("DataDependentOutputException", "DynamicOutputShapeException")
    what = "asks for a value that only weights decide" if asks else "has no fake form"
    return f"the step cannot be simulated: operator {operator} {what}"


def _inputs_note(found: Simulation) -> list[str]:
    """What images and sounds the step was given, which a row of tokens does not say."""
    shown = [
        f"{name} {' x '.join(f'{size:,}' for size in shape)}"
        for name, shape in found.inputs.items()
        if name in ("input_values", "inputs") or len(shape) > 2
    ]
    if not shown:
        return []
    said = f"an image without a size in the config is {PIXELS} wide, a sound without --seq lasts {SECONDS} s"
    return [f"the step's inputs: {', '.join(shown)} ({said})"]


def _kernels_note(way: Way, budgets: list[Budget]) -> tuple[str, ...]:
    if not any(each.method == "simulated" for each in budgets):
        return ()
    kernels = "the CPU's kernels" if way.device == "cpu" else f"the kernels of compute capability {way.capability}"
    return (f"the peak of a step with {kernels}, with all that torch's allocator hands out",)
