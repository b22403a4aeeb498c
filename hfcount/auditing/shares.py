"""Figures that follow from counts: a component's share, the bytes of the weights, what a change of the config adds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcount.auditing.finding import Finding
from hfcount.auditing.meant import counts_meant
from hfcount.auditing.stating import found, unverifiable, weighed
from hfcount.auditing.truth import Truth, Uncounted
from hfcount.auditing.weighing import Counts, weigh
from hfcount.conventions import Convention, parse_figure
from hfcount.errors import BadInput
from hfcount.sources.source import Claim

if TYPE_CHECKING:
    from hfcount.result import Count

_PERCENT = re.compile(r"~?\s*(?P<whole>\d{1,3})(?:\.(?P<part>\d{1,6}))?\s*%")
_BYTES = re.compile(r"~?\s*(?P<number>\d{1,6}(?:\.(?P<part>\d{1,6}))?)\s*(?P<unit>[KMGT])(?P<binary>i?)B")
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
WIDTHS = {"fp32": 4, "bf16": 2, "fp16": 2}


def judge_share(claim: Claim, count: Count, truth: Truth) -> Finding:
    """ "share: MLP": the component's part of the total, to the printed digit."""
    model = truth.described.model
    counts = counts_meant(f"component: {claim.kind.partition(': ')[2]}", count)
    printed = _PERCENT.fullmatch(claim.claim.strip())
    if counts is None or printed is None:
        return unverifiable(model, claim, "no percentage of a component that this model has")
    places = len(printed["part"] or "")
    share = 100 * counts.own.parameters / count.sizes.total
    claimed = float(f"{printed['whole']}.{printed['part'] or 0}")
    said = f"{counts.own.parameters:,} of {count.sizes.total:,}: {share:.{places + 1}f} %"
    return found(model, claim, "ok" if abs(share - claimed) <= 0.5 * 10.0**-places else "mismatch", said)


def judge_bytes(claim: Claim, count: Count, truth: Truth) -> Finding:
    """ "weights (bf16)": the total in elements of that type; `explained` where the unit is a power of 1024."""
    model = truth.described.model
    width = WIDTHS.get(claim.kind.partition("(")[2].rstrip(")"))
    printed = _BYTES.fullmatch(claim.claim.strip())
    if width is None or printed is None:
        return unverifiable(model, claim, "no number of bytes in a type that is known")
    nbytes = width * count.sizes.total
    power, places = _POWERS[printed["unit"]], len(printed["part"] or "")
    step = 10.0**-places
    number = float(printed["number"])
    units = (1000, 1024) if not printed["binary"] else (1024,)
    for unit in units:
        if abs(nbytes / unit**power - number) <= step / 2:
            named = "powers of 1024, printed as if of 1000" if unit == 1024 and not printed["binary"] else ""
            said = f"{width} bytes x {count.sizes.total:,} = {nbytes:,}{'; ' if named else ''}{named}"
            return found(model, claim, "explained" if named else "ok", said, expected=nbytes)
    claimed = round(number * units[0] ** power)
    return found(model, claim, "mismatch", f"{width} bytes x {count.sizes.total:,}", expected=nbytes, claimed=claimed)


def judge_difference(claim: Claim, count: Count, truth: Truth) -> Finding:
    """ "difference: ...": what the variant that the claim sets has more than the model as it stands."""
    model = truth.described.model
    base = truth.answer
    if not claim.details.get("set") or isinstance(base, Uncounted):
        return unverifiable(model, claim, "the claim does not say by which fields of the config the two differ")
    try:
        figure = parse_figure(claim.claim.strip().lstrip("+"))
    except BadInput as error:
        return unverifiable(model, claim, str(error))
    fields = ", ".join(f"{name}={value}" for name, value in claim.details["set"].items())
    added = count.sizes.total - base.sizes.total
    own = Convention(name="difference", parameters=added, derivation=f"total with {fields}, less the total", note="")
    counts = Counts(own=own)
    return weighed(model, claim, figure, counts, weigh(figure, counts))
