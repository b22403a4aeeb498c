"""One published figure and what became of it when it was held against the truth."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, get_args

Verdict = Literal["ok", "explained", "mismatch", "unverifiable", "error"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One row of an audit.

    Attributes:
        model: whose figure it is.
        claim: as printed, "117M"; of an error what could not be read.
        kind: what is claimed: "total", "non-embedding", "active", "trainable", ...; of an error its kind.
        source: where it is said: "README.md line 12", "the repository's name", "safetensors.total".
        verdict: "ok": the figure is the count, rounded as printed. "explained": it is the count by another named
            convention. "mismatch": no convention gives it. "unverifiable": there is nothing to hold it against.
            "error": something could not be read.
        expected: the count that the figure was held against; None where there is none.
        delta: the claimed figure less `expected`.
        convention: the one that gives the figure; None where none does.
        explanation: a line: the derivation, to the unit, or why not.
    """

    model: str
    claim: str
    kind: str
    source: str
    verdict: Verdict
    expected: int | None = None
    delta: int | None = None
    convention: str | None = None
    explanation: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as a row: its fields in order."""
        return dataclasses.asdict(self)


FIELDS = tuple(field.name for field in dataclasses.fields(Finding))


def summary(findings: Iterable[Finding]) -> dict[str, int]:
    """How many models, and how many findings of each verdict."""
    rows = list(findings)
    verdicts = Counter(finding.verdict for finding in rows)
    return {"models": len({finding.model for finding in rows}), **{verdict: verdicts[verdict] for verdict in VERDICTS}}
