"""Charts of single answers: ranks, conventions, a closed form's components, models side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hfcount.components import COMPONENTS
from hfcount.errors import BadInput
from hfcount.formulas import pretty
from hfcount.reports.figures import HATCHES, PALETTE
from hfcount.reports.units import convention_name, exact, label, memory_with_unit, percent, short, tick

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from hfcount.conventions import Explanation
    from hfcount.formulas.closed_form import ClosedForm
    from hfcount.lora import LoraCount
    from hfcount.reports.charts import Chart

ROW = 0.34
"""Inches of a bar with what is between two."""
GIVES, OTHER = PALETTE[2], PALETTE[7]


def look_of(component: str) -> tuple[str, str]:
    """The colour and hatching that a component has in every chart."""
    index = COMPONENTS.index(component)
    return PALETTE[index % len(PALETTE)], HATCHES[index // len(PALETTE) % len(HATCHES)]


def bars(
    rows: Sequence[tuple[str, int, str]], *, title: str, axis: str, colors: Iterable[tuple[str, str]] | None = None
) -> Chart:
    """A horizontal bar for each of `rows` (name, length, what stands at its end), the first on top."""
    from hfcount.reports.charts import Chart

    figure = Chart(figsize=(8, 0.5 + ROW * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    looks = list(colors) if colors is not None else [(PALETTE[0], "")] * len(rows)
    for position, ((_, length, text), (color, hatch)) in enumerate(zip(rows, looks, strict=True)):
        axes.barh(position, length, height=0.7, color=color, hatch=hatch, edgecolor="white", linewidth=0.6)
        axes.annotate(f" {text}", (length, position), va="center", fontsize=8)
    _frame(axes, [name for name, _, _ in rows], title=title, axis=axis)
    axes.set_xlim(0, max((length for _, length, _ in rows), default=1) * 1.45 or 1)
    return figure


def _frame(axes: Axes, names: Sequence[str], *, title: str, axis: str) -> None:
    from hfcount.reports.charts import drawn

    axes.set_yticks(range(len(names)), [drawn(name) for name in names], fontsize=8.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    axes.set_xlabel(axis, fontsize=9)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(drawn(title), loc="left", fontsize=11, fontweight="bold")


def ranks_figure(rows: Sequence[LoraCount]) -> Chart:
    """What LoRA trains at each rank, with its share of all parameters."""
    counted = [each for each in rows if each.trainable is not None]
    if not counted:
        raise BadInput(
            f"nothing to draw: {'; '.join(each.reason or 'no figures' for each in rows) or 'no rank asked'}"
        )
    shown = [
        (f"r = {each.r}", each.trainable or 0, f"{exact(each.trainable or 0)}  {percent(each.trainable_percent or 0)}")
        for each in counted
    ]
    targets = ", ".join(dict.fromkeys(name for each in counted for name in each.targets))
    return bars(shown, title=f"LoRA on {targets}", axis="trainable parameters")


def form_figure(model: str, form: ClosedForm) -> Chart:
    """A closed form's components: the value of each, and its text at the end of the bar."""
    rows = [
        (label(each.component), each.value, f"{exact(each.value)} = {pretty(each.text)}") for each in form.components
    ]
    looks = [look_of(each.component) for each in form.components]
    return bars(rows, title=f"{model}: {exact(form.value)} parameters", axis="parameters", colors=looks)


def explanation_figure(model: str, explanation: Explanation) -> Chart:
    """The conventions' counts, those that give the figure in green, and a line at the figure."""
    found = [*explanation.matches, *explanation.misses]
    rows = [
        (
            convention_name(each.convention.name, each.convention.basis),
            each.convention.parameters,
            exact(each.convention.parameters),
        )
        for each in found
    ]
    looks = [(GIVES if each in explanation.matches else OTHER, "") for each in found]
    figure = explanation.figure
    chart = bars(rows, title=f"{model}: who says {figure.text}?", axis="parameters", colors=looks)
    axes = chart.axes[0]
    axes.axvline(figure.value, color="black", linewidth=0.9, linestyle=(0, (3, 2)))
    axes.annotate(
        figure.text, (figure.value, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8
    )
    axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=11, fontweight="bold", pad=16)
    return chart


def groups_figure(title: str, groups: pd.DataFrame) -> Chart:
    """A bar for each row of a live module's `groups`: its parameters, and at the end the bytes that hold them."""
    rows = [
        (
            label(str(name)),
            int(row["parameters"]),
            f"{exact(int(row['parameters']))}  {memory_with_unit(int(row['bytes']))}",
        )
        for name, row in groups.to_dict("index").items()
    ]
    looks = [look_of(str(name)) if name in COMPONENTS else (PALETTE[0], "") for name in groups.index]
    total = exact(int(groups["parameters"].sum()))
    return bars(rows, title=f"{title}: {total} parameters", axis="parameters", colors=looks)


def shares_figure(names: Sequence[str], models: Sequence[Mapping[str, int]]) -> Chart:
    """A bar for each model, all of one length: the share of each component, the total at the end."""
    from hfcount.reports.charts import Chart

    height = 0.5 + ROW * len(models)
    figure = Chart(figsize=(8, height))
    axes = figure.add_axes((0, 0, 1, 1))
    totals = [sum(parts.values()) for parts in models]
    left = [0.0] * len(models)
    for component in (each for each in COMPONENTS if any(each in parts for parts in models)):
        color, hatch = look_of(component)
        widths = [parts.get(component, 0) / max(1, total) for parts, total in zip(models, totals, strict=True)]
        axes.barh(
            range(len(models)), widths, left=left, height=0.7, color=color, hatch=hatch, edgecolor="white",
            linewidth=0.6, label=label(component),
        )  # fmt: skip
        left = [before + width for before, width in zip(left, widths, strict=True)]
    for position, total in enumerate(totals):
        axes.annotate(f" {exact(total)}  {short(total)}", (1, position), va="center", fontsize=8)
    _frame(axes, names, title="Where the parameters are", axis="share of the parameters")
    axes.set_xlim(0, 1.32)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / height), ncols=5, frameon=False, fontsize=8.5)
    return figure
