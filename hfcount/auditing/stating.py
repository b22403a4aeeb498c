"""From a claim and what became of it to a finding."""

from __future__ import annotations

from hfcount.auditing.finding import Finding, Verdict
from hfcount.auditing.weighing import Counts, Weighed
from hfcount.conventions import Figure
from hfcount.sources.source import Claim


def found(
    model: str,
    claim: Claim,
    verdict: Verdict,
    explanation: str,
    *,
    expected: int | None = None,
    claimed: int | None = None,
    convention: str | None = None,
) -> Finding:
    """The finding on `claim`; `claimed` is its figure as a number, for the difference from what is `expected`."""
    return Finding(
        model=model,
        claim=claim.claim,
        kind=claim.kind,
        source=claim.source,
        verdict=verdict,
        expected=expected,
        delta=None if expected is None or claimed is None else claimed - expected,
        convention=convention,
        explanation=explanation,
    )


def weighed(model: str, claim: Claim, figure: Figure, counts: Counts, outcome: Weighed, remark: str = "") -> Finding:
    """The finding on a figure that was weighed."""
    return found(
        model,
        claim,
        outcome.verdict,
        "; ".join(each for each in (outcome.explanation, remark) if each),
        expected=counts.own.parameters,
        claimed=figure.value,
        convention=outcome.convention,
    )


def unverifiable(model: str, claim: Claim, reason: str) -> Finding:
    """The finding on a claim that there is nothing to hold against, and why."""
    return found(model, claim, "unverifiable", reason)
