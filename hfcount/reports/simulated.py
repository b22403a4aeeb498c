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
from hfcount.reports.plain_table import plain_table
from hfcount.reports.terminal import BAD, DIM, GOOD
from hfcount.reports.units import difference, exact, memory_unit, memory_with_unit, regime_title, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
        ("Regime", "left"), ("Bucket", "left"), ("Closed form", "right"), ("The step", "right"),
        ("Difference", "right"), ("", "left"), names=2,
    )  # fmt: skip
    for each in found.comparisons:
        if not each.closed_bytes and not each.simulated_bytes:
            continue
        equal = each.difference == 0
        verdict = Text("✓", GOOD) if equal else Text(each.reason or "not explained", DIM if each.reason else BAD)
        table.add_row(
            regime_title(each.regime),
            TITLES[each.bucket].lower(),
            exact(each.closed_bytes),
            exact(each.simulated_bytes),
            difference(each.difference),
            verdict,
        )
    return table


def _about(budget: Budget) -> list[RenderableType]:
    """The peak's phase, the largest tensors there, the operations."""
    lines: list[RenderableType] = [
        Text.assemble(
            (f"\n{regime_title(budget.name)}: peak {memory_with_unit(budget.total_bytes or 0)}", "bold"),
            f" in {_phase(budget)}, {memory_with_unit(budget.temporary.get('temporary', 0))} of it there for a moment",
        )
    ]
    for each in budget.largest[:SHOWN_TENSORS]:
        lines.append(below(f"{memory_with_unit(each['bytes']):>12}  {_tensor(each)}"))
    counted = budget.flops.get("whole", 0)
    if counted:
        rule = budget.flops.get("rule")
        beside = f"; the rule says {short(rule)}" if rule else ""
        lines.append(below(f"{short(counted)} floating-point operations a step{beside}"))
    return lines


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


def comparison_document(each: Comparison) -> dict[str, Any]:
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
