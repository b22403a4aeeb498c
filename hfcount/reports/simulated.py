"""How a simulated step is shown: beside its closed form, its largest tensors, its operations, its curve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hfcount.memory_answer import Budget, Comparison, Memory
from hfcount.reports.figures import PALETTE
from hfcount.reports.lines import below
from hfcount.reports.markdown import listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.terminal import BAD, DIM, GOOD
from hfcount.reports.units import difference, exact, memory_unit, memory_with_unit, regime_title, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hfcount.reports.schema import BucketDocument

TITLES = {
    "weights": "Weights",
    "master": "Master",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "activations": "Kept activations",
    "communication": "Gathered",
    "temporary": "Temporaries",
    "buffers": "Buffers",
    "inputs": "Batch",
    "workspace": "Workspace",
    "rounding": "Rounding",
}
SHOWN_TENSORS = 5


def simulated_sections(found: Memory) -> list[RenderableType]:
    """What the terminal shows of simulated steps, besides the table of budgets."""
    parts: list[RenderableType] = [Text("\nClosed form beside the step, bytes", style="bold"), _comparison(found)]
    for each in found.budgets:
        if each.method == "simulated":
            parts += _about(each)
    return parts


def _comparison(found: Memory) -> Table:
    table = plain_table(
        *((title, "right" if place in COMPARED_RIGHT else "left") for place, title in enumerate(COMPARED)), names=2
    )
    for each, row in _compared(found):
        colour = GOOD if each.difference == 0 else DIM if each.reason else BAD
        table.add_row(*row[:-1], Text(row[-1], colour))
    return table


COMPARED = ("Regime", "Bucket", "Closed form", "The step", "Difference", "")
COMPARED_RIGHT = (2, 3, 4)


def _compared(found: Memory) -> list[tuple[Comparison, list[str]]]:
    """Each bucket that is there, and its row of text under `COMPARED`."""
    return [
        (
            each,
            [
                regime_title(each.regime),
                TITLES[each.bucket].lower(),
                exact(each.closed_bytes),
                exact(each.simulated_bytes),
                difference(each.difference),
                "✓" if each.difference == 0 else each.reason or "not explained",
            ],
        )
        for each in found.comparisons
        if each.closed_bytes or each.simulated_bytes
    ]


def simulated_markdown(found: Memory) -> list[str]:
    """The same in Markdown, a part each."""
    rows = [[*row[:-1], plain(row[-1])] for _, row in _compared(found)]
    parts = ["Closed form beside the step, bytes:\n", markdown_table(COMPARED, rows, right=COMPARED_RIGHT)]
    for each in found.budgets:
        if each.method == "simulated":
            peak, beside = _peak(each)
            lines = [f"{size} {tensor}" for size, tensor in _tensors(each)] + _operations(each)
            parts += [f"**{peak}**{beside}:\n", "\n".join(listed(lines)) + "\n"]
    return parts


def _about(budget: Budget) -> list[RenderableType]:
    """The peak's phase, the largest tensors there, the operations."""
    peak, beside = _peak(budget)
    lines: list[RenderableType] = [Text.assemble((f"\n{peak}", "bold"), beside)]
    lines += [below(f"{size:>12}  {tensor}") for size, tensor in _tensors(budget)]
    return lines + [below(line) for line in _operations(budget)]


def _peak(budget: Budget) -> tuple[str, str]:
    """The peak, and where it lies."""
    passing = memory_with_unit(budget.temporary.get("temporary", 0))
    return (
        f"{regime_title(budget.name)}: peak {memory_with_unit(budget.total_bytes or 0)}",
        f" in {_phase(budget)}, {passing} of it there for a moment",
    )


def _tensors(budget: Budget) -> list[tuple[str, str]]:
    """The size of the largest tensors, and each in words."""
    return [(memory_with_unit(each["bytes"]), _tensor(each)) for each in budget.largest[:SHOWN_TENSORS]]


def _operations(budget: Budget) -> list[str]:
    """A line on the step's operations; none where they are not counted."""
    counted = budget.flops.get("whole", 0)
    if not counted:
        return []
    rule = budget.flops.get("rule")
    beside = f"; the rule says {short(rule)}" if rule else ""
    return [f"{short(counted)} floating-point operations a step{beside}"]


def _phase(budget: Budget) -> str:
    return {"step": "the optimizer's step"}.get(str(budget.peak_phase), f"the {budget.peak_phase} pass")


def _tensor(row: Mapping[str, Any]) -> str:
    """A storage in words: its bucket, where it was made, its shape."""
    shape = " x ".join(str(side) for side in row["shape"])
    of_what = f" ({shape} {row['dtype']})".replace("( ", "(") if row["dtype"] else ""
    times = f"{row['count']} x " if row["count"] > 1 else ""
    return f"{times}{TITLES[row['bucket']].lower()}: {made_in(row)}{of_what}"


def made_in(row: Mapping[str, Any]) -> str:
    """The module that made a storage, by its name in the model itself; the operator where that is the whole model."""
    module, name = (re.sub(r"^base_model(\.model(\.|$)|$)", "", row[each] or "") for each in ("module", "name"))
    return (module or name).replace(".base_layer", "")


def bucket_document(each: Comparison) -> BucketDocument:
    """One bucket of one regime in the JSON."""
    return {
        "regime": each.regime,
        "bucket": each.bucket,
        "closed_form_bytes": each.closed_bytes,
        "simulated_bytes": each.simulated_bytes,
        "difference": each.difference,
        "reason": each.reason or None,
    }


def timeline(curves: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Memory over the step, a panel for each regime, the buckets stacked; the phases are told by lines and names."""
    from hfcount.reports.charts import Chart, drawn

    height = 2.6
    figure = Chart(figsize=(9.5, height * len(curves)))
    highest = max(int(lines[list(TITLES)].sum(axis=1).max()) for lines in curves.values())
    unit = memory_unit(highest)
    for index, (name, lines) in enumerate(curves.items()):
        axes = figure.add_axes((0, 1 - (index + 0.86) / len(curves), 1, 0.68 / len(curves)))
        _panel(axes, lines, unit, highest)
        axes.set_title(f"{drawn(title)}: {regime_title(name)}", loc="left", fontsize=10, fontweight="bold", pad=16)
        if index == 0:
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False, fontsize=8, reverse=True)
    return figure


def _panel(axes: Axes, lines: pd.DataFrame, unit: tuple[str, int], highest: int) -> None:
    shown = [name for name in TITLES if lines[name].max() > highest / 500]
    moments = range(len(lines))
    colors = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(TITLES)}
    axes.stackplot(
        moments,
        *(lines[name].to_numpy() / unit[1] for name in shown),
        labels=[TITLES[name] for name in shown],
        colors=[colors[name] for name in shown],
        step="post",
        linewidth=0,
    )
    total = lines[list(TITLES)].sum(axis=1).to_numpy() / unit[1]
    at = int(total.argmax())
    axes.annotate(
        f"{total[at]:,.2f} {unit[0]}", (at, total[at]), ha="center", va="bottom", fontsize=8, xytext=(0, 2),
        textcoords="offset points",
    )  # fmt: skip
    phases = lines["phase"].to_numpy()
    for phase in dict.fromkeys(phases):
        begun = int((phases == phase).argmax())
        axes.axvline(begun, color="black", linewidth=0.6, linestyle=(0, (2, 2)))
        axes.annotate(
            phase, (begun, 1), xycoords=("data", "axes fraction"), fontsize=8, xytext=(3, 3),
            textcoords="offset points", va="bottom",
        )  # fmt: skip
    axes.set_xlim(0, len(lines))
    axes.set_ylim(0, highest / unit[1] * 1.12)
    axes.set_ylabel(unit[0], fontsize=9)
    axes.set_xlabel("operations", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
