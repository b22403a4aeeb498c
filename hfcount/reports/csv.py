"""Results as CSV: one table each, a header line, exact integers, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from hfcount.reports.document import breakdown_rows
from hfcount.result import Count
from hfcount.visible import visible

FORMULA = tuple("=+-@＝＋－＠")
"""What a spreadsheet takes a cell for a formula by, in either width (OWASP, "CSV Injection")."""


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """`rows` as CSV text with the `columns` named; None becomes an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Return `value` as a cell: a number as it is, text on one line, with an apostrophe where it began a formula."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def count_csv(result: Count, *, by: str = "component") -> str:
    """The breakdown's rows: name, parameters, share, formula. What adds up to the total, and nothing else."""
    return to_csv(breakdown_rows(result, by), ["name", "parameters", "share", "formula"])


def explanation_csv(explanation: Any) -> str:
    """A row per convention: whether it gives the figure, its count, the difference."""
    rows = [
        {
            "gives_it": gives,
            "name": each.convention.name,
            "parameters": each.convention.parameters,
            "difference": each.difference,
            "basis": each.convention.basis,
            "derivation": each.convention.derivation,
        }
        for gives, found in ((True, explanation.matches), (False, explanation.misses))
        for each in found
    ]
    return to_csv(rows, ["gives_it", "name", "parameters", "difference", "basis", "derivation"])


def comparison_csv(results: tuple[Count, ...]) -> str:
    """A row per model and component: model, component, parameters, share."""
    rows = [
        {
            "model": each.model,
            "component": part.component,
            "parameters": part.parameters,
            "share": round(part.share, 4),
        }
        for each in results
        for part in each.components
    ]
    return to_csv(rows, ["model", "component", "parameters", "share"])
