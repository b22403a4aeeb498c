"""Audit the bundled cards and every other published figure that is on record, and write what is left open.

    python scripts/audit_cards.py            # the distribution, and each figure that is not given
    python scripts/audit_cards.py --write    # the section "What is left open" in docs/audit.md

The figures of models without a card have no config to be counted from, so nothing can be held against them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hfcount import audit
from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.auditing.one import audit_described
from hfcount.reports.audit import shortened
from hfcount.reports.markdown import markdown_table
from hfcount.reports.units import exact
from hfcount.sources.cards import find_card
from hfcount.sources.claims import claims_in
from hfcount.sources.described import Described

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "audit.md"
BEGIN, END = "<!-- audited: begin -->", "<!-- audited: end -->"
FACTS = ("claims.json", "lab_claims.json")


def recorded() -> list[dict[str, Any]]:
    """Every published figure on record."""
    return [
        claim
        for name in FACTS
        for claim in json.loads((ROOT / "scripts" / "facts" / name).read_text(encoding="utf-8"))
    ]


def without_card(claims: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """The findings on figures whose model has no card."""
    for entry in claims:
        if find_card(entry["id"]) is None:
            fields = {key: value for key, value in entry.items() if value is not None and key not in ("id", "quoted")}
            claim = claims_in({"hfcount": {"claims": [fields]}})
            yield from (
                finding
                for finding in audit_described(Described(model=entry["id"], where="file", claims=claim))
                if finding.claim == entry["claim"]
            )


def is_exact(finding: Finding) -> bool:
    """Whether the figure is printed to the unit: an integer, or a line of PEFT's."""
    return finding.claim.startswith("trainable params") or finding.claim.replace(",", "").isdigit()


def section() -> str:
    """The distribution of verdicts and the figures that are not given, in Markdown."""
    carded = list(audit(str(ROOT / "model_cards")).findings)
    others = list(without_card(recorded()))
    exactly = [finding for finding in carded if is_exact(finding)]
    rows = [
        _row("the bundled cards", carded),
        _row("of these printed to the unit", exactly),
        _row("figures of models without a card", others),
    ]
    parts = [
        markdown_table(["figures", "in all", *VERDICTS], rows, right=range(1, len(VERDICTS) + 2)),
        f"Of the {len(exactly)} figures printed to the unit, {_share(exactly)} are ok or explained.\n",
        "### Mismatches\n",
        _table([finding for finding in carded if finding.verdict in ("mismatch", "error")]),
        "### Printed to the unit, and nothing to hold them against\n",
        _table([finding for finding in exactly if finding.verdict == "unverifiable"]),
    ]
    return "\n".join(parts)


def _row(name: str, findings: list[Finding]) -> list[str]:
    verdicts = Counter(finding.verdict for finding in findings)
    return [name, exact(len(findings)), *(exact(verdicts[verdict]) for verdict in VERDICTS)]


def _share(findings: list[Finding]) -> str:
    good = sum(finding.verdict in ("ok", "explained") for finding in findings)
    return f"{100 * good / len(findings):.1f} %"


def _table(findings: list[Finding]) -> str:
    rows = [
        [
            f"`{each.model}`",
            shortened(each.claim, 60),
            each.kind,
            "" if each.expected is None else exact(each.expected),
            "" if not each.delta else f"{each.delta:+,}",
            each.explanation,
            each.source,
        ]
        for each in findings
    ]
    headings = ["model", "figure", "of what", "counted", "difference", "what is known", "published in"]
    return markdown_table(headings, rows, right=(3, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into docs/audit.md")
    written = section()
    if not parser.parse_args().write:
        print(written)
        return
    page = PAGE.read_text(encoding="utf-8")
    head, tail = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
    PAGE.write_text(f"{head}\n\n{written}\n{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
