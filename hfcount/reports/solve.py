"""How the answer to an inverse question is shown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hfcount.formulas import pretty
from hfcount.formulas.solve import Candidate, Solution
from hfcount.reports.csv import to_csv
from hfcount.reports.document import SCHEMA
from hfcount.reports.lines import notes
from hfcount.reports.markdown import listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.terminal import BAD
from hfcount.reports.units import difference, exact, percent
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.reports.schema import CandidateDocument, SolutionDocument


def solution_report(solution: Solution) -> RenderableType:
    """The equation, its solution, and the whole numbers beside it."""
    what = "trained" if solution.unknown == "r" else "parameters"
    parts: list[RenderableType] = [Text.assemble((visible(solution.model), "bold"), f" · {solution.model_class}\n")]
    if solution.equation is not None:
        equation = pretty(_grouped(solution.equation))
        parts.append(Text.assemble((f"{what}({solution.unknown}) = {equation}", "bold")))
        if solution.exact is not None:
            parts.append(Text(_at(solution)))
        parts.append(Text())
    if solution.nearest is None:
        parts.append(Text(f"no {solution.unknown} gives {solution.wanted}", BAD))
    else:
        parts.append(_table(solution, what))
    parts += notes(solution.notes)
    return Group(*parts)


def _table(solution: Solution, what: str) -> RenderableType:
    titles, rows = _rows(solution, what)
    table = plain_table(*((title, "right" if title else "left") for title in titles))
    for each, row in rows:
        table.add_row(*row, style="bold" if each is solution.nearest else None)
    return table


def _rows(solution: Solution, what: str) -> tuple[list[str], list[tuple[Candidate, list[str]]]]:
    """The titles, and each candidate with its row of text under them."""
    found = [each for each in (solution.below, solution.above) if each is not None]
    shares = any(each.percent is not None for each in found)
    titles = [solution.unknown, what.capitalize(), *(["Of all"] if shares else []), f"From {solution.wanted}", ""]
    rows = []
    for each in found:
        row = [exact(each.value), exact(each.count)]
        row += [percent(each.percent) if each.percent is not None else ""] if shares else []
        row += [difference(each.count - solution.target), "✓ counted" if each.verified else "from the form"]
        rows.append((each, row))
    return titles, rows


def _at(solution: Solution) -> str:
    """Where the equation gives the target."""
    return f"= {exact(solution.target)} at {solution.unknown} = {solution.exact:,.4f}"


def solution_markdown(solution: Solution) -> str:
    """The equation and the whole numbers beside its solution in Markdown."""
    what = "trained" if solution.unknown == "r" else "parameters"
    parts = [f"# {plain(solution.model)}: {solution.unknown} for {solution.wanted}\n"]
    if solution.equation is not None:
        at = f" {_at(solution)}" if solution.exact is not None else ""
        parts.append(f"{what}({solution.unknown}) = {pretty(_grouped(solution.equation))}{at}\n")
    titles, rows = _rows(solution, what)
    if rows:
        parts.append(markdown_table(titles, [row for _, row in rows], right=range(len(titles) - 1)))
    else:
        parts.append(f"No {solution.unknown} gives {solution.wanted}.\n")
    parts += listed(solution.notes)
    return "\n".join(parts).rstrip() + "\n"


def solution_csv(solution: Solution) -> str:
    """A row for the value below and one for the value above."""
    rows = [_candidate(each, solution) for each in (solution.below, solution.above)]
    return to_csv([each for each in rows if each is not None], ["value", "count", "difference", "percent", "verified"])


def _grouped(equation: str) -> str:
    """The equation with thousands separated."""
    return " ".join("*".join(_separated(factor) for factor in word.split("*")) for word in equation.split(" "))


def _separated(text: str) -> str:
    return exact(int(text)) if text.isdigit() and len(text) > 3 else text


def solution_document(solution: Solution) -> SolutionDocument:
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


def _candidate(found: Candidate | None, solution: Solution) -> CandidateDocument | None:
    if found is None:
        return None
    return {**dataclasses.asdict(found), "difference": found.count - solution.target}
