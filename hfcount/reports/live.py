"""How a live module's report is shown: terminal, Markdown, chart."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hfcount.live.live_report import LiveReport
from hfcount.live.optimizer_state import OptimizerState
from hfcount.live.places import FOREIGN
from hfcount.reports.lines import below, notes
from hfcount.reports.markdown import code, listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.units import exact, label, memory_with_unit, percent, share, short
from hfcount.visible import visible

HEADINGS = ("Parameters", "Share", "Trainable", "Memory")


def live_report(found: LiveReport) -> RenderableType:
    """Where the parameters are, what trains, what all of it takes now."""
    what, rows = live_rows(found)
    table: Table = plain_table((what, "left"), *((name, "right") for name in HEADINGS))
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1], style="bold")
    name = f"{visible(found.model)} · " if found.model else ""
    where = ", ".join(found.devices) or "nowhere"
    parts: list[RenderableType] = [Text.assemble((name, "bold"), (found.model_class, "bold"), f" · {where}\n"), table]
    parts.append(Text(f"\n{training_line(found)}"))
    parts += [below(line) for line in held_lines(found)]
    parts += notes(found.notes)
    return Group(*parts)


def live_markdown(found: LiveReport) -> str:
    """The same as Markdown."""
    what, rows = live_rows(found)
    rows = [[plain(name), *figures] for name, *figures in rows]
    rows[-1] = [f"**{cell}**" if cell else "" for cell in rows[-1]]
    parts = [
        f"# {plain(found.model or found.model_class)}\n",
        f"{code(found.model_class)} on {', '.join(found.devices) or 'no device'}.\n",
        markdown_table([what, *HEADINGS], rows, right=range(1, len(HEADINGS) + 1)),
        f"{training_line(found)}.\n",
        *listed([*held_lines(found), *found.notes]),
    ]
    return "\n".join(parts).rstrip() + "\n"


def main_grouping(found: LiveReport) -> str:
    """What the parameters are told apart by: components, or classes where no transformers model is in it."""
    components = set(found.table["component"])
    return "component" if components - {FOREIGN} else "module_class"


def live_rows(found: LiveReport) -> tuple[str, list[list[str]]]:
    """The first heading, and a row of text for each group, the total last."""
    what = main_grouping(found)
    rows = [
        [
            label(str(name)) if what == "component" else str(name),
            exact(row["parameters"]),
            share(row["share"]),
            exact(row["trainable"]) if row["trainable"] else "–",
            memory_with_unit(row["bytes"]),
        ]
        for name, row in found.by(what).to_dict("index").items()
    ]
    total = [
        "total",
        exact(found.parameters),
        short(found.parameters),
        exact(found.trainable) if found.trainable else "–",
        memory_with_unit(found.bytes),
    ]
    return "Component" if what == "component" else "Class", [*rows, total]


def training_line(found: LiveReport) -> str:
    """What trains, as PEFT says it, and in which types the parameters are kept."""
    kinds = ", ".join(f"{kind} {exact(int(number))}" for kind, number in found.by("dtype")["parameters"].items())
    trained = f"trainable {exact(found.trainable)} of {exact(found.parameters)} ({percent(found.trainable_percent)})"
    return f"{trained}; kept as {kinds}" if kinds else trained


def held_lines(found: LiveReport) -> list[str]:
    """What is held besides the parameters, and all of it."""
    lines = []
    if found.buffers:
        lines.append(f"buffers: {exact(found.buffers)} elements, {memory_with_unit(found.buffer_bytes)}")
    if found.gradient_bytes:
        lines.append(f"gradients: {memory_with_unit(found.gradient_bytes)}")
    if found.optimizer is not None:
        lines.append(_optimizer(found.optimizer))
    lines.append(f"in all: {memory_with_unit(found.total_bytes)} ({exact(found.total_bytes)} bytes)")
    return lines


def _optimizer(state: OptimizerState) -> str:
    now = f"{state.name}: steps {exact(state.parameters)} parameters, holds {memory_with_unit(state.bytes)}"
    if state.expected_bytes is not None and state.expected_bytes != state.bytes:
        return f"{now}, {memory_with_unit(state.expected_bytes)} after its first step"
    return now
