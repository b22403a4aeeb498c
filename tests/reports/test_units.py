"""How figures are written."""

from __future__ import annotations

import pytest

from hfcount.reports import units


@pytest.mark.parametrize(
    ("parameters", "written"),
    [
        (0, "0"),
        (999, "999"),
        (4_064, "4.1K"),
        (131_392, "131.4K"),
        (124_439_808, "124.4M"),
        (1_557_611_200, "1.56B"),
        (46_702_792_704, "46.70B"),
        (671_026_404_352, "671.0B"),
        (1_500_000_000_000, "1.50T"),
    ],
)
def test_short_stands_beside_the_exact_count(parameters: int, written: str) -> None:
    assert units.short(parameters) == written
    assert units.exact(parameters) == f"{parameters:,}"


@pytest.mark.parametrize(
    ("parameters", "written"),
    [
        (0, "0"),
        (100, "100"),
        (1_000, "1K"),
        (20e6, "20M"),
        (2.5e9, "2.5B"),
        (100e6, "100M"),
        (671_026_404_352, "671B"),
    ],
)
def test_a_round_count_at_an_axis_has_no_zeros_behind_the_point(parameters: float, written: str) -> None:
    assert units.tick(parameters) == written


@pytest.mark.parametrize(
    ("fraction", "written"),
    [(0.0, "0.00%"), (0.3102, "31.02%"), (1.0, "100.00%"), (1e-7, "<0.01%"), (0.0001, "0.01%")],
)
def test_a_share_that_is_there_is_never_shown_as_nothing(fraction: float, written: str) -> None:
    assert units.share(fraction) == written


def test_percent_is_written_as_peft_writes_it() -> None:
    """PEFT's print_trainable_parameters: `trainable%: 0.2364`."""
    assert units.percent(100 * 294_912 / 124_734_720) == "0.2364%"


@pytest.mark.parametrize(("value", "written"), [(0, "0"), (5, "+5"), (-98_304, "-98,304")])
def test_difference_carries_its_sign(value: int, written: str) -> None:
    assert units.difference(value) == written
