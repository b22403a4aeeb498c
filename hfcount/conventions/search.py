"""Which conventions give a published figure, which do not, and what else would."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import ceil

from hfcount.conventions.figures import Figure, parse_figure
from hfcount.conventions.subject import Subject
from hfcount.conventions.way import Convention


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A convention held against a figure; `difference` is its count less the figure read literally."""

    convention: Convention
    difference: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """What is known of a figure.

    Attributes:
        figure: the figure, and the counts that it stands for.
        matches: the conventions that give it to its printed precision, in their own order.
        misses: those that do not, the nearest first.
        inferences: what would give it and nobody has said: possibilities, a line each. They explain nothing.
    """

    figure: Figure
    matches: tuple[Found, ...]
    misses: tuple[Found, ...]
    inferences: tuple[str, ...]

    @property
    def explained(self) -> bool:
        """Whether a known convention gives the figure."""
        return bool(self.matches)


def explain(figure: str, conventions: Sequence[Convention], subject: Subject) -> Explanation:
    """Hold `figure` against the `conventions` of a model, and look for a vocabulary that would give it.

    Raises BadInput for what is no figure.
    """
    parsed = parse_figure(figure)
    found = [Found(convention=each, difference=each.parameters - parsed.value) for each in conventions]
    matches = tuple(each for each in found if parsed.holds(each.convention.parameters))
    misses = sorted((each for each in found if each not in matches), key=lambda each: abs(each.difference))
    as_built = any(each.convention.basis in ("arithmetic", "documented") for each in matches)
    return Explanation(
        figure=parsed,
        matches=matches,
        misses=tuple(misses),
        inferences=() if as_built else (*_cut_off(parsed, conventions), *_vocabularies(parsed, subject)),
    )


def _cut_off(figure: Figure, conventions: Sequence[Convention]) -> list[str]:
    """The conventions whose count is printed as the figure when its digits are cut off instead of rounded."""
    width = figure.high - figure.low + 1
    cut = [each for each in conventions if width > 1 and figure.value <= each.parameters < figure.value + width]
    return [
        f"'{each.name}', {each.parameters:,}, is printed as {figure.text} where digits are cut off instead of rounded"
        for each in cut
        if not figure.holds(each.parameters)
    ]


def _vocabularies(figure: Figure, subject: Subject) -> list[str]:
    """The sizes of vocabulary with which the total would be printed as `figure`, as a remark."""
    rows, cost = subject.vocabulary_rows
    if not rows:
        return []
    rest = subject.sizes.total - rows * cost
    low, high = max(1, ceil((figure.low - rest) / cost)), (figure.high - rest) // cost
    if high < low or high > 4 * rows:
        return []
    many = f"any vocabulary from {low:,} to {high:,} rows" if high > low else f"a vocabulary of {low:,} rows"
    others = f", {high - low + 1:,} sizes of which any one fits as well" if high > low else ""
    return [
        f"with {many} (the config has {rows:,}) the total would be printed as {figure.text}{others}: "
        "that it fits is no evidence that it was so"
    ]
