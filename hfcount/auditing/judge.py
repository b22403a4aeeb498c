"""A claim held against the truth: which figure it is, which counts it may mean, and the verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hfcount.auditing.finding import Finding
from hfcount.auditing.meant import counts_meant, with_one_expert
from hfcount.auditing.shares import judge_bytes, judge_difference, judge_share
from hfcount.auditing.stating import found, unverifiable, weighed
from hfcount.auditing.truth import Truth, Uncounted
from hfcount.auditing.weighing import weigh, weigh_name
from hfcount.conventions import parse_figure
from hfcount.errors import BadInput
from hfcount.sources.source import Claim

if TYPE_CHECKING:
    from hfcount.result import Count

Judge = Callable[[Claim, "Count", Truth], Finding]

NOMINAL = "nominal, from the name"
MEASURED = (
    "memory that one run took, on one machine: not a fact of the config; `hfcount memory` tells what such a run would "
    "take, and docs/published_memory.md holds the published ones against it"
)


def judge(claim: Claim, truth: Truth, *, names: Sequence[Claim] = ()) -> Finding:
    """The finding on one claim; `names` are the claims of the model's own name.

    Trainable parameters of adapters are judged by peft_lines, what a checkpoint holds by stored.
    """
    model = truth.described.model
    for pattern, reason in UNVERIFIABLE:
        if re.fullmatch(pattern, claim.kind):
            return unverifiable(model, claim, reason)
    count = truth.variant(claim.details["set"]) if claim.details.get("set") else truth.answer
    if isinstance(count, Uncounted):
        return unverifiable(model, claim, count.reason)
    if "experts" in claim.details and "each" in claim.details:
        return _judge_experts(claim, count, truth)
    for pattern, own in JUDGES:
        if re.fullmatch(pattern, claim.kind):
            return own(claim, count, truth)
    return _judge_count(claim, count, truth, names)


def _judge_count(claim: Claim, count: Count, truth: Truth, names: Sequence[Claim]) -> Finding:
    model = truth.described.model
    try:
        figure = parse_figure(claim.claim if claim.value is None else str(claim.value))
    except BadInput:
        return unverifiable(model, claim, "no figure that is a count of parameters")
    counts = counts_meant(claim.kind, count)
    if counts is None:
        return unverifiable(model, claim, f"nothing in {count.model_class} is counted as {claim.kind!r}")
    if NOMINAL in claim.kind:
        return weighed(model, claim, figure, counts, weigh_name(figure, counts))
    nominal = [int(each.approx) for each in names if each.approx]
    return weighed(model, claim, figure, counts, weigh(figure, counts, nominal=nominal))


def _judge_experts(claim: Claim, count: Count, truth: Truth) -> Finding:
    """ "8x7B": so many experts, and what the model would have with one of them."""
    experts = int(claim.details["experts"])
    counts = with_one_expert(count, experts)
    if counts is None:
        pools = sorted({part.expert for part in count.parts if part.expert})
        said = f"it has {', '.join(map(str, pools))} experts a layer" if pools else "it has no experts"
        return found(truth.described.model, claim, "mismatch", f"{experts} experts are claimed; {said}")
    figure = parse_figure(claim.claim.lower().partition("x")[2])
    outcome = weigh_name(figure, counts)
    return weighed(truth.described.model, claim, figure, counts, outcome, counts.own.note)


UNVERIFIABLE: tuple[tuple[str, str], ...] = (
    (r"vram.*|max context at vram|activations.*", MEASURED),
    (r"note|rule", "a remark and no figure of this model"),
    (r"quantization constants", "bits or bytes of a storage format, which docs/published_memory.md derives"),
    (r"checkpoint size", "the size of a file that is not here; its headers would tell"),
    (r"effective.*", "what is active depends on what the program that runs it leaves out"),
    (r"of another model", "said of another model"),
)
"""Kinds of claims that the config says nothing about, and why."""

JUDGES: tuple[tuple[str, Judge], ...] = (
    (r"share: .*", judge_share),
    (r"weights \(.*\)", judge_bytes),
    (r"difference: .*", judge_difference),
)
