"""The page of `hfcount audit`: the verdicts at a glance, and the findings that are worth a look."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from hfcount.auditing.audits import Audit
from hfcount.auditing.finding import VERDICTS
from hfcount.reports.audit import MARKS, MOST_ROWS, off, why, worth_showing
from hfcount.reports.html.bars import verdict_chart
from hfcount.reports.html.page import render
from hfcount.reports.units import exact
from hfcount.result import versions

MEANINGS = {
    "ok": "the figure is the count, rounded as printed",
    "explained": "it is the count by another named convention",
    "mismatch": "no convention gives it",
    "unverifiable": "there is nothing to hold it against",
    "error": "something could not be read",
}


def audit_page(audit: Audit) -> str:
    """The findings of one model, or of many those that are not plainly right, as one HTML file."""
    found = list(itertools.islice(worth_showing(audit), MOST_ROWS + 1))
    summary = audit.summary
    title = found[0].model if summary.models == 1 and found else f"{exact(summary.models)} models"
    return render(
        "audit.html",
        charts=True,
        title=f"{title}: what is published, held against the count",
        name=title,
        summary=summary,
        verdicts=[(each, MARKS[each], summary.verdicts[each], MEANINGS[each]) for each in VERDICTS],
        chart=verdict_chart(_kinds(summary.kinds)),
        marks=MARKS,
        findings=[(each, why(each)) for each in found[:MOST_ROWS]],
        more=len(found) > MOST_ROWS,
        largest=[(row, off(row)) for row in summary.largest] if summary.models > 1 else [],
        notes=audit.notes,
        versions=versions(),
    )


def _kinds(kinds: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Kind of claim -> verdict -> findings, the most frequent kind first."""
    found: dict[str, dict[str, int]] = {}
    for (kind, verdict), number in kinds.items():
        found.setdefault(kind, {})[verdict] = number
    return dict(sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0])))
