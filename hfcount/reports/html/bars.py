"""Stacked bars: what each row holds, how long each part is, and what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from hfcount.components import COMPONENTS
from hfcount.memory_answer import BUCKETS, Memory
from hfcount.parts import Part
from hfcount.reports.figures import PALETTE, rows_of_groups
from hfcount.reports.units import exact, label, memory_with_unit, regime_title, share, short
from hfcount.reports.verdicts import COLORS
from hfcount.result import Component

TITLES = {
    "weights": "weights", "master": "fp32 master copy", "gradients": "gradients", "optimizer": "optimizer state",
    "activations": "activations", "communication": "gathered", "temporary": "temporary", "kv_cache": "KV cache",
}  # fmt: skip
SHADES = ((0, 0.0), (0, 0.45), (255, 0.55))
"""(level, how far towards it) of a colour's second and third use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a bar: its name, its colour, how long it is, its figure in words, and what is said of it."""

    name: str
    colour: str
    value: int | float
    figure: str
    tip: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A bar: its name, its figure in words, and its parts."""

    name: str
    figure: str
    segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """Bars with one scale; `legend` has (name, colour) of each part that occurs, `says` what a listener is told."""

    rows: tuple[Row, ...]
    legend: tuple[tuple[str, str], ...]
    says: str

    @property
    def values(self) -> dict[str, Any]:
        """The tables of `charts/bars.vg.json`: a row a bar, and a row a part with the number of its bar."""
        return {
            "rows": [{"row": index, "name": row.name, "figure": row.figure} for index, row in enumerate(self.rows)],
            "parts": [
                {"row": index, **dataclasses.asdict(part)}
                for index, row in enumerate(self.rows)
                for part in row.segments
                if part.value
            ],
        }


def colour(name: str, order: Sequence[str]) -> str:
    """A part's colour: one of the palette's, darker where the palette begins again, then lighter."""
    index = order.index(name) if name in order else len(order)
    turn, place = divmod(index, len(PALETTE))
    towards, amount = SHADES[turn % len(SHADES)]
    levels = (int(PALETTE[place][at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(level + (towards - level) * amount):02X}" for level in levels)


def component_chart(found: Sequence[Component]) -> Chart:
    """A bar for each component."""
    rows = [
        Row(
            name=label(each.component),
            figure=f"{exact(each.parameters)} · {share(each.share)}",
            segments=(_component(each.component, each.parameters, share(each.share)),),
        )
        for each in found
    ]
    return Chart(rows=tuple(rows), legend=(), says=f"Parameters by component: {_said(rows)}.")


def models_chart(models: Sequence[tuple[str, Sequence[Component]]], *, shares: bool = False) -> Chart:
    """A bar for each model, by component, all on one scale; with `shares` each as long as the other."""
    rows = []
    for name, found in models:
        parts = [_component(each.component, each.parameters, share(each.share)) for each in found]
        if shares:
            parts = [
                dataclasses.replace(part, value=each.share, figure=share(each.share))
                for part, each in zip(parts, found, strict=True)
            ]
        total = sum(each.parameters for each in found)
        rows.append(Row(name=name, figure=f"{exact(total)} ({short(total)})", segments=tuple(parts)))
    return Chart(
        rows=tuple(rows),
        legend=_components({each.component for _, found in models for each in found}),
        says=f"Parameters by model: {_said(rows)}.",
    )


def layer_chart(parts: Iterable[Part]) -> Chart:
    """A bar for what is outside the layers and for each layer, or for each run of equal ones, by component."""
    grid = rows_of_groups(parts)
    whole = int(grid.to_numpy().sum())
    rows = []
    for name, values in grid.iterrows():
        total = int(values.sum())
        segments = tuple(
            _component(str(each), int(value), f"{share(int(value) / total)} of the row")
            for each, value in values.items()
            if value
        )
        rows.append(Row(name=str(name), figure=f"{exact(total)} · {share(total / whole)}", segments=segments))
    present = {str(each) for each in grid.columns if grid[each].any()}
    return Chart(rows=tuple(rows), legend=_components(present), says=f"Parameters by layer: {_said(rows)}.")


def _component(name: str, parameters: int, of: str) -> Segment:
    return Segment(
        name=label(name),
        colour=colour(name, COMPONENTS),
        value=parameters,
        figure=exact(parameters),
        tip=f"{label(name)}: {exact(parameters)} ({short(parameters)}), {of}",
    )


def _components(present: Set[str]) -> tuple[tuple[str, str], ...]:
    return tuple((label(each), colour(each, COMPONENTS)) for each in COMPONENTS if each in present)


def memory_chart(found: Memory) -> Chart:
    """A bar for each regime, by bucket."""
    sized = [each for each in found.budgets if each.total_bytes]
    rows = [
        Row(
            name=regime_title(each.name),
            figure=memory_with_unit(each.total_bytes or 0),
            segments=tuple(_bucket(name, getattr(each, f"{name}_bytes") or 0) for name in BUCKETS),
        )
        for each in sized
    ]
    legend = tuple(
        (TITLES[name], colour(name, BUCKETS))
        for name in BUCKETS
        if any(getattr(each, f"{name}_bytes") for each in sized)
    )
    return Chart(rows=tuple(rows), legend=legend, says=f"Memory by regime: {_said(rows)}.")


def _bucket(name: str, size: int) -> Segment:
    return Segment(
        name=TITLES[name],
        colour=colour(name, BUCKETS),
        value=size,
        figure=memory_with_unit(size),
        tip=f"{TITLES[name]}: {memory_with_unit(size)} ({exact(size)} bytes)",
    )


def verdict_chart(kinds: Mapping[str, Mapping[str, int]]) -> Chart:
    """A bar for each kind of claim, by verdict."""
    rows = [
        Row(
            name=kind,
            figure=exact(sum(found.values())),
            segments=tuple(
                Segment(
                    name=each,
                    colour=paint,
                    value=found.get(each, 0),
                    figure=exact(found.get(each, 0)),
                    tip=f"{each}: {found.get(each, 0):,}",
                )
                for each, paint in COLORS.items()
            ),
        )
        for kind, found in kinds.items()
    ]
    legend = tuple((each, paint) for each, paint in COLORS.items() if any(found.get(each) for found in kinds.values()))
    return Chart(rows=tuple(rows), legend=legend, says=f"Findings by what is claimed: {_said(rows)}.")


def _said(rows: Sequence[Row]) -> str:
    return "; ".join(f"{each.name} {each.figure}" for each in rows)
