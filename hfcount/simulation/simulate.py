"""A training step of any model, run with no memory spent, and what it would have taken."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from hfcount.simulation.depth import REPEATS, Pattern, affine, extrapolated, keyed, pattern_of, with_layers
from hfcount.simulation.faking import without_memory
from hfcount.simulation.ledger import Ledger
from hfcount.simulation.peak import BUCKETS, PHASES, Moment, curve, entries_of, largest, peaks
from hfcount.simulation.step import Run, run_step
from hfcount.simulation.subject import Wished, materialize, skeleton_of
from hfcount.workbench import Workbench

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulated step.

    Attributes:
        peak: its highest moment.
        phases: the highest moment of each phase.
        highest: the most that each bucket held at any moment.
        inputs: the shape of each input.
        flops: floating-point operations of each phase.
        largest: the largest storages alive at the peak: `bytes, bucket, module, name, shape, dtype`.
        lines: the curve of memory, a row for each operation; None where depth was extrapolated.
        traced: how many layers the shallow traces had; () where all layers were traced.
        seconds: how long it took.
    """

    peak: Moment
    phases: Mapping[str, Moment]
    highest: Mapping[str, int]
    inputs: Mapping[str, tuple[int, ...]]
    flops: Mapping[str, int]
    largest: pd.DataFrame
    lines: pd.DataFrame | None
    traced: tuple[int, ...]
    seconds: float


def simulate(
    bench: Workbench, wished: Wished, run: Run, *, whole: bool = False, seconds: float | None = None
) -> Simulation:
    """The step of `bench`'s model that is wished for, under fake tensors.

    A deep model is extrapolated from three shallow traces where they prove that it can be; `whole` asks for every
    layer, and so for the curve. Raises TimeIsUp after `seconds`, and what torch raises for an operation that has no
    fake form.
    """
    begun = time.monotonic()
    pattern = None if whole else pattern_of(bench.model)
    found = None
    if pattern is not None:
        found = _from_shallow(bench, pattern, wished, run, seconds=seconds)
    if found is None:
        left = None if seconds is None else max(0.001, seconds - (time.monotonic() - begun))
        found = measured(traced(bench, wished, run, seconds=left))
    return dataclasses.replace(found, seconds=time.monotonic() - begun)


def measured(ledger: Ledger) -> Simulation:
    """What a ledger says of the step that it watched, simulated or real."""
    table = entries_of(ledger)
    lines = curve(ledger, table)
    flops = {phase: ledger.flops[phase] for phase in PHASES}
    return _answer(lines, largest(lines, table), flops, inputs=_inputs(table), lines=lines)


def _inputs(table: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    rows = table[(table["kind"] == "inputs") & (table["name"] != "loss")]
    return dict(zip(rows["name"], rows["shape"], strict=True))


def traced(bench: Workbench, wished: Wished, run: Run, *, seconds: float | None = None) -> Ledger:
    """The ledger of the step, without memory."""
    logger.info("running a step of %s without memory", bench.source.model)
    subject = skeleton_of(bench, wished)
    with without_memory(run.capability):
        with torch.device("cpu" if run.capability is None else "cuda"):
            materialize(subject)
        return run_step(subject, run, seconds=seconds, warm_up=run.needs_warm_up)


def _answer(
    moments: pd.DataFrame,
    alive: pd.DataFrame,
    flops: Mapping[str, int],
    *,
    inputs: Mapping[str, tuple[int, ...]],
    lines: pd.DataFrame | None = None,
    traced: tuple[int, ...] = (),
) -> Simulation:
    by_phase = peaks(moments)
    return Simulation(
        peak=max(by_phase.values(), key=lambda each: each.bytes),
        phases=by_phase,
        highest={name: int(moments[name].max()) for name in BUCKETS},
        inputs=inputs,
        flops=flops,
        largest=alive,
        lines=lines,
        traced=traced,
        seconds=0.0,
    )


def _from_shallow(
    bench: Workbench, pattern: Pattern, wished: Wished, run: Run, *, seconds: float | None
) -> Simulation | None:
    """The step at full depth from shallow ones; None where they are not affine."""
    traces, flops, alive = [], [], None
    inputs: dict[str, tuple[int, ...]] = {}
    for repeats in REPEATS:
        shallow = bench.with_config(with_layers(bench.loaded.config, pattern.layers(repeats)))
        ledger = traced(shallow, wished, run, seconds=seconds)
        table = entries_of(ledger)
        lines = curve(ledger, table)
        traces.append(keyed(lines, pattern, repeats))
        flops.append([ledger.flops[phase] for phase in PHASES])
        alive, inputs = largest(lines, table), _inputs(table)
    found = extrapolated(traces, pattern.repeats)
    counted = affine(flops, pattern.repeats)
    if found is None or counted is None or alive is None:
        return None
    at_depth = lambda path: pattern.at_depth(path, REPEATS[-1])  # noqa: E731
    return _answer(
        found.assign(module=found["module"].map(at_depth)),
        alive.assign(module=alive["module"].map(at_depth), name=alive["name"].map(at_depth)),
        dict(zip(PHASES, counted.tolist(), strict=True)),
        inputs=inputs,
        traced=tuple(pattern.layers(repeats) for repeats in REPEATS),
    )
