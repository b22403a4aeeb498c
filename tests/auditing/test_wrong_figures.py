"""Wrong figures come out as mismatches: `explained` is no escape. scripts/wrong_figures.py draws them."""

from __future__ import annotations

from collections import Counter

import pytest
from conftest import load_script

drawn = load_script("wrong_figures").drawn


@pytest.mark.parametrize("digits", [None, 4, 3], ids=["to the unit", "four digits", "three digits"])
def test_wrong_figures_are_mismatches(digits: int | None) -> None:
    found = drawn(1000, digits=digits, seed=20)
    wrong = [each for each in found if each.weighed.verdict == "mismatch"]
    others = Counter(each.weighed.convention for each in found if each.weighed.verdict != "mismatch")
    assert len(wrong) >= 980, others


def test_figures_of_two_digits_are_seldom_explained() -> None:
    """Two digits fit anything: only digits cut off, what is known of the very model, or a way that stands alone."""
    found = drawn(1000, digits=2, seed=21)
    others = Counter(each.weighed.convention for each in found if each.weighed.verdict != "mismatch")
    assert sum(others.values()) <= 60, others
