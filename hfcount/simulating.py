"""Simulated budgets: each regime's step is run without memory, and stands beside its closed form."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from hfcount.budget.recipes import recipe
from hfcount.budgeting import Asked, Way, memory_of
from hfcount.classes import text_config
from hfcount.deadline import Overdue
from hfcount.errors import BadInput, one_line
from hfcount.inventory import tied_head_size
from hfcount.limits import BUILD_BYTES, memory_limit
from hfcount.lora import LoraOptions
from hfcount.memory_answer import Budget, Comparison, Memory
from hfcount.simulation.flops import matrix_parameters, rule
from hfcount.simulation.ledger import TimeIsUp
from hfcount.simulation.media import PIXELS, SECONDS
from hfcount.simulation.simulate import Simulation, simulate
from hfcount.simulation.step import Run
from hfcount.simulation.subject import Wished
from hfcount.workbench import Workbench


def simulated_memory(
    bench: Workbench, way: Way, asked: Asked, *, curves: bool = False, seconds: float | None = None
) -> Memory:
    """The budgets of `memory_of`, each with the figures of its simulated step where it can be simulated.

    Where an operation has no fake form, or `seconds` are over, the closed form stays, and a note says so. `curves` has
    every layer run, so that the curve of memory is known.
    """
    if way.sharding != "none":
        raise BadInput(f"--sharding {way.sharding}: a simulated step is one device's whole step; leave out --simulate")
    closed = memory_of(bench, way, asked)
    way = dataclasses.replace(way, seq=closed.seq)
    until = None if seconds is None else time.monotonic() + seconds
    budgets: list[Budget] = []
    comparisons: list[Comparison] = []
    notes: list[str] = []
    lines: dict[str, Any] = {}
    for budget in closed.budgets:
        if budget.total_bytes is None or budget.regime == "inference":
            budgets.append(budget)
            continue
        left = None if until is None else max(0.001, until - time.monotonic())
        try:
            with memory_limit():
                found = simulate(bench, wished(way, budget, asked), run_of(way), whole=curves, seconds=left)
        except Exception as error:  # what torch and the models raise for what has no fake form
            budgets.append(budget)
            notes.append(f"{budget.name}: the closed form, since {why(error)}")
            continue
        budgets.append(_with_peak(bench, way, budget, found))
        comparisons += compared(way, budget, found)
        notes += [each for each in _inputs_note(found) if each not in notes]
        if found.lines is not None:
            lines[budget.name] = found.lines
    rated = tuple(_with_ratio(each, budgets) for each in budgets)
    return dataclasses.replace(
        closed,
        budgets=rated,
        full=next((each for each in rated if each.regime == "full"), closed.full),
        comparisons=tuple(comparisons),
        curves=lines,
        notes=(*_without_peak_note(closed.notes), *notes, *(_kernels_note(way) if comparisons else ())),
    )


def wished(way: Way, budget: Budget, asked: Asked) -> Wished:
    """What the simulation is asked for by a budget."""
    options = None
    if budget.r is not None:
        options = LoraOptions(r=budget.r, targets=asked.targets if asked.targets != "default" else budget.targets)
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
        keeps_outputs=way.keeps_outputs,
        zeroes_gradients=way.zero_grad == "to-zero",
    )


def _capability(way: Way) -> tuple[int, int]:
    major, minor = way.capability.split(".")
    return int(major), int(minor)


def compared(way: Way, closed: Budget, found: Simulation) -> list[Comparison]:
    """Each bucket's most in the simulated step beside the closed form for the same kernels.

    The same things are compared: on the CPU with the optimizer's state its counters; of the activations what is kept
    at the end of the forward pass (with checkpointing not the layer that is run again), without the token ids that an
    embedding keeps, which belong to the batch.
    """
    assert way.seq is not None
    ids = 8 * way.batch * way.seq if closed.r is None and closed.activations_exact else 0
    figures = {
        "weights": closed.weights_bytes or 0,
        "master": closed.master_bytes or 0,
        "gradients": closed.gradients_bytes or 0,
        "optimizer": (closed.optimizer_bytes or 0) + (closed.scalars_bytes if way.device == "cpu" else 0),
        "activations": (closed.activations_kept_bytes or 0) - ids,
    }
    return [
        Comparison(
            regime=closed.name,
            bucket=bucket,
            closed_bytes=figure,
            simulated_bytes=found.highest[bucket],
            exact=bucket != "activations" or closed.activations_exact is not False,
            reason=_reason(way, closed, bucket, found.highest[bucket] - figure)
            if figure != found.highest[bucket]
            else "",
        )
        for bucket, figure in figures.items()
    ]


def _reason(way: Way, closed: Budget, bucket: str, more: int) -> str:
    """Why a simulation holds `more` bytes than the closed form, where that is known; "" where not, and for 0."""
    if not more:
        return ""
    precision = way.full if closed.r is None else way.adapters
    if bucket == "optimizer" and precision.moments != precision.trained and not precision.master:
        return f"the recipe's moments are {precision.moments}, torch's AdamW keeps them in its parameters' type"
    if bucket == "weights" and closed.regime == "qlora":
        return "bitsandbytes casts the biases of its layers to the type of what comes in"
    if bucket == "activations" and way.gradient_checkpointing:
        return "what else the layers were called with (rotary tables, positions) stays for their second run"
    if bucket == "activations" and closed.activations_exact is False:
        return "the closed form is an estimate here"
    if bucket == "activations" and 0 < more < (closed.activations_kept_bytes or 0) / 1000:
        return "the closed form leaves out attention's seeds and autocast's fp32 copies of norms' weights"
    return ""


def _with_peak(bench: Workbench, way: Way, budget: Budget, found: Simulation) -> Budget:
    """The figures at the peak of the simulated step; what stands there for a moment is among the activations."""
    at = found.peak.buckets
    passing = at["temporary"] + at["inputs"] + at["buffers"] + at["workspace"] + at["rounding"]
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
    return dataclasses.replace(
        budget,
        weights_bytes=at["weights"],
        master_bytes=at["master"],
        gradients_bytes=at["gradients"],
        optimizer_bytes=at["optimizer"],
        activations_bytes=at["activations"] + passing,
        temporary_bytes=at["temporary"],
        buffers_bytes=0,
        total_bytes=found.peak.bytes,
        method="simulated",
        peak_phase=found.peak.phase,
        phases={phase: moment.bytes for phase, moment in found.phases.items()},
        activations_formula=None,
        activations_symbols={},
        flops=flops,
        largest=tuple({str(key): value for key, value in row.items()} for row in found.largest.to_dict("records")),
        simulated_seconds=found.seconds,
        activations_exact=None if budget.activations_exact else False,
    )


def _with_ratio(budget: Budget, budgets: list[Budget]) -> Budget:
    full = next((each for each in budgets if each.regime == "full" and each.method == "simulated"), None)
    if budget.method != "simulated":
        return budget
    ratio = None if full is None or not full.total_bytes else (budget.total_bytes or 0) / full.total_bytes
    return dataclasses.replace(budget, ratio_to_full=ratio)


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


def _without_peak_note(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(note for note in notes if not note.startswith("a real step's peak is higher"))


def _kernels_note(way: Way) -> tuple[str, ...]:
    kernels = "the CPU's kernels" if way.device == "cpu" else f"the kernels of compute capability {way.capability}"
    return (f"simulated with {kernels} ({recipe(way.precision).name})",)
