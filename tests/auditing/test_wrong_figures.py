"""Wrong figures come out as mismatches: `explained` is no escape.

Figures are drawn around the bundled models' counts, in the precisions in which figures are published, from half to
twice the count; those that the count itself is printed as are right by luck and are left out.
"""

from __future__ import annotations

import functools
import random
from collections import Counter

import pytest

from hfcount.api import Count, count
from hfcount.auditing.meant import counts_meant
from hfcount.auditing.weighing import Weighed, weigh
from hfcount.conventions import Figure, parse_figure
from hfcount.sources.cards import card_names

KINDS = ("total", "non-embedding", "active", "embedding")


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


def drawn(number: int, *, digits: int | None, seed: int) -> list[tuple[str, str, Figure, Weighed]]:
    """So many wrong figures, each with its card, its kind and what became of it."""
    dice = random.Random(seed)
    found: list[tuple[str, str, Figure, Weighed]] = []
    while len(found) < number:
        card, kind = dice.choice(card_names()), dice.choice(KINDS)
        counts = counts_meant(kind, counted(card))
        if counts is None:
            continue
        figure = parse_figure(printed(counts.own.parameters * dice.uniform(0.5, 2.0), digits))
        if not figure.holds(counts.own.parameters):
            found.append((card, kind, figure, weigh(figure, counts)))
    return found


@pytest.mark.parametrize("digits", [None, 4, 3], ids=["to the unit", "four digits", "three digits"])
def test_wrong_figures_are_mismatches(digits: int | None) -> None:
    found = drawn(1000, digits=digits, seed=20)
    wrong = [each for each in found if each[3].verdict == "mismatch"]
    others = Counter(each[3].convention for each in found if each[3].verdict != "mismatch")
    assert len(wrong) >= 980, others


def test_figures_of_two_digits_are_seldom_explained() -> None:
    """Two digits fit anything: only digits cut off, what is known of the very model, or a way that stands alone."""
    found = drawn(1000, digits=2, seed=21)
    others = Counter(each[3].convention for each in found if each[3].verdict != "mismatch")
    assert sum(others.values()) <= 60, others
