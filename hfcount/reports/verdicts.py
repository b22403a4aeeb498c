"""The chart of an audit: verdicts by kind of claim, and how far figures are off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcount.auditing.finding import VERDICTS
from hfcount.reports.figures import PALETTE
from hfcount.reports.units import exact

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hfcount.auditing.summary import Summary

# Blue and green for what holds, orange and red for what does not, grey for what nobody can tell: of Okabe and Ito.
COLORS = dict(zip(VERDICTS, ("#009E73", "#56B4E9", "#D55E00", "#BBBBBB", "#E69F00"), strict=True))
assert set(COLORS.values()) - {"#BBBBBB"} <= set(PALETTE)
MOST_KINDS = 16


def verdicts_figure(summary: Summary) -> Figure:
    """Two panels: a bar for each kind of claim, and the figures that are not their count by how far they are off."""
    from hfcount.reports.charts import Chart

    kinds = _fewer(summary.verdict_frame())
    height = 1.1 + 0.3 * max(len(kinds), 6)
    figure = Chart(figsize=(11, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    _by_kind(left, kinds)
    _by_distance(right, summary.off_frame())
    models = f"{exact(summary.models)} model{'' if summary.models == 1 else 's'}"
    figure.suptitle(f"{models}, {exact(int(kinds.to_numpy().sum()))} findings", x=0.01, ha="left", fontweight="bold")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=len(VERDICTS), frameon=False, fontsize=9
    )
    return figure


def _fewer(frame: pd.DataFrame) -> pd.DataFrame:
    """The most frequent kinds, the others as one row."""
    if len(frame) <= MOST_KINDS:
        return frame
    import pandas as pd

    rest = frame.iloc[MOST_KINDS - 1 :].sum().to_frame(f"{len(frame) - MOST_KINDS + 1} more kinds").T
    return pd.concat([frame.iloc[: MOST_KINDS - 1], rest])


def _by_kind(axes: Axes, frame: pd.DataFrame) -> None:
    from hfcount.reports.charts import drawn

    positions = list(range(len(frame)))
    left = [0] * len(frame)
    for verdict in VERDICTS:
        values = frame[verdict].tolist()
        axes.barh(positions, values, left=left, height=0.72, color=COLORS[verdict], label=verdict, edgecolor="white")
        left = [before + value for before, value in zip(left, values, strict=True)]
    for position, value in zip(positions, left, strict=True):
        axes.annotate(f" {exact(value)}", (value, position), va="center", fontsize=8)
    axes.set_yticks(positions, [drawn(str(kind)) for kind in frame.index], fontsize=8.5)
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.set_xlabel("findings, by what is claimed", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _by_distance(axes: Axes, frame: pd.DataFrame) -> None:
    if frame.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "every figure is its count", ha="center", transform=axes.transAxes, fontsize=9)
        return
    positions = list(range(len(frame)))
    bottom = [0] * len(frame)
    for verdict in VERDICTS:
        values = frame[verdict].tolist()
        axes.bar(positions, values, bottom=bottom, width=0.8, color=COLORS[verdict], edgecolor="white")
        bottom = [before + value for before, value in zip(bottom, values, strict=True)]
    axes.set_xticks(positions, [f"{100 * 10.0**decade:g}" for decade in frame.index], fontsize=8.5)
    axes.set_xlabel("off by up to ... % of the count, rounding included", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
