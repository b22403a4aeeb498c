"""Memory over a simulated step as stacked areas: an SVG's polygons, and the bytes at each of its columns."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfcount.reports.html.bars import paint
from hfcount.reports.simulated import TITLES
from hfcount.reports.units import memory_with_unit, regime_title

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 240
WIDTH, HEIGHT = 1000, 300
PHASES = {"forward": "forward pass", "backward": "backward pass", "step": "optimizer's step"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Area:
    """One bucket's area: its title, its colour's class, the points of its polygon, its bytes at each column."""

    name: str
    paint: str
    points: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of the step: its name, where it begins in percent of the width, and its highest total in bytes."""

    name: str
    begins: float
    peak: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One regime's step.

    Attributes:
        name: the regime's.
        areas: from the bottom up.
        phases: in order.
        peak: the highest total in bytes, at `peak_at` percent of the width, `peak_height` percent of the height.
        scale: the bytes at the top of the panel, the same for all panels.
        data: JSON of what the pointer shows: names, and for each column its operation, phase and bytes.
        says: what a listener is told.
    """

    name: str
    areas: tuple[Area, ...]
    phases: tuple[Phase, ...]
    operations: int
    peak: int
    peak_at: float
    peak_height: float
    scale: int
    data: str
    says: str


def curves(lines: Mapping[str, pd.DataFrame]) -> tuple[Curve, ...]:
    """A panel for each regime, all with one scale."""
    if not lines:
        return ()
    highest = max(int(each[list(TITLES)].sum(axis=1).max()) for each in lines.values())
    return tuple(_curve(regime_title(name), each, highest) for name, each in lines.items())


def _curve(name: str, lines: pd.DataFrame, highest: int) -> Curve:
    total = lines[list(TITLES)].sum(axis=1).to_numpy()
    shown = [each for each in TITLES if lines[each].max() > highest / 500]
    at = _columns(total.tolist())
    peak = int(total.argmax())
    scale = round(highest * 1.08) or 1
    phases = _phases(lines["phase"].tolist(), total.tolist())
    data = {
        "names": [TITLES[each] for each in shown],
        "rows": [[row, PHASES.get(str(lines["phase"].iloc[row]), str(lines["phase"].iloc[row]))]
                 + [int(lines[each].iloc[row]) for each in shown] for row in at],
    }  # fmt: skip
    told = "; ".join(f"{each.name} up to {memory_with_unit(each.peak)}" for each in phases)
    return Curve(
        name=name,
        areas=_areas(lines, shown, at, scale),
        phases=phases,
        operations=len(lines),
        peak=int(total[peak]),
        peak_at=round(100 * (next(i for i, row in enumerate(at) if row == peak) + 0.5) / len(at), 2),
        peak_height=round(100 * int(total[peak]) / scale, 2),
        scale=scale,
        data=json.dumps(data, separators=(",", ":")),
        says=f"{name}: memory over {len(lines):,} operations of one step. {told}.",
    )


def _columns(total: Sequence[int]) -> list[int]:
    """The operations that are drawn: all, or of each of COLUMNS equal runs the one with the most memory.

    So the highest moment is always among them, and ten thousand operations take no more room than 240.
    """
    count = len(total)
    if count <= COLUMNS:
        return list(range(count))
    edges = [round(index * count / COLUMNS) for index in range(COLUMNS + 1)]
    return [max(range(a, b), key=lambda row: total[row]) for a, b in itertools.pairwise(edges)]


def _areas(lines: pd.DataFrame, shown: Sequence[str], at: Sequence[int], scale: int) -> tuple[Area, ...]:
    below = [0] * len(at)
    areas = []
    for name in shown:
        above = [before + int(lines[name].iloc[row]) for before, row in zip(below, at, strict=True)]
        areas.append(
            Area(
                name=TITLES[name],
                paint=paint(name, list(TITLES)),
                points=_steps(above, scale) + " " + _steps(below, scale, back=True),
            )
        )
        below = above
    return tuple(areas)


def _steps(values: Sequence[int], scale: int, *, back: bool = False) -> str:
    """The points of a line of steps, each value over its own column; `back` from right to left."""
    points = []
    for index, value in enumerate(values):
        y = round(HEIGHT * (1 - value / scale), 1)
        points += [(round(WIDTH * index / len(values), 1), y), (round(WIDTH * (index + 1) / len(values), 1), y)]
    return " ".join(f"{x:g},{y:g}" for x, y in (reversed(points) if back else points))


def _phases(names: Sequence[str], totals: Sequence[int]) -> tuple[Phase, ...]:
    found = []
    for name in dict.fromkeys(names):
        rows = [index for index, each in enumerate(names) if each == name]
        found.append(
            Phase(
                name=PHASES.get(name, name),
                begins=round(100 * rows[0] / len(names), 2),
                peak=max(totals[row] for row in rows),
            )
        )
    return tuple(found)
