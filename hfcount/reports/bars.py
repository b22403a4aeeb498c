"""Stacked bars of memory: a bar for each regime, a layer for each bucket, in MiB or GiB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfcount.memory_answer import BUCKETS, Budget
from hfcount.reports.figures import PALETTE
from hfcount.reports.memory import TITLES, regime_name
from hfcount.reports.units import memory_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Stacks = Mapping[str, Mapping[str, int]]
"""Bytes by the name of a bar and of a bucket."""

# A hatch beside the colour, so that neighbours are told apart in black and white too.
HATCHES = dict(zip(BUCKETS, ("", "...", "///", "\\\\\\", "", "ooo", "xx", "---"), strict=True))


def stacks_of(budgets: Sequence[Budget]) -> Stacks:
    """A bar for each budget that has figures."""
    return {
        regime_name(each): {bucket: getattr(each, f"{bucket}_bytes") or 0 for bucket in BUCKETS}
        for each in budgets
        if each.total_bytes is not None
    }


def memory_bars(stacks: Stacks, *, title: str) -> Figure:
    """The bars of `stacks` side by side, the total above each; a bucket that none has is left out."""
    from hfcount.reports.charts import Chart, drawn

    figure = Chart(figsize=(max(5.5, 1.9 + 1.15 * len(stacks)), 4.6))
    axes = figure.add_axes((0, 0, 1, 1))
    _bars(axes, stacks)
    axes.set_title(drawn(title), loc="left", fontsize=11, fontweight="bold", pad=12)
    return figure


def _bars(axes: Axes, stacks: Stacks) -> None:
    name, size = memory_unit(max((sum(each.values()) for each in stacks.values()), default=0))
    base = [0.0] * len(stacks)
    for index, bucket in enumerate(BUCKETS):
        values = [each.get(bucket, 0) / size for each in stacks.values()]
        if not any(values):
            continue
        axes.bar(
            range(len(stacks)),
            values,
            bottom=base,
            width=0.66,
            color=PALETTE[index],
            hatch=HATCHES[bucket],
            edgecolor="white",
            linewidth=0.6,
            label=TITLES[bucket],
        )
        base = [before + value for before, value in zip(base, values, strict=True)]
    for position, total in enumerate(base):
        axes.annotate(
            f"{total:,.2f}", (position, total), ha="center", va="bottom", fontsize=8.5, xytext=(0, 2),
            textcoords="offset points",
        )  # fmt: skip
    axes.set_xticks(range(len(stacks)), list(stacks), fontsize=9)
    axes.set_ylabel(name, fontsize=9)
    axes.set_ylim(0, max(base, default=1) * 1.1 or 1)
    axes.margins(x=0.04)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.tick_params(axis="y", labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5, reverse=True)
