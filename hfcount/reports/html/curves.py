"""Memory over a simulated step: the bytes of each bucket at the moments that are drawn, its phases and its peak."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.reports.html.bars import colour
from hfcount.reports.simulated import TITLES
from hfcount.reports.units import memory_with_unit, regime_title

if TYPE_CHECKING:
    import pandas as pd

MOMENTS = 1000
PHASES = {"forward": "forward pass", "backward": "backward pass", "step": "optimizer's step"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of the step: its name, its first operation, the one after its last, its highest total in bytes."""

    name: str
    begins: int
    ends: int
    peak: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One regime's step.

    Attributes:
        name: the regime's.
        legend: (title, colour) of each bucket that is drawn, from the bottom up.
        phases: in order.
        operations: how many there are.
        peak: the highest total in bytes.
        values: what `charts/timeline.vg.json` draws: points of (operation, bytes of each bucket), and the rest.
        says: what a listener is told.
    """

    name: str
    legend: tuple[tuple[str, str], ...]
    phases: tuple[Phase, ...]
    operations: int
    peak: int
    values: Mapping[str, Any]
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
    legend = tuple((TITLES[each], colour(each, list(TITLES))) for each in shown)
    peak = int(total.argmax())
    phases = _phases(lines["phase"].tolist(), total.tolist())
    told = "; ".join(f"{each.name} up to {memory_with_unit(each.peak)}" for each in phases)
    return Curve(
        name=name,
        legend=legend,
        phases=phases,
        operations=len(lines),
        peak=int(total[peak]),
        values={
            "names": [title for title, _ in legend],
            "colours": [paint for _, paint in legend],
            "points": _points(lines[shown], total.tolist()),
            "phases": [{"name": each.name, "begins": each.begins, "ends": each.ends} for each in phases],
            "operations": len(lines),
            "peak": {"at": peak, "bytes": int(total[peak])},
            "highest": highest,
        },
        says=f"{name}: memory over {len(lines):,} operations of one step. {told}.",
    )


def _points(lines: pd.DataFrame, total: Sequence[int]) -> list[list[int]]:
    """[operation, bytes of each bucket] of all operations, or of each of MOMENTS equal runs the one with the most.

    So the highest moment is always among them, and ten thousand operations take no more room than a thousand. Each is
    drawn up to the next, and the last is drawn twice, for its end.
    """
    count = len(total)
    at: Sequence[int] = range(count)
    if count > MOMENTS:
        edges = [round(index * count / MOMENTS) for index in range(MOMENTS + 1)]
        at = [max(range(a, b), key=lambda row: total[row]) for a, b in itertools.pairwise(edges)]
    found = [[row, *map(int, values)] for row, values in zip(at, lines.iloc[list(at)].to_numpy(), strict=True)]
    return [*found, [count, *found[-1][1:]]]


def _phases(names: Sequence[str], totals: Sequence[int]) -> tuple[Phase, ...]:
    found = []
    for name in dict.fromkeys(names):
        rows = [index for index, each in enumerate(names) if each == name]
        peak = max(totals[row] for row in rows)
        found.append(Phase(name=PHASES.get(name, name), begins=rows[0], ends=rows[-1] + 1, peak=peak))
    return tuple(found)
