"""One figure weighed against the counts that it may mean: the verdict, and what is behind it.

`explained` must not be cheap. A model is counted in some ten ways; a figure of two digits would meet one of them by
chance more often than not. So a convention explains a figure only where somebody has said that this model is counted
so, or where the figure has so many digits that meeting any of the ways by chance is rare (MOST_CHANCE). Cut-off digits
and zeros that are not meant are granted to the count itself alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

from hfcount.auditing.finding import Verdict
from hfcount.conventions import Convention, Figure

MOST_CHANCE = Fraction(1, 50)
"""Of all figures of the same precision between half and twice the count, the share that the other ways may give."""

NOMINAL = Fraction(1, 4)
"""How far a name may be from the count that it stands for, as a share of it: gemma-7b has 8.5 billion, 22 % more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """What a figure of one kind may mean.

    Attributes:
        own: the count itself: the total as built for a "total", the active parameters for an "active".
        others: the further ways of counting that are meant by figures of this kind.
    """

    own: Convention
    others: tuple[Convention, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighed:
    """A verdict, the convention that it rests on, and why, in a line."""

    verdict: Verdict
    convention: str | None
    explanation: str


def weigh(figure: Figure, counts: Counts, *, nominal: Sequence[int] = ()) -> Weighed:
    """The verdict on `figure`. `nominal` are the sizes that the model's name gives; a figure that is one of them is
    read as the name's.
    """
    own = counts.own
    if figure.holds(own.parameters):
        return Weighed(verdict="ok", convention=own.name, explanation=_said(own, figure))
    particular = [each for each in counts.others if each.particular and figure.holds(each.parameters)]
    found = (
        next((_explained(each, figure) for each in particular if each.basis == "documented"), None)
        or _cut_off(figure, own)
        or _round(figure, own)
        or next((_explained(each, figure) for each in particular), None)
        or _counted_otherwise(figure, counts)
        or (_nominal(figure, counts) if figure.value in nominal else None)
    )
    return found or Weighed(verdict="mismatch", convention=None, explanation=_nearest(figure, counts))


def weigh_name(figure: Figure, counts: Counts) -> Weighed:
    """The verdict on the number in a model's name. A name is coarse: zeros at its end are not meant, and of the other
    ways of counting it is read by the one that names are known to follow, without the embeddings."""
    own, meant = counts.own, _significant(figure)
    if meant.holds(own.parameters):
        return Weighed(verdict="ok", convention=own.name, explanation=_said(own, figure))
    bare = (each for each in counts.others if "non-embedding" in each.kinds and each.basis == "arithmetic")
    found = (
        _cut_off(figure, own)
        or next((_explained(each, figure) for each in bare if figure.holds(each.parameters)), None)
        or _nominal(figure, counts)
    )
    return found or Weighed(verdict="mismatch", convention=None, explanation=_nearest(figure, counts))


def chance(figure: Figure, counts: Counts) -> Fraction:
    """How often a random figure of this precision, between half and twice the count, meets one of the other ways."""
    low, high = counts.own.parameters // 2, 2 * counts.own.parameters
    step = figure.high - figure.low + 1
    met = {each.parameters // step for each in counts.others if low <= each.parameters <= high}
    return Fraction(len(met) * step, max(1, high - low))


def _counted_otherwise(figure: Figure, counts: Counts) -> Weighed | None:
    if chance(figure, counts) > MOST_CHANCE:
        return None
    return next((_explained(each, figure) for each in counts.others if figure.holds(each.parameters)), None)


def _cut_off(figure: Figure, own: Convention) -> Weighed | None:
    """The count's own digits, cut off instead of rounded."""
    step = figure.high - figure.low + 1
    if step == 1 or not 0 <= own.parameters - figure.value < min(step, int(NOMINAL * figure.value)):
        return None
    return Weighed(
        verdict="explained",
        convention="digits cut off",
        explanation=f"{own.name}, {own.parameters:,}, not rounded",
    )


def _round(figure: Figure, own: Convention) -> Weighed | None:
    """The count rounded to fewer digits than are printed: "220M" for 222.9 million; two at least."""
    meant = _significant(figure)
    if not meant.holds(own.parameters):
        return None
    return Weighed(
        verdict="explained",
        convention="rounded further than printed",
        explanation=f"{own.name}, {own.parameters:,}, rounded to {meant.low:,} .. {meant.high:,}",
    )


def _significant(figure: Figure) -> Figure:
    """The figure with the zeros at its end read as not meant; two digits are kept, and zeros behind a point."""
    if "." in figure.text:
        return figure
    digits = str(figure.value).rstrip("0")
    step = 10 ** (len(str(figure.value)) - max(2, len(digits)))
    if step <= figure.high - figure.low + 1:
        return figure
    return dataclasses.replace(figure, low=figure.value - step // 2, high=figure.value + step // 2 - 1)


def _nominal(figure: Figure, counts: Counts) -> Weighed | None:
    """The number in a name, near the count but not it."""
    own = counts.own.parameters
    off = figure.value - own
    if abs(off) > NOMINAL * own:
        return None
    share = f"{abs(off) / own:.1%} {'more' if off > 0 else 'less'}"
    return Weighed(
        verdict="explained",
        convention="nominal name",
        explanation=f"the number in the name, {share} than the count of {own:,}: a name and not a count",
    )


def _explained(convention: Convention, figure: Figure) -> Weighed:
    return Weighed(verdict="explained", convention=convention.name, explanation=_said(convention, figure))


def _said(convention: Convention, figure: Figure) -> str:
    """The derivation, to the unit, and how the count is printed."""
    printed = "" if convention.parameters == figure.value else f", printed as {figure.text}"
    inferred = "; an inference" if convention.basis == "inference" else ""
    rule = "; a rule of thumb" if convention.basis == "rule" else ""
    return f"{convention.derivation} = {convention.parameters:,}{printed}{inferred}{rule}"


def _nearest(figure: Figure, counts: Counts) -> str:
    nearest = min((counts.own, *counts.others), key=lambda each: abs(each.parameters - figure.value))
    off = figure.value - nearest.parameters
    also = "" if nearest is counts.own else f"; {counts.own.name}: {counts.own.parameters:,}"
    chanced = any(figure.holds(each.parameters) for each in counts.others)
    too_few = "; it has too few digits to tell by which convention" if chanced else ""
    return f"nearest: {nearest.name}, {nearest.parameters:,} ({off:+,}){also}{too_few}"
