"""A training step of any model, run with no memory spent, and what it would have taken."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils._pytree import tree_leaves

from hfcount.deadline import Overdue, TimeIsUp
from hfcount.simulation.depth import Pattern, Repeats, ends_of, pattern_of, shallow_bench
from hfcount.simulation.faking import without_memory
from hfcount.simulation.form import StepForm, form_of, reading
from hfcount.simulation.ledger import Ledger
from hfcount.simulation.peak import BUCKETS, HOST, PHASES, Simulation, curve, entries_of, largest, peaks
from hfcount.simulation.plan import Run, Wished, values_of
from hfcount.simulation.sharding import as_kept, check, divided
from hfcount.simulation.sizes import RANK, ROWS, SYMBOLS, TOKENS, Point, points
from hfcount.simulation.step import run_step
from hfcount.simulation.subject import materialize, skeleton_of
from hfcount.workbench import Workbench

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_WHOLE: tuple[Repeats, ...] = ((),) * 3
"""Traces of a model that is traced with all its layers."""


def simulate(
    bench: Workbench, wished: Wished, run: Run, *, whole: bool = False, seconds: float | None = None
) -> Simulation:
    """The step of `bench`'s model that is wished for, under fake tensors.

    A deep model is extrapolated from a few shallow traces where they prove that it can be; `whole` asks for every
    layer, and so for the curve. Raises TimeIsUp after `seconds`, and what torch raises for an operation that has no
    fake form.
    """
    begun = time.monotonic()
    found = None
    if not whole and _pattern(bench, run) is not None:
        form = step_form(bench, wished, run, free=(), seconds=seconds)
        found = None if form is None else form.at(form.point.values)
    if found is None:
        left = None if seconds is None else max(0.001, seconds - (time.monotonic() - begun))
        found = measured(traced(bench, wished, run, seconds=left))
    return dataclasses.replace(found, seconds=time.monotonic() - begun)


def step_form(
    bench: Workbench,
    wished: Wished,
    run: Run,
    *,
    free: Sequence[str] = SYMBOLS,
    seconds: float | None = None,
) -> StepForm | None:
    """The closed form of the step in the symbols that are `free`, from traces near the values that were asked.

    A single row is a case of its own, for many copies are then views, and so is a single token or rank: each is free
    from two on. None where the traces do not agree. Raises as `simulate` does.
    """
    values = values_of(wished, run)
    check(bench, wished, run)
    free = tuple(each for each in free if values.get(each, 1) > 1)
    pattern = _pattern(bench, run)
    traces = _WHOLE if pattern is None else pattern.traces
    chosen = points(values, free, _sides(bench), most=_most(bench, values[TOKENS]), count=len(traces))
    if chosen is None:
        return None
    begun, readings = time.monotonic(), []
    for repeats, point in zip(traces, chosen, strict=True):
        shallow = bench if pattern is None else shallow_bench(bench, pattern.with_ends(repeats))
        left = None if seconds is None else max(0.001, seconds - (time.monotonic() - begun))
        try:
            ledger = traced(shallow, *_at_point(wished, run, point), seconds=left)
        except (Overdue, TimeIsUp):
            raise
        except Exception:
            if pattern is None:
                raise
            return None  # a config may read a layer by its number, which a shallow copy lacks
        readings.append(reading(ledger, point, pattern, repeats))
    return form_of(readings, chosen[-1], pattern)


def _pattern(bench: Workbench, run: Run) -> Pattern | None:
    """The pattern of layers to extrapolate; None where the step is one whose storages are not a layer's own."""
    if run.sharding is None:
        return pattern_of(bench)
    return ends_of(pattern_of(bench)) if run.sharding.by_layer else None


def _at_point(wished: Wished, run: Run, point: Point) -> tuple[Wished, Run]:
    if wished.options is not None:
        wished = dataclasses.replace(wished, options=dataclasses.replace(wished.options, r=point.values[RANK]))
    return wished, dataclasses.replace(run, batch=point.values[ROWS], seq=point.values[TOKENS])


def _sides(bench: Workbench) -> frozenset[int]:
    """The sides of the model's parameters, the numbers of its config, and the quotients of these (a head's width)."""
    leaves = {each for each in tree_leaves(bench.loaded.config.to_dict()) if type(each) is int and each > 0}
    quotients = {one // other for one in leaves for other in leaves if one % other == 0}
    sides = {side for shape in bench.table["shape"] for side in shape if side} | leaves | quotients
    return frozenset(sides | {side + -side % 32 for side in sides})


def _most(bench: Workbench, tokens: int) -> dict[str, int]:
    """How long a trace may be: within the model's positions, unless what is asked is beyond them too."""
    return {} if bench.positions is None or tokens > bench.positions else {TOKENS: bench.positions}


def measured(ledger: Ledger) -> Simulation:
    """What a ledger says of the step that it watched, simulated or real."""
    table = entries_of(ledger)
    lines = curve(ledger, table)
    by_phase = peaks(lines)
    return Simulation(
        peak=max(by_phase.values(), key=lambda each: each.bytes),
        phases=by_phase,
        highest={name: int(lines[name].max()) for name in BUCKETS},
        inputs=_inputs(table),
        flops={phase: sum(each * times for each, times in ledger.flops[phase].items()) for phase in PHASES},
        largest=largest(lines, table),
        lines=lines,
        traced=(),
        seconds=0.0,
        host_bytes=int(lines[HOST].max()),
    )


def _inputs(table: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    rows = table[(table["kind"] == "inputs") & (table["name"] != "loss")]
    return dict(zip(rows["name"], rows["shape"], strict=True))


def traced(bench: Workbench, wished: Wished, run: Run, *, seconds: float | None = None) -> Ledger:
    """The ledger of the step, without memory."""
    logger.info("running a step of %s without memory", bench.source.model)
    check(bench, wished, run)
    subject = as_kept(skeleton_of(bench, wished), run.sharding)
    with without_memory(run.capability):
        with torch.device("cpu" if run.capability is None else "cuda"):
            materialize(subject)
        with divided(subject, wished, run.sharding) as division:
            return run_step(subject, run, seconds=seconds, warm_up=run.needs_warm_up, division=division)
