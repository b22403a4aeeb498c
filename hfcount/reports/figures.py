"""Charts: where the parameter mass lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcount.breakdown import OUTSIDE, component_by_layer
from hfcount.components import COMPONENTS
from hfcount.errors import BadInput
from hfcount.parts import Part
from hfcount.reports.units import exact, label, share, tick

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's eight colours, told apart with any kind of colour blindness. A component has the same colour in every
# chart; those beyond the first eight share a colour and differ in hatching.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
HATCHES = ("", "///", "...", "xxx")

SUFFIXES = (".png", ".svg", ".pdf")
MOST_ROWS = 16


def rows_of_groups(parts: Iterable[Part]) -> pd.DataFrame:
    """Parameters by group (rows) and component (columns): what is outside the layers one row each, then the layers.

    Layers that follow one another with equal parts become one row ("model.layers.0-31", their sum), so that a
    model of a hundred layers reads like one of two.
    """
    grid = component_by_layer(parts)
    groups: list[tuple[str, Any]] = []
    if OUTSIDE in grid.index:
        for component, parameters in grid.loc[OUTSIDE].items():
            if parameters:
                only = grid.loc[OUTSIDE].where(grid.columns == component, 0)
                groups.append((label(str(component)), only))
    layers = grid.drop(index=OUTSIDE, errors="ignore")
    groups += (
        _runs(layers)
        if len(groups) + len(layers) > MOST_ROWS
        else [(str(name), row) for name, row in layers.iterrows()]
    )
    if len(groups) > 3 * MOST_ROWS:
        groups = groups[: len(groups) - len(_runs(layers))] + _stacks(layers)
    return _frame(groups, list(grid.columns))


def _frame(groups: list[tuple[str, Any]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([row for _, row in groups], index=[name for name, _ in groups], columns=columns).astype(
        "int64"
    )


def _runs(layers: pd.DataFrame) -> list[tuple[str, Any]]:
    """Layers that follow one another in one stack with equal parts, summed."""
    runs: list[list[Any]] = []
    for path, row in layers.iterrows():
        stack, index = str(path).rsplit(".", 1)
        if runs and runs[-1][0] == stack and (runs[-1][3] == row).all():
            runs[-1][2] = index
            runs[-1][4] = runs[-1][4] + row
        else:
            runs.append([stack, index, index, row, row])
    return [(f"{stack}.{a}" if a == b else f"{stack}.{a}–{b}", total) for stack, a, b, _, total in runs]


def _stacks(layers: pd.DataFrame) -> list[tuple[str, Any]]:
    """Whole stacks summed, for layers that alternate so that runs would be too many to read."""
    stacks = [str(path).rsplit(".", 1)[0] for path in layers.index]
    sums = layers.groupby(stacks, sort=False).sum()
    counts = {stack: stacks.count(stack) for stack in sums.index}
    return [(f"{stack}, {counts[stack]} layers", row) for stack, row in sums.iterrows()]


def distribution(parts: Sequence[Part], *, title: str) -> Figure:
    """A horizontal stacked bar per group of the inventory, with its exact count at the end."""
    from hfcount.reports.charts import Chart, drawn

    rows = rows_of_groups(parts)
    height = 0.5 + 0.3 * len(rows)  # inches of the bars alone, so that all charts have bars of one height
    figure = Chart(figsize=(9.5, height))
    axes = figure.add_axes((0, 0, 1, 1))
    _stacked_bars(axes, rows)
    total = sum(part.numel for part in parts)
    axes.set_title(f"{drawn(title)}: {exact(total)} parameters", loc="left", fontsize=11, fontweight="bold")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / height), ncols=5, frameon=False, fontsize=8.5)
    return figure


def _stacked_bars(axes: Axes, rows: pd.DataFrame) -> None:
    positions = range(len(rows))
    left = [0] * len(rows)
    for index, component in enumerate(COMPONENTS):
        values = rows[component].tolist() if component in rows.columns else []
        if not any(values):
            continue
        color, hatch = PALETTE[index % len(PALETTE)], HATCHES[index // len(PALETTE) % len(HATCHES)]
        axes.barh(
            positions,
            values,
            left=left,
            height=0.72,
            color=color,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=label(component),
        )
        left = [before + value for before, value in zip(left, values, strict=True)]
    widest, whole = max(left), sum(left)
    for position, value in zip(positions, left, strict=True):
        axes.annotate(f" {exact(value)}  {share(value / whole)}", (value, position), va="center", fontsize=8)
    axes.set_yticks(list(positions), [str(name) for name in rows.index], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.32)
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    axes.set_xlabel("parameters", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8.5)


def check_figure_path(path: Path) -> None:
    """Raise BadInput unless `path` ends in a format that a figure can be written in."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"--plot {path}: write a figure as {', '.join(SUFFIXES)}")
