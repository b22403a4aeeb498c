"""How the answer to an inverse question is shown."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hfcount.formulas import pretty
from hfcount.formulas.solve import Candidate, Solution
from hfcount.reports.document import SCHEMA
from hfcount.reports.lines import notes
from hfcount.reports.markdown import listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.terminal import BAD
from hfcount.reports.units import difference, exact, percent
from hfcount.visible import visible


def solution_report(solution: Solution) -> RenderableType:
    """The equation, its solution, and the whole numbers beside it."""
    what = "trained" if solution.unknown == "r" else "parameters"
    parts: list[RenderableType] = [Text.assemble((visible(solution.model), "bold"), f" · {solution.model_class}\n")]
    if solution.equation is not None:
        equation = pretty(_grouped(solution.equation))
        parts.append(Text.assemble((f"{what}({solution.unknown}) = {equation}", "bold")))
        if solution.exact is not None:
            parts.append(Text(f"= {exact(solution.target)} at {solution.unknown} = {solution.exact:,.4f}"))
        parts.append(Text())
    if solution.nearest is None:
        parts.append(Text(f"no {solution.unknown} gives {solution.wanted}", BAD))
    else:
        parts.append(_table(solution, what))
    parts += notes(solution.notes)
    return Group(*parts)


def _table(solution: Solution, what: str) -> RenderableType:
    shares = any(each is not None and each.percent is not None for each in (solution.below, solution.above))
    share = (("Of all", "right"),) if shares else ()
    miss = (f"From {solution.wanted}", "right")
    table = plain_table((solution.unknown, "right"), (what.capitalize(), "right"), *share, miss, ("", "left"))
    for each in (solution.below, solution.above):
        if each is not None:
            row = [exact(each.value), exact(each.count)]
            row += [percent(each.percent) if each.percent is not None else ""] if shares else []
            row += [difference(each.count - solution.target), "✓ counted" if each.verified else "from the form"]
            table.add_row(*row, style="bold" if each is solution.nearest else None)
    return table


def solution_markdown(solution: Solution) -> str:
    """The equation and the whole numbers beside its solution in Markdown."""
    what = "trained" if solution.unknown == "r" else "parameters"
    parts = [f"# {plain(solution.model)}: {solution.unknown} for {solution.wanted}\n"]
    if solution.equation is not None:
        parts.append(f"{what}({solution.unknown}) = {pretty(_grouped(solution.equation))}\n")
    rows = [
        [exact(each.value), exact(each.count), difference(each.count - solution.target)]
        for each in (solution.below, solution.above)
        if each is not None
    ]
    if rows:
        headings = [solution.unknown, what.capitalize(), f"From {solution.wanted}"]
        parts.append(markdown_table(headings, rows, right=(0, 1, 2)))
    else:
        parts.append(f"No {solution.unknown} gives {solution.wanted}.\n")
    parts += listed(solution.notes)
    return "\n".join(parts).rstrip() + "\n"


def _grouped(equation: str) -> str:
    """The equation with thousands separated."""
    return " ".join("*".join(_separated(factor) for factor in word.split("*")) for word in equation.split(" "))


def _separated(text: str) -> str:
    return exact(int(text)) if text.isdigit() and len(text) > 3 else text


def solution_document(solution: Solution) -> dict[str, Any]:
    """The JSON of `hfcount solve`."""
    return {
        "schema": SCHEMA,
        "model": solution.model,
        "model_class": solution.model_class,
        "unknown": solution.unknown,
        "wanted": solution.wanted,
        "target": solution.target,
        "equation": solution.equation,
        "exact": solution.exact,
        "below": _candidate(solution.below, solution),
        "above": _candidate(solution.above, solution),
        "nearest": solution.nearest.value if solution.nearest is not None else None,
        "notes": list(solution.notes),
    }


def _candidate(found: Candidate | None, solution: Solution) -> dict[str, Any] | None:
    if found is None:
        return None
    return {**dataclasses.asdict(found), "difference": found.count - solution.target}
