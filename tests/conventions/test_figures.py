"""A printed figure stands for what rounds to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcount.conventions import parse_figure
from hfcount.errors import BadInput


@pytest.mark.parametrize(
    ("text", "value", "low", "high"),
    [
        ("117M", 117_000_000, 116_500_000, 117_499_999),
        ("1542M", 1_542_000_000, 1_541_500_000, 1_542_499_999),
        ("1.5B", 1_500_000_000, 1_450_000_000, 1_549_999_999),
        ("0.5B", 500_000_000, 450_000_000, 549_999_999),
        ("7B", 7_000_000_000, 6_500_000_000, 7_499_999_999),
        ("7.07B", 7_070_000_000, 7_065_000_000, 7_074_999_999),
        ("175,255.8M", 175_255_800_000, 175_255_750_000, 175_255_849_999),
        ("124,439,808", 124_439_808, 124_439_808, 124_439_808),
        ("124439808", 124_439_808, 124_439_808, 124_439_808),
        ("6.7e9", 6_700_000_000, 6_650_000_000, 6_749_999_999),
        ("117 million", 117_000_000, 116_500_000, 117_499_999),
        ("124 million parameters", 124_000_000, 123_500_000, 124_499_999),
        ("~50K", 50_000, 45_000, 54_999),
        ("≈ 1.3 billion", 1_300_000_000, 1_250_000_000, 1_349_999_999),
    ],
)
def test_what_a_figure_stands_for(text: str, value: int, low: int, high: int) -> None:
    figure = parse_figure(text)
    assert (figure.value, figure.low, figure.high) == (value, low, high)


@pytest.mark.parametrize(
    "text", ["", "many", "M", "-117M", "0", "1.5", "117 parsecs", "1,17M", "1e99", "12GB", "٣M" * 50]
)
def test_what_is_no_figure(text: str) -> None:
    with pytest.raises(BadInput, match="is no"):
        parse_figure(text)


@given(parameters=st.integers(1_000, 10**13), digits=st.integers(0, 3))
def test_every_count_is_held_by_its_own_rounding(parameters: int, digits: int) -> None:
    """Printing with Python's own rounding and parsing back: the count is in the range, or sits on its very edge."""
    unit, letter = next((u, name) for u, name in ((10**9, "B"), (10**6, "M"), (10**3, "K")) if parameters >= u)
    figure = parse_figure(f"{parameters / unit:.{digits}f}{letter}")
    assert figure.low - 1 <= parameters <= figure.high + 1
