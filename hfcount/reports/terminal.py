"""The report on a terminal: rich tables, a line of verdict, and nothing that needs explaining twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hfcount.breakdown import breakdown
from hfcount.formulas import legend, pretty
from hfcount.reports.lines import Entries, below, notes
from hfcount.reports.plain_table import plain_table
from hfcount.reports.units import (
    convention_name,
    difference,
    exact,
    label,
    percent,
    share,
    short,
    stands_for,
    without_form,
)
from hfcount.result import Count
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.conventions import Explanation
    from hfcount.formula_answer import FormulaAnswer
    from hfcount.lora import LoraCount
    from hfcount.memory_answer import Memory

GOOD, WARN, BAD, DIM = "green", "yellow", "red", "dim"


def count_report(result: Count, *, by: str = "component") -> RenderableType:
    """The main job's report: where the parameters are, why that is the number, who counts otherwise, LoRA."""
    parts: list[RenderableType] = [heading(result), _parts_table(result, by), _verdict(result)]
    parts += [_section("Conventions", _conventions_table(result))]
    if result.lora:
        parts.append(_section("LoRA", lora_report(result.lora)))
    parts += notes(result.notes)
    return Group(*parts)


def heading(result: Count | FormulaAnswer | Memory) -> Text:
    """The first line: the model, the class, where the config was read."""
    source = {"card": "bundled card", "folder": "local folder", "hub": "Hugging Face Hub", "type": "default config"}
    where = source.get(result.source.kind, result.source.kind)
    at = f" @ {result.source.revision[:12]}" if result.source.revision else ""
    about = visible(f" · {result.model_class} · {where}{at}")
    return Text.assemble((visible(result.model), "bold"), f"{about}\n")


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), body)


def _parts_table(result: Count, by: str) -> Table:
    form = result.form
    if by == "component":
        table = plain_table(
            ("Component", "left"), ("Parameters", "right"), ("Share", "right"), ("Closed form", "left")
        )
        for each in result.components:
            formula = pretty(each.formula) if each.formula else ""
            table.add_row(label(each.component), exact(each.parameters), share(each.share), formula)
        table.add_section()
        total = pretty(form.text) if form is not None else ""
        table.add_row("total", exact(result.sizes.total), short(result.sizes.total), total, style="bold")
        return table
    table = plain_table((by.capitalize(), "left"), ("Parameters", "right"), ("Share", "right"))
    for row in breakdown(result.parts, by):
        table.add_row(row.name, exact(row.parameters), share(row.share))
    table.add_section()
    table.add_row("total", exact(result.sizes.total), short(result.sizes.total), style="bold")
    return table


def _verdict(result: Count) -> RenderableType:
    """A line, green or red: the closed form against the count."""
    form = result.form
    if form is None:
        return Text(f"\n{without_form(result.model_class)}", style=DIM)
    if not result.built:
        verdict = Text(f"\n✓ formula = {exact(form.value)}, from {form.source}; no model was built", GOOD)
        return Group(verdict, Entries(legend(form)))
    delta = form.value - result.sizes.total
    if delta:
        verdict = Text(
            f"\n✗ formula {exact(form.value)} ≠ count {exact(result.sizes.total)}: {difference(delta)}", BAD
        )
    else:
        origin = "" if form.origin == "family" else f", from {form.source}"
        verdict = Text(f"\n✓ formula = count = {exact(form.value)}{origin}", GOOD)
    return Group(verdict, Entries(legend(form)))


def _conventions_table(result: Count) -> Table:
    table = plain_table(
        ("Counted", "left"), ("Parameters", "right"), ("", "right"), ("Published", "left"), ("How", "left")
    )
    for each in result.conventions:
        published = ", ".join(each.published)
        name = convention_name(each.name, each.basis)
        table.add_row(name, exact(each.parameters), short(each.parameters), published, each.derivation)
    return table


def lora_report(rows: Sequence[LoraCount]) -> RenderableType:
    """What LoRA trains at each rank, and why there are no figures where there are none."""
    reasons = [below(f"r = {each.r}: {each.reason}") for each in rows if each.reason]
    return Group(_lora_table(rows), *reasons)


def _lora_table(rows: Sequence[LoraCount]) -> Table:
    table = plain_table(
        ("r", "right"),
        ("Targets", "left"),
        ("Trainable", "right"),
        ("Of all", "right"),
        ("", "right"),
        ("Unreached", "right"),
        ("Closed form", "left"),
    )
    for each in rows:
        if each.trainable is None or each.all is None:
            table.add_row(str(each.r), "–", "–", "–", "–", "–", "")
            continue
        mark = Text("✓ ", GOOD) if each.matches else Text(f"✗ {exact(each.formula_value or 0)} ", BAD)
        table.add_row(
            str(each.r),
            ", ".join(each.targets),
            exact(each.trainable),
            exact(each.all),
            percent(each.trainable_percent or 0.0),
            share(each.unreached_share or 0.0),
            Text.assemble(mark, pretty(each.formula or "")),
        )
    return table


def explanation_report(result: Count, explanation: Explanation) -> RenderableType:
    """Which conventions give the figure to its printed precision, which do not, and by how much."""
    figure = explanation.figure
    heading = Text.assemble(
        (visible(result.model), "bold"), f" · {result.model_class} · published figure ", (figure.text, "bold")
    )
    parts: list[RenderableType] = [heading]
    if not result.built:
        parts += [Text(visible(note), style=DIM) for note in result.notes[-1:]]
    if figure.high > figure.low:
        parts.append(Text(stands_for(figure), style=DIM))
    if explanation.matches:
        parts.append(_section(f"Gives {figure.text}", _found_table(explanation.matches, "✓", GOOD)))
    for note in explanation.inferences:
        parts += [Text(), below(note, "")]
    if explanation.misses:
        parts.append(_section(f"Does not give {figure.text}", _found_table(explanation.misses, "✗", BAD)))
    if not explanation.explained:
        parts.append(Text(f"\n✗ no convention that is known gives {figure.text} for {visible(result.model)}", BAD))
    return Group(*parts)


def _found_table(found: Any, mark: str, style: str) -> Table:
    table = plain_table(
        ("", "left"), ("Counted", "left"), ("Parameters", "right"), ("Difference", "right"), ("How", "left"), names=2
    )
    for each in found:
        how = each.convention.derivation
        note = f"\n{each.convention.note}" if style == GOOD else ""
        table.add_row(
            Text(mark, style),
            convention_name(each.convention.name, each.convention.basis),
            exact(each.convention.parameters),
            difference(each.difference),
            Text.assemble(how, (note, DIM)),
        )
    return table


def comparison_report(results: tuple[Count, ...]) -> RenderableType:
    """Models side by side: a column each, a row per component with count and share, totals below."""
    table = plain_table(("", "left"), *((each.model.rsplit("/", 1)[-1], "right") for each in results))
    names = list(dict.fromkeys(part.component for each in results for part in each.components))
    for name in names:
        cells = []
        for each in results:
            part = next((part for part in each.components if part.component == name), None)
            cells.append(f"{exact(part.parameters)}  {share(part.share):>6}" if part else "–")
        table.add_row(label(name), *cells)
    table.add_section()
    table.add_row(
        "total", *(f"{exact(each.sizes.total)}  {short(each.sizes.total):>6}" for each in results), style="bold"
    )
    for name, value in (("non-embedding", "non_embedding"), ("active", "active"), ("untied", "untied")):
        table.add_row(name, *(exact(getattr(each.sizes, value)) for each in results))
    verdicts = [_short_verdict(each) for each in results]
    table.add_row("formula = count", *verdicts)
    return table


def _short_verdict(result: Count) -> str:
    if result.form is None:
        return "–"
    if not result.built:
        return "catalogue"
    return "✓" if result.form_matches else "✗"


@dataclasses.dataclass(frozen=True)
class _Visible:
    """Whatever `body` holds, no sign of it but rich's own colours and line ends steers the terminal."""

    body: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, _ in console.render(self.body, options):
            yield Segment(visible(text, keep="\n"), style)


def to_text(body: RenderableType, *, width: int | None = None, color: bool = False) -> str:
    """`body` as text; with ANSI colours where `color`; trailing blanks, which tables pad with, are cut."""
    console = Console(
        width=width or 118, force_terminal=color, no_color=not color, highlight=False, record=False, markup=False,
        emoji=False,
        force_jupyter=False,  # there it would show what it is asked to return
    )  # fmt: skip
    with console.capture() as capture:
        console.print(_Visible(body), soft_wrap=False, crop=False)
    return "\n".join(line.rstrip(" \t") for line in capture.get().split("\n"))
