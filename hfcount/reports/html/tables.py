"""The pages of `hfcount explain` and `hfcount compare`."""

from __future__ import annotations

from collections.abc import Sequence

from hfcount.conventions import Explanation
from hfcount.reports.html.bars import models_chart
from hfcount.reports.html.count import BASES, SOURCES
from hfcount.reports.html.page import render
from hfcount.result import Component, Count

TOTALS = (("non-embedding", "non_embedding"), ("active", "active"), ("untied", "untied"))


def explanation_page(result: Count, explanation: Explanation) -> str:
    """Which conventions give the figure and which do not, as one HTML file."""
    return render(
        "explanation.html",
        title=f"{result.model}: why {explanation.figure.text}",
        result=result,
        source=SOURCES.get(result.source.kind, result.source.kind),
        explanation=explanation,
        bases=BASES,
        versions=result.versions,
    )


def comparison_page(results: Sequence[Count]) -> str:
    """Models side by side, a column each, as one HTML file."""
    names = list(dict.fromkeys(part.component for each in results for part in each.components))
    parts = [(each.model, each.components) for each in results]
    return render(
        "comparison.html",
        charts=True,
        title=f"{len(results)} models side by side",
        results=results,
        chart=models_chart(parts),
        shares=models_chart(parts, shares=True),
        rows=[(name, [_part(each, name) for each in results]) for name in names],
        totals=[(title, [getattr(each.sizes, name) for each in results]) for title, name in TOTALS],
        versions=results[0].versions if results else {},
    )


def _part(result: Count, name: str) -> Component | None:
    return next((part for part in result.components if part.component == name), None)
