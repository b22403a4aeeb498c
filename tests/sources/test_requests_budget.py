"""One budget of requests for many threads, by a clock that only the test turns."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcount.errors import BadInput, RateLimitedError
from hfcount.sources.requests_budget import LONGEST_PAUSE, RequestBudget, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A clock that stands still until somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def budget(clock: Clock, **how: float | None) -> RequestBudget:
    return RequestBudget(clock=clock, sleep=clock.sleep, **how)  # type: ignore[arg-type]


@given(st.floats(0.1, 100), st.lists(st.floats(0, 5), min_size=2, max_size=20))
def test_no_two_requests_start_closer_than_the_rate(per_second: float, pauses: list[float]) -> None:
    clock = Clock()
    taken = budget(clock, per_second=per_second)
    starts = []
    for pause in pauses:
        clock.now += pause
        taken.take()
        starts.append(clock.now)
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert min(gaps) >= 1 / per_second - 1e-9
    assert taken.requests == len(pauses)


def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    taken = budget(clock)
    for _ in range(1000):
        taken.take()
    assert clock.naps == []


def test_after_a_rest_was_asked_all_wait_until_it_is_over() -> None:
    clock = Clock()
    taken = budget(clock)
    taken.rest(7.5)
    taken.rest(2.0)  # a shorter one does not end it
    taken.take()
    assert clock.now == 107.5
    taken.take()
    assert clock.now == 107.5


def test_a_rest_that_begins_while_a_thread_waits_for_its_turn_counts_too() -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.naps) == 1:
            taken.rest(10.0)

    taken = RequestBudget(per_second=1.0, clock=clock, sleep=sleep)
    taken.take()
    taken.take()
    assert clock.naps == [1.0, 10.0]


def test_who_is_sent_away_for_too_long_asks_again_after_a_moment_that_doubles() -> None:
    """One answer of a day may not end a run; a Hub that stays away is asked ever less, and at least each minute."""
    clock = Clock()
    taken = budget(clock, longest_wait=60.0, first_pause=0.5)
    for _ in range(9):
        taken.rest(100_000.0)
        taken.take()
    assert clock.naps == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    taken.answered()
    taken.rest(100_000.0)
    taken.take()
    assert clock.naps[-1] == 0.5


def test_a_number_of_requests_is_kept_by_many_threads() -> None:
    taken = RequestBudget(max_requests=100)
    refused = []

    def work() -> None:
        for _ in range(50):
            try:
                taken.take()
            except RateLimitedError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (taken.requests, len(refused)) == (100, 300)


def test_pauses_double_are_drawn_and_end_somewhere() -> None:
    taken = RequestBudget(first_pause=0.5)
    for attempt in range(1, 12):
        longest = min(0.5 * 2 ** (attempt - 1), LONGEST_PAUSE)
        drawn = [taken.pause_before(attempt) for _ in range(50)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest


@pytest.mark.parametrize("how", [{"per_second": 0.0}, {"per_second": -1.0}, {"attempts": 0}, {"max_requests": 0}])
def test_a_budget_of_nothing(how: dict) -> None:
    with pytest.raises(BadInput):
        RequestBudget(**how)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"Retry-After": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0.0),
        ({"Retry-After": "Fri, 02 Jan 2026 03:04:35 -0000"}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "Fri, 99 Jan 2026 03:04:35 GMT"}, None),
        # As the Hub sends it (huggingface.co/docs/hub/rate-limits).
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 55.0),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"RateLimit": "nonsense"}, None),
    ],
)
def test_how_long_an_answer_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_is_too_strange(value: str) -> None:
    found = retry_after({"Retry-After": value}, NOW)
    assert found is None or found >= 0
