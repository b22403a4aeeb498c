"""Figures that are wrong by intent, and what an audit says of them: `explained` must be no escape.

Figures are drawn around the bundled models' counts, in the precisions in which figures are published, from half to
twice the count; those that the count itself is printed as are right by luck and are left out.

    python scripts/wrong_figures.py    # how many of 1,000 come out as mismatches, by precision
"""

from __future__ import annotations

import dataclasses
import functools
import random

from hfcount.api import Count, count
from hfcount.auditing.meant import counts_meant
from hfcount.auditing.weighing import Weighed, weigh
from hfcount.conventions import Figure, parse_figure
from hfcount.sources.cards import card_names

KINDS = ("total", "non-embedding", "active", "embedding")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A wrong figure: of which card and which kind of count, and what became of it."""

    card: str
    kind: str
    figure: Figure
    weighed: Weighed


@functools.cache
def counted(card: str) -> Count:
    return count(f"card:{card}", fast=True)


def printed(value: float, digits: int | None) -> str:
    """`value` as it would be published, in so many significant digits; None: to the unit."""
    if digits is None:
        return f"{round(value):,}"
    unit, scale = next(
        (unit, scale) for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3)) if value >= scale or unit == "K"
    )
    return f"{value / scale:.{max(0, digits - len(str(int(value / scale))))}f}{unit}"


def drawn(number: int, *, digits: int | None, seed: int) -> list[Drawn]:
    """So many wrong figures, the same ones for the same seed."""
    dice = random.Random(seed)
    found: list[Drawn] = []
    while len(found) < number:
        card, kind = dice.choice(card_names()), dice.choice(KINDS)
        counts = counts_meant(kind, counted(card))
        if counts is None:
            continue
        figure = parse_figure(printed(counts.own.parameters * dice.uniform(0.5, 2.0), digits))
        if not figure.holds(counts.own.parameters):
            found.append(Drawn(card=card, kind=kind, figure=figure, weighed=weigh(figure, counts)))
    return found


def main() -> None:
    for digits in (2, 3, 4, None):
        of_them = drawn(1000, digits=digits, seed=20)
        mismatches = sum(each.weighed.verdict == "mismatch" for each in of_them)
        print(f"{'to the unit' if digits is None else f'{digits} digits'}: {mismatches} mismatches of {len(of_them)}")


if __name__ == "__main__":
    main()
