"""An audit on the terminal, as JSON, CSV and Markdown, and as a chart."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from hfcount.auditing.audits import Audit
from hfcount.auditing.finding import FIELDS, VERDICTS, Finding
from hfcount.reports.csv import to_csv
from hfcount.reports.document import SCHEMA
from hfcount.reports.lines import notes
from hfcount.reports.markdown import code, listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.terminal import BAD, DIM, GOOD
from hfcount.reports.units import difference, exact
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.reports.schema import AuditDocument

MARKS = {"ok": "✓", "explained": "≈", "mismatch": "✗", "unverifiable": "?", "error": "!"}
STYLES = {"ok": GOOD, "explained": GOOD, "mismatch": BAD, "unverifiable": DIM, "error": BAD}
MOST_ROWS = 200
LONGEST_CLAIM = 34


def audit_report(audit: Audit) -> RenderableType:
    """The findings of one model in full; of several those that are not plainly right, then the distribution."""
    shown = list(itertools.islice(worth_showing(audit), MOST_ROWS + 1))
    parts: list[RenderableType] = []
    if shown:
        parts.append(_listed(shown[:MOST_ROWS], by_model=audit.summary.models != 1))
    if len(shown) > MOST_ROWS:
        parts.append(Text("… and more; --format csv or --output FILE.jsonl has all of them", style=DIM))
    parts.append(_line(audit))
    if audit.summary.conventions and audit.summary.models > 1:
        parts.append(_section("Explained by", _conventions(audit)))
    if len(audit.summary.largest) > 1 and audit.summary.models > 1:
        parts.append(_section("Largest discrepancies", _largest(audit)))
    parts += notes(audit.notes)
    return Group(*parts)


def worth_showing(audit: Audit) -> Iterable[Finding]:
    if audit.summary.models == 1:
        return audit.findings
    return (finding for finding in audit.findings if finding.verdict in ("mismatch", "error", "explained"))


def _listed(findings: Sequence[Finding], *, by_model: bool) -> RenderableType:
    """Two lines a finding: the figures in columns, then why, in the full width."""
    rows = [_cells(each) for each in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    parts: list[RenderableType] = []
    model = None
    for each, (claim, kind, counted, delta) in zip(findings, rows, strict=True):
        if by_model and each.model != model:
            model = each.model
            parts.append(Text(f"\n{visible(model)}", style="bold"))
        of = "counted" if counted else ""
        said = Text(MARKS[each.verdict], STYLES[each.verdict]).append(
            f" {claim:<{widths[0]}}  {kind}", style="default"
        )
        figures = f"{of:<7} {counted:>{widths[2]}}  {delta:>{widths[3]}}"
        parts.append(_Figures(said, sum(widths[:2]) + 4, figures))
        parts.append(Padding(Text(visible(why(each)), style=DIM), (0, 0, 0, 4)))
    return Group(*parts)


@dataclasses.dataclass(frozen=True)
class _Figures:
    """A claim, and from column `at` on its figures; below the claim where the terminal is too narrow for both."""

    said: Text
    at: int
    figures: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        beside = self.said.copy()
        beside.pad_right(max(0, self.at - self.said.cell_len))
        beside.append(f"  {self.figures}", style="default")
        beside.rstrip()
        if beside.cell_len <= options.max_width:
            yield beside
            return
        yield self.said
        if self.figures.strip():
            yield Text(f"    {re.sub(' {2,}', '  ', self.figures.strip())}")


def _cells(finding: Finding) -> tuple[str, str, str, str]:
    return (
        shortened(visible(finding.claim), LONGEST_CLAIM),
        visible(finding.kind),
        "" if finding.expected is None else exact(finding.expected),
        difference(finding.delta) if finding.delta else "",
    )


def why(finding: Finding) -> str:
    """The convention, the derivation and, in brackets, who claims it."""
    named = finding.convention if finding.verdict == "explained" else None
    said = ": ".join(each for each in (named, finding.explanation) if each)
    return f"{said} [{finding.source}]" if finding.source else said


def shortened(text: str, length: int) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _line(audit: Audit) -> Text:
    """ "180 models: 328 ok · 89 explained · ..." """
    verdicts = audit.summary.verdicts
    models = audit.summary.models
    line = Text(f"\n{models:,} model{'' if models == 1 else 's'}: ", style="bold")
    said = [(verdict, verdicts[verdict]) for verdict in VERDICTS if verdicts[verdict]]
    for index, (verdict, number) in enumerate(said):
        line.append(" · " if index else "")
        line.append(f"{MARKS[verdict]} {number:,} {verdict}", style=STYLES[verdict])
    if audit.summary.unreached:
        line.append(f" · {audit.summary.unreached:,} not reached", style=BAD)
    return line


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), body)


def _conventions(audit: Audit) -> RenderableType:
    table = plain_table(("Convention", "left"), ("Figures", "right"))
    for name, number in audit.summary.conventions.items():
        table.add_row(name, exact(number))
    return table


def _largest(audit: Audit) -> RenderableType:
    table = plain_table(
        ("Model", "left"), ("Claim", "left"), ("Of what", "left"), ("Counted", "right"), ("Off", "right")
    )
    for row in audit.summary.largest:
        table.add_row(
            row["model"], shortened(row["claim"], LONGEST_CLAIM), row["kind"], exact(row["expected"]), off(row)
        )
    return table


def off(row: Mapping[str, Any]) -> str:
    """The difference as a share of the count; where it is many times the count, as a factor."""
    share = row["delta"] / row["expected"]
    return f"{share:+.1%}" if share < 10 else f"{share + 1:,.0f} times"


def audit_document(audit: Audit) -> AuditDocument:
    """The JSON of `hfcount audit`."""
    return {
        "schema": SCHEMA,
        "summary": audit.summary.to_dict(),
        "findings": [finding.to_dict() for finding in audit.findings],
        "notes": list(audit.notes),
    }


def audit_csv(audit: Audit) -> str:
    """A row a finding."""
    return to_csv([finding.to_dict() for finding in audit.findings], FIELDS)


def audit_markdown(audit: Audit) -> str:
    """The distribution, and a row for each finding that is not plainly right (of one model: for each)."""
    verdicts = audit.summary.verdicts
    parts = [
        "# Audit\n",
        markdown_table(
            ["models", *VERDICTS],
            [[exact(audit.summary.models), *(exact(verdicts[verdict]) for verdict in VERDICTS)]],
            right=range(len(VERDICTS) + 1),
        ),
    ]
    rows = [
        [
            f"{MARKS[each.verdict]} {each.verdict}",
            code(each.model),
            plain(each.claim),
            plain(each.kind),
            "" if each.expected is None else exact(each.expected),
            "" if not each.delta else f"{each.delta:+,}",
            plain(why(each)),
        ]
        for each in itertools.islice(worth_showing(audit), MOST_ROWS)
    ]
    if rows:
        headings = ["verdict", "model", "claim", "of what", "counted", "difference", "why"]
        parts.append(markdown_table(headings, rows, right=(4, 5)))
    if audit.summary.unreached:
        parts.append(
            f"- {exact(audit.summary.unreached)} of the models could not be reached: their rows are no results"
        )
    parts += listed(audit.notes)
    return "\n".join(parts).rstrip() + "\n"
