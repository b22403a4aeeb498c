"""Reports as Markdown, for a model card, an issue or a set of notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hfcount.formulas import legend, pretty
from hfcount.reports.document import breakdown_rows
from hfcount.reports.units import convention_name, difference, exact, label, percent, share, short, without_form
from hfcount.result import Count

if TYPE_CHECKING:
    from hfcount.lora import LoraCount


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A Markdown table; the columns whose index is in `right` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(headings))]
    cells = [headings, rule, *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells) + "\n"


def count_markdown(result: Count, *, by: str = "component") -> str:
    """The main job's report in Markdown."""
    parts = [f"# {result.model}\n", f"`{result.model_class}`, {exact(result.sizes.total)} parameters.\n"]
    rows = [
        [
            label(row["name"]) if by == "component" else f"`{row['name']}`",
            exact(row["parameters"]),
            share(row["parameters"] / result.sizes.total),
            f"`{row['formula']}`" if row["formula"] else "",
        ]
        for row in breakdown_rows(result, by)
    ]
    rows.append(["**total**", f"**{exact(result.sizes.total)}**", short(result.sizes.total), ""])
    parts.append(markdown_table([by.capitalize(), "Parameters", "Share", "Closed form"], rows, right=(1, 2)))
    parts.append(_formula(result))
    parts.append("## Conventions\n")
    parts.append(
        markdown_table(
            ["Counted", "Parameters", "Published", "How"],
            [
                [
                    convention_name(each.name, each.basis),
                    exact(each.parameters),
                    ", ".join(each.published),
                    each.derivation,
                ]
                for each in result.conventions
            ],
            right=(1,),
        )
    )
    if result.lora:
        parts += ["## LoRA\n", lora_markdown(result.lora)]
    parts += [f"- {note}" for note in result.notes]
    return "\n".join(parts).rstrip() + "\n"


def _formula(result: Count) -> str:
    if result.form is None:
        text = without_form(result.model_class)
        return f"{text[0].upper()}{text[1:]}.\n"
    if not result.built:
        return (
            f"Closed form: {pretty(result.form.text)} = {exact(result.form.value)}, from {result.form.source}, "
            f"where {', '.join(legend(result.form))}.\n"
        )
    sign = "=" if result.form_matches else "≠"
    return (
        f"Closed form: {pretty(result.form.text)} = {exact(result.form.value)} "
        f"{sign} count {exact(result.sizes.total)}, where {', '.join(legend(result.form))}.\n"
    )


def lora_markdown(counts: Sequence[LoraCount]) -> str:
    """What LoRA trains at each rank, a Markdown table."""
    rows = []
    for each in counts:
        if each.trainable is None or each.all is None:
            rows.append([str(each.r), each.reason or "", "", "", "", "", ""])
            continue
        rows.append(
            [
                str(each.r),
                ", ".join(f"`{name}`" for name in each.targets),
                exact(each.trainable),
                exact(each.all),
                percent(each.trainable_percent or 0.0),
                share(each.unreached_share or 0.0),
                f"`{each.formula}`",
            ]
        )
    headings = ["r", "Targets", "Trainable", "Of all", "Share", "Unreached", "Closed form"]
    return markdown_table(headings, rows, right=(0, 2, 3, 4, 5))


def explanation_markdown(result: Count, explanation: Any) -> str:
    """Which convention gives the figure, in Markdown."""
    rows = [
        [
            verdict,
            convention_name(each.convention.name, each.convention.basis),
            exact(each.convention.parameters),
            difference(each.difference),
            each.convention.derivation,
        ]
        for verdict, found in (("gives it", explanation.matches), ("does not", explanation.misses))
        for each in found
    ]
    table = markdown_table(["", "Counted", "Parameters", "Difference", "How"], rows, right=(2, 3))
    notes = "".join(f"\n{note}\n" for note in explanation.inferences)
    return f"# {result.model}: {explanation.figure.text}\n\n{table}{notes}"


def comparison_markdown(results: tuple[Count, ...]) -> str:
    """Models side by side in Markdown: a row per component with its share, then the totals."""
    names = list(dict.fromkeys(part.component for each in results for part in each.components))
    rows = []
    for name in names:
        parts = [next((part for part in each.components if part.component == name), None) for each in results]
        rows.append(
            [label(name), *(f"{exact(part.parameters)} ({share(part.share)})" if part else "" for part in parts)]
        )
    rows.append(["**total**", *(f"**{exact(each.sizes.total)}**" for each in results)])
    for name in ("non_embedding", "active", "untied"):
        rows.append([name.replace("_", "-"), *(exact(getattr(each.sizes, name)) for each in results)])
    headings = ["", *(each.model for each in results)]
    return markdown_table(headings, rows, right=range(1, len(headings)))
