"""`memory` of a model on the bench: the figures are those at the peak of each regime's step, run without memory."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from hfcount.budget.estimate import lab_rule
from hfcount.budget.recipes import Precision, recipe
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
from hfcount.deadline import Overdue, after_deadline
from hfcount.errors import BadInput, HfcountError
from hfcount.facts import facts_of, lora_of
from hfcount.limits import memory_limit
from hfcount.lora import LoraOptions
from hfcount.memory_answer import Budget, Comparison, Memory
from hfcount.records import kept
from hfcount.result import PACKAGES, versions
from hfcount.simulation.flops_rule import rule
from hfcount.simulation.peak import Simulation
from hfcount.simulation.plan import PIXELS, SECONDS, NoFlash, Run, Sharding, Wished, kernels_of
from hfcount.simulation.sizes import RANK, ROWS, TOKENS
from hfcount.simulation.steps import steps_of, why
from hfcount.sources.source import Source
from hfcount.workbench import Workbench


@contextlib.contextmanager
def bench_of(source: Source, asked: Asked, class_name: str | None, trust_remote_code: bool) -> Iterator[Workbench]:
    """Return a bench as a context, with what is on record of the model; code of a repository has no record."""
    with contextlib.nullcontext() if trust_remote_code else kept(source, asked.settings, class_name) as record:
        yield Workbench(
            source, asked.settings, class_name=class_name, trust_remote_code=trust_remote_code, record=record
        )


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
    "closed-form". A way to shard that is not simulated is refused, and FlashAttention that cannot run. `detail` holds
    the lasting buckets against their closed forms; `curves` has every layer run, so that the curve of memory is known.
    """
    way = dataclasses.replace(way, seq=way.seq or usual_seq(bench))
    facts = facts_of(bench)
    until = None if seconds is None else time.monotonic() + seconds
    budgets: list[Budget] = []
    comparisons: list[Comparison] = []
    notes: list[str] = []
    lines: dict[str, Any] = {}
    inputs: dict[str, tuple[int, ...]] = {}
    for regime, rank in _rows(asked):
        if regime == "inference":
            budgets.append(dataclasses.replace(inference_budget(bench, way), base_dtype=way.adapters.base))
            continue
        budget = _ruled(bench, way, described(bench, way, regime, rank, asked.targets))
        if budget.reason is not None:
            budgets.append(budget)
            continue
        found = step = None
        try:
            if method == "simulated":
                with memory_limit():
                    step = _step(bench, way, budget, asked, whole=curves, seconds=_left(until))
                    other, reason = _other_peak(bench, way, budget, asked, seconds=_left(until))
                    found = with_peaks(bench, way, budget, asked, step, other)
                    notes += [each for each in reason if each not in notes]
        except NoFlash:
            raise
        except HfcountError as error:
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
        inputs = inputs or dict(step.inputs)
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
        model_class=facts.model_class,
        model_type=facts.model_type,
        source=bench.source,
        budgets=tuple(_with_ratio(each, budgets) for each in budgets),
        recipe=recipe(way.precision).summary,
        warnings=warnings_on(bench, way),
        notes=(
            *(f"a variant: {setting}" for setting in asked.settings),
            *bench.source.notes,
            *facts.notes,
            *habits_of(way, budgets),
            *notes_on(bench, way, budgets, asked.targets),
            *notes,
            *_kernels_note(way, budgets),
        ),
        versions=versions((*PACKAGES, "bitsandbytes")),
        inputs=inputs or _inputs(bench, way),
        encoder_decoder=facts.encoder_decoder,
        comparisons=tuple(comparisons),
        curves=lines,
        **{each.name: getattr(way, each.name) for each in dataclasses.fields(way) if each.name not in NOT_SHOWN},
    )


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.001, until - time.monotonic())


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
    facts = facts_of(bench)
    rule = lab_rule(facts.width, facts.layers, batch=way.batch, seq=way.seq)
    precision = _precision(way, budget)
    return dataclasses.replace(
        budget,
        activations_rule_bytes=rule,
        base_dtype=precision.base,
        autocast=precision.autocast,
        grad_scaler=run_of(way).scales(precision),
    )


def _precision(way: Way, budget: Budget) -> Precision:
    return way.full if budget.r is None else way.adapters


def habits_of(way: Way, budgets: Sequence[Budget]) -> list[str]:
    """Return a note on each habit that is neither the recipe's nor, of the loop, the Trainer's."""
    usual = dataclasses.replace(way, grad_scaler=None, autocast=None, base_dtype=None)
    notes: dict[str, None] = {}
    for each in budgets:
        if each.reason is not None or each.regime == "inference":
            continue
        own, other = _precision(way, each), _precision(usual, each)
        if own.base != other.base:
            notes[f"the frozen base is loaded in {own.base}; the recipe has {other.base}"] = None
        if own.autocast != other.autocast:
            there, then = (f"autocast in {kind}" if kind else "no autocast" for kind in (own.autocast, other.autocast))
            notes[f"{there}; the recipe has {then}"] = None
        if each.grad_scaler != run_of(usual).scales(own):
            scaled = "a GradScaler scales the loss" if each.grad_scaler else "no GradScaler scales the loss"
            notes[f"{scaled}; transformers' Trainer has one where autocast computes in fp16"] = None
    return list(notes)


def _step(
    bench: Workbench, way: Way, budget: Budget, asked: Asked, *, whole: bool = False, seconds: float | None = None
) -> Simulation:
    return steps_of(bench).at(wished(bench, way, budget, asked), run_of(way), whole=whole, seconds=seconds)


def peak_bytes(bench: Workbench, way: Way, budget: Budget, asked: Asked) -> int:
    """Return the peak of a regime's step. Raises as `Steps.at` does where it cannot be simulated."""
    return _step(bench, way, budget, asked).peak.bytes


def needed_bytes(bench: Workbench, way: Way, budget: Budget, asked: Asked) -> int:
    """Return what a regime of this rank takes in another way: by its method, with what stands beside the buckets."""
    if budget.regime == "inference":
        return inference_budget(bench, way).total_bytes or 0
    if budget.method == "simulated":
        return peak_bytes(bench, way, budget, asked)
    return (lasting_budget(bench, way, budget, asked.targets).total_bytes or 0) + facts_of(bench).buffers_bytes


def wished(bench: Workbench, way: Way, budget: Budget, asked: Asked) -> Wished:
    """What the simulation is asked for by a budget."""
    options = None
    if budget.r is not None:
        options = LoraOptions(r=budget.r, targets=lora_of(bench, budget.r, asked.targets).given)
    precision = _precision(way, budget)
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
        capability=kernels_of(way.capability) if way.device == "cuda" else None,
        optimizer=way.optimizer,
        stepping=way.stepping,
        accumulation=way.accumulation,
        sharding=None if way.sharding == "none" else Sharding(way.sharding, way.devices, offload=way.offload),
        keeps_outputs=way.keeps_outputs,
        grad_scaler=way.grad_scaler,
        zeroes_gradients=way.zero_grad == "to-zero",
    )


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
    precision = _precision(way, closed)
    if bucket == "optimizer" and precision.moments != precision.trained and not precision.master:
        return f"the recipe's moments are {precision.moments}, torch's AdamW keeps them in its parameters' type"
    if bucket == "weights" and closed.regime == "qlora":
        return "bitsandbytes casts the biases of its layers to the type of what comes in"
    return ""


def _other_peak(
    bench: Workbench, way: Way, budget: Budget, asked: Asked, *, seconds: float | None
) -> tuple[int | None, list[str]]:
    """Return the peak with gradient checkpointing where it was not asked, and without it where it was; or why not."""
    other = dataclasses.replace(way, gradient_checkpointing=not way.gradient_checkpointing)
    try:
        return _step(bench, other, budget, asked, seconds=seconds).peak.bytes, []
    except Overdue:
        raise
    except HfcountError as error:
        kind = "with" if other.gradient_checkpointing else "without"
        return None, [f"no peak {kind} gradient checkpointing, since {why(error)}"]


def with_peaks(
    bench: Workbench, way: Way, budget: Budget, asked: Asked, found: Simulation, other: int | None
) -> Budget:
    """Return the budget with the figures at the peak of its step; `other` is the peak with checkpointing changed."""
    at = found.peak.buckets
    passing = {name: at[name] for name in ("temporary", "inputs", "buffers", "workspace", "rounding")}
    form = steps_of(bench).form(wished(bench, way, budget, asked), run_of(way))
    peaks = {way.gradient_checkpointing: found.peak.bytes, not way.gradient_checkpointing: other}
    return dataclasses.replace(
        budget,
        activations_rule_bytes=budget.activations_rule_bytes if "input_ids" in found.inputs else None,
        weights_bytes=at["weights"],
        master_bytes=at["master"],
        gradients_bytes=at["gradients"],
        optimizer_bytes=at["optimizer"],
        activations_bytes=at["activations"],
        communication_bytes=at["communication"],
        temporary_bytes=sum(passing.values()),
        temporary=passing,
        total_bytes=found.peak.bytes,
        peak_plain_bytes=peaks[False],
        peak_checkpointing_bytes=peaks[True],
        method="simulated",
        peak_phase=found.peak.phase,
        phases={phase: moment.bytes for phase, moment in found.phases.items()},
        host_bytes=found.host_bytes,
        highest=dict(found.highest),
        form=None if form is None else form.text(_values(way, budget)),
        flops=_flops(bench, way, budget, found),
        largest=found.largest,
        simulated_seconds=found.seconds,
    )


def _values(way: Way, budget: Budget) -> dict[str, int]:
    assert way.seq is not None
    return {ROWS: way.batch, TOKENS: way.seq, RANK: budget.r or 0}


def _flops(bench: Workbench, way: Way, budget: Budget, found: Simulation) -> dict[str, int]:
    """The operations of a step, and what the usual rule says of the whole."""
    assert way.seq is not None
    facts = facts_of(bench)
    tokens = way.batch * way.seq * way.accumulation
    whole = sum(found.flops.values())
    flops = {"forward": found.flops["forward"], "backward": found.flops["backward"], "whole": whole}
    if "input_ids" not in found.inputs:  # the rule is of tokens
        return flops
    flops["per_token"] = round(whole / tokens)
    if facts.layers is not None and facts.width is not None:
        flops["rule"] = rule(
            matrices=facts.matrices,
            adapters=(budget.trainable or 0) if budget.r is not None else 0,
            tokens=tokens,
            layers=facts.layers,
            width=facts.width,
            seq=way.seq,
            twice=way.gradient_checkpointing,
        )
    return flops


def _with_ratio(budget: Budget, budgets: list[Budget]) -> Budget:
    full = next((each for each in budgets if each.regime == "full" and each.method == budget.method), None)
    if full is None or not full.total_bytes or budget.total_bytes is None or budget.regime == "inference":
        return budget
    return dataclasses.replace(budget, ratio_to_full=budget.total_bytes / full.total_bytes)


def _inputs(bench: Workbench, way: Way) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a step would be given, where none was run."""

    def find() -> dict[str, tuple[int, ...]]:
        from hfcount.simulation.inputs import input_shapes

        assert way.seq is not None
        return input_shapes(bench.model, batch=way.batch, seq=way.seq)

    found = bench.record.answer(f"inputs {way.batch} {way.seq}", find)
    return {name: tuple(shape) for name, shape in found.items()}


def _inputs_note(found: Simulation) -> list[str]:
    """How large an image or a sound is where nothing says it."""
    if not any(name in ("input_values", "inputs") or len(shape) > 2 for name, shape in found.inputs.items()):
        return []
    return [f"an image without a size in the config is {PIXELS} wide, a sound without --seq lasts {SECONDS} s"]


def _kernels_note(way: Way, budgets: list[Budget]) -> tuple[str, ...]:
    if not any(each.method == "simulated" for each in budgets):
        return ()
    kernels = "the CPU's kernels" if way.device == "cpu" else f"the kernels of compute capability {way.capability}"
    return (f"the peak of a step with {kernels}, with all that torch's allocator hands out",)
