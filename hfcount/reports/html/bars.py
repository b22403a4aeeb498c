"""Stacked bars as boxes: what each row holds, how wide each part is, and what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from hfcount.components import COMPONENTS
from hfcount.memory_answer import BUCKETS, Memory
from hfcount.parts import Part
from hfcount.reports.figures import HATCHES, PALETTE, rows_of_groups
from hfcount.reports.units import exact, label, memory_with_unit, regime_title, share, short
from hfcount.result import Component

TITLES = {
    "weights": "weights", "master": "fp32 master copy", "gradients": "gradients", "optimizer": "optimizer state",
    "activations": "activations", "kv_cache": "KV cache",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a bar: its name, its colour's class, its width in percent of the widest bar, and what it says."""

    name: str
    paint: str
    width: float
    tip: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A bar: its name, its figure in words, and its parts."""

    name: str
    figure: str
    segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """Bars with one scale; `legend` has (name, paint) of each part that occurs, `says` what a listener is told."""

    rows: tuple[Row, ...]
    legend: tuple[tuple[str, str], ...]
    says: str


def paint(name: str, order: Sequence[str]) -> str:
    """The classes of a part's colour: one of the palette's, hatched where the palette begins again."""
    index = order.index(name) if name in order else len(order)
    hatch = index // len(PALETTE) % len(HATCHES)
    return f"c{index % len(PALETTE)}" + (f" h{hatch}" if hatch else "")


def component_chart(found: Sequence[Component]) -> Chart:
    """A bar for each component."""
    most = max((each.parameters for each in found), default=0) or 1
    rows = [
        Row(
            name=label(each.component),
            figure=f"{exact(each.parameters)} · {share(each.share)}",
            segments=(_component(each.component, each.parameters, most, share(each.share)),),
        )
        for each in found
    ]
    return Chart(rows=tuple(rows), legend=(), says=f"Parameters by component: {_said(rows)}.")


def models_chart(models: Sequence[tuple[str, Sequence[Component]]], *, shares: bool = False) -> Chart:
    """A bar for each model, by component, all on one scale; with `shares` each as long as the other."""
    totals = [sum(each.parameters for each in found) for _, found in models]
    most = max(totals, default=0) or 1
    rows = [
        Row(
            name=name,
            figure=f"{exact(total)} ({short(total)})",
            segments=tuple(
                _component(each.component, each.parameters, total if shares else most, share(each.share))
                for each in found
            ),
        )
        for (name, found), total in zip(models, totals, strict=True)
    ]
    present = {each.component for _, found in models for each in found}
    legend = tuple((label(each), paint(each, COMPONENTS)) for each in COMPONENTS if each in present)
    return Chart(rows=tuple(rows), legend=legend, says=f"Parameters by model: {_said(rows)}.")


def layer_chart(parts: Iterable[Part]) -> Chart:
    """A bar for what is outside the layers and for each layer, or for each run of equal ones, by component."""
    grid = rows_of_groups(parts)
    order = [each for each in COMPONENTS if each in grid.columns and grid[each].any()]
    totals = grid.sum(axis=1)
    most, whole = int(totals.max()), int(totals.sum())
    rows = []
    for index, (name, values) in enumerate(grid.iterrows()):
        figure = int(totals.iloc[index])
        kept = {each: int(values[each]) for each in order if int(values[each])}
        segments = tuple(
            _component(each, value, most, f"{share(value / figure)} of the row") for each, value in kept.items()
        )
        rows.append(Row(name=str(name), figure=f"{exact(figure)} · {share(figure / whole)}", segments=segments))
    legend = tuple((label(each), paint(each, COMPONENTS)) for each in order)
    return Chart(rows=tuple(rows), legend=legend, says=f"Parameters by layer: {_said(rows)}.")


def _component(name: str, value: int, most: int, of: str) -> Segment:
    tip = f"{label(name)}: {exact(value)} ({short(value)}), {of}"
    return Segment(name=label(name), paint=paint(name, COMPONENTS), width=round(100 * value / most, 3), tip=tip)


def memory_chart(found: Memory) -> Chart:
    """A bar for each regime, by bucket."""
    sized = [each for each in found.budgets if each.total_bytes]
    most = max((each.total_bytes or 0 for each in sized), default=0) or 1
    rows = [
        Row(
            name=regime_title(each.name),
            figure=memory_with_unit(each.total_bytes or 0),
            segments=tuple(_bucket(name, getattr(each, f"{name}_bytes") or 0, most) for name in BUCKETS),
        )
        for each in sized
    ]
    legend = tuple(
        (TITLES[name], paint(name, BUCKETS))
        for name in BUCKETS
        if any(getattr(each, f"{name}_bytes") for each in sized)
    )
    return Chart(rows=tuple(rows), legend=legend, says=f"Memory by regime: {_said(rows)}.")


def _bucket(name: str, value: int, most: int) -> Segment:
    tip = f"{TITLES[name]}: {memory_with_unit(value)} ({exact(value)} bytes)"
    return Segment(name=TITLES[name], paint=paint(name, BUCKETS), width=round(100 * value / most, 3), tip=tip)


def verdict_chart(kinds: Mapping[str, Mapping[str, int]], verdicts: Sequence[str]) -> Chart:
    """A bar for each kind of claim, by verdict."""
    most = max((sum(each.values()) for each in kinds.values()), default=0) or 1
    rows = [
        Row(
            name=kind,
            figure=exact(sum(found.values())),
            segments=tuple(
                Segment(
                    name=each,
                    paint=f"v-{each}",
                    width=round(100 * found[each] / most, 3),
                    tip=f"{each}: {found[each]:,}",
                )
                for each in verdicts
                if found.get(each)
            ),
        )
        for kind, found in kinds.items()
    ]
    legend = tuple((each, f"v-{each}") for each in verdicts if any(found.get(each) for found in kinds.values()))
    return Chart(rows=tuple(rows), legend=legend, says=f"Findings by what is claimed: {_said(rows)}.")


def _said(rows: Sequence[Row]) -> str:
    return "; ".join(f"{each.name} {each.figure}" for each in rows)
