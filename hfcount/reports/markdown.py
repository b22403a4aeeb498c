"""Reports as Markdown, for a model card, an issue or a set of notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.formulas import legend, pretty
from hfcount.reports.document import breakdown_rows
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
    from hfcount.lora import LoraCount


def plain(text: str) -> str:
    r"""Return `text`, which is not ours, as Markdown that shows it and does nothing else, in a cell or on a line.

    Escaped is what CommonMark, GitHub's tables and GitHub's own links would read: emphasis, code, links, HTML, pipes,
    mathematics, mentions, and what would begin a block. A pipe is an entity, which cells and lines read alike.

    >>> print(plain("# a|b_c *d* _e_ [f](g) <b> @h http://i"))
    \# a&#124;b_c \*d\* \_e\_ [f]\(g) &lt;b> @&#8203;h http\://i
    """
    found = _MARKUP.sub(lambda match: "".join(f"\\{sign}" for sign in match[0]), visible(text).strip())
    for pattern, entity in _ENTITIES:
        found = pattern.sub(entity, found)
    return _BLOCK.sub(r"\1\\", found)


_MARKUP = re.compile(
    r"[\\`*~$]"
    r"|(?<=\])\(|\A\["  # a link; what stands in brackets alone is none where nothing defines it
    r"|(?<!\w)_+|_+(?!\w)"  # within a word `_` is no emphasis
    r"|(?<=http):|(?<=https):|(?<=ftp):|(?<=www)\."  # GitHub makes links of these
    r"|(?<=\s)#+\Z",  # closes a heading
    re.IGNORECASE,
)
_ENTITIES = (
    (re.compile(r"&(?=#?\w)"), "&amp;"),
    (re.compile(r"(?<!\w)([@#])(?=\w)"), r"\1&#8203;"),  # a sign of no width, in letters that are seen, ends a mention
    (re.compile(r"<"), "&lt;"),
    (re.compile(r"\|"), "&#124;"),
)
_BLOCK = re.compile(r"\A(\d+(?=[.)](?:\s|\Z))|(?=[#>=+-](?!\d)))")
"""Where a line would begin a heading, a quotation or a list; "-5" and "1.5B" are figures."""


def code(text: str) -> str:
    """Return `text`, which is not ours, as a code span whose fence is longer than any within it; "" for nothing.

    >>> code("h`w"), code(" ")
    ('``h`w``', '')
    """
    text = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{space}{text}{space}{fence}" if text.strip() else ""


def listed(lines: Iterable[str]) -> list[str]:
    """Return an item of a list for each of `lines`, which are plain text."""
    return [f"- {plain(line)}" for line in lines]


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A Markdown table; the columns whose index is in `right` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(headings))]
    cells = [headings, rule, *rows]
    lines = (" | ".join(visible(str(cell)).replace("|", "\\|") for cell in row) for row in cells)
    return "".join(f"| {line} |\n" for line in lines)


def count_markdown(result: Count, *, by: str = "component") -> str:
    """The main job's report in Markdown."""
    parts = [f"# {plain(result.model)}\n", f"{code(result.model_class)}, {exact(result.sizes.total)} parameters.\n"]
    rows = [
        [
            label(row["name"]) if by == "component" else code(row["name"]),
            exact(row["parameters"]),
            share(row["parameters"] / result.sizes.total),
            code(row["formula"] or ""),
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
                    plain(convention_name(each.name, each.basis)),
                    exact(each.parameters),
                    ", ".join(each.published),
                    plain(each.derivation),
                ]
                for each in result.conventions
            ],
            right=(1,),
        )
    )
    if result.lora:
        parts += ["## LoRA\n", lora_markdown(result.lora)]
    parts += listed(result.notes)
    return "\n".join(parts).rstrip() + "\n"


def _formula(result: Count) -> str:
    if result.form is None:
        text = plain(without_form(result.model_class))
        return f"{text[0].upper()}{text[1:]}.\n"
    text, symbols = plain(pretty(result.form.text)), plain(", ".join(legend(result.form)))
    if not result.built:
        return f"Closed form: {text} = {exact(result.form.value)}, from {result.form.source}, where {symbols}.\n"
    sign = "=" if result.form_matches else "≠"
    return (
        f"Closed form: {text} = {exact(result.form.value)} "
        f"{sign} count {exact(result.sizes.total)}, where {symbols}.\n"
    )


def lora_markdown(counts: Sequence[LoraCount]) -> str:
    """What LoRA trains at each rank, a Markdown table."""
    rows = []
    for each in counts:
        if each.trainable is None or each.all is None:
            rows.append([str(each.r), plain(each.reason or ""), "", "", "", "", ""])
            continue
        rows.append(
            [
                str(each.r),
                ", ".join(map(code, each.targets)),
                exact(each.trainable),
                exact(each.all),
                percent(each.trainable_percent or 0.0),
                share(each.unreached_share or 0.0),
                code(each.formula or ""),
            ]
        )
    headings = ["r", "Targets", "Trainable", "Of all", "Share", "Unreached", "Closed form"]
    return markdown_table(headings, rows, right=(0, 2, 3, 4, 5))


def explanation_markdown(result: Count, explanation: Any) -> str:
    """Which convention gives the figure, in Markdown."""
    rows = [
        [
            verdict,
            plain(convention_name(each.convention.name, each.convention.basis)),
            exact(each.convention.parameters),
            difference(each.difference),
            plain("; ".join([each.convention.derivation, *([each.convention.note] if gives else [])])),
        ]
        for gives, verdict, found in ((True, "gives it", explanation.matches), (False, "does not", explanation.misses))
        for each in found
    ]
    table = markdown_table(["", "Counted", "Parameters", "Difference", "How"], rows, right=(2, 3))
    notes = "".join(f"\n{plain(note)}\n" for note in explanation.inferences)
    figure = explanation.figure
    meant = f"{stands_for(figure).capitalize()}.\n\n" if figure.high > figure.low else ""
    return f"# {plain(result.model)}: {figure.text}\n\n{meant}{table}{notes}"


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
    headings = ["", *(plain(each.model) for each in results)]
    return markdown_table(headings, rows, right=range(1, len(headings)))
