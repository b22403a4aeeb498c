"""How long the work of one answer may take: a deadline that lies around it, for the loops on the way to ask.

A timer interrupts the main thread of a process alone, and nothing in which torch would be hurt. So the loops that a
config or a file can make long ask `check_deadline` at each turn, in whatever thread they run.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from hfcount.errors import BadInput, HfcountError

clock = time.monotonic

_T = TypeVar("_T")


class Overdue(BadInput):
    """The work took longer than `--timeout` allows."""


class TimeIsUp(HfcountError):
    """A step that was to take no longer than so many seconds did."""

    def __init__(self) -> None:
        super().__init__("the simulated step ran past its time limit")


@dataclasses.dataclass
class _Deadline:
    """When the work on `what` must be done, and how many `seconds` it was given."""

    what: str
    seconds: float
    until: float
    paused: bool = False


_CURRENT: contextvars.ContextVar[_Deadline | None] = contextvars.ContextVar("deadline", default=None)


@contextlib.contextmanager
def deadline(seconds: float | None, what: str) -> Iterator[None]:
    """A context whose work on `what` ends in Overdue after `seconds`.

    A deadline around it that is nearer counts instead; with None it alone.
    """
    around, until = _CURRENT.get(), clock() + (seconds or 0)
    if seconds is None or (around is not None and around.until <= until):
        yield
        return
    token = _CURRENT.set(_Deadline(what, seconds, until))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def check_deadline() -> None:
    """Raise Overdue where the time of the work around this is over."""
    current = _CURRENT.get()
    if current is not None and clock() > current.until:
        raise overdue(current.what, current.seconds)


def in_time(values: Iterable[_T]) -> Iterator[_T]:
    """Yield `values` one after the other, as long as there is time."""
    for value in values:
        check_deadline()
        yield value


def overdue(what: str, seconds: float) -> Overdue:
    return Overdue(f"{what}: took more than {seconds:g} s; check its sizes, or give more with --timeout")


def time_left() -> tuple[float, float] | None:
    """Return the seconds that are left and those that were given; None without a deadline."""
    current = _CURRENT.get()
    return None if current is None else (max(0.001, current.until - clock()), current.seconds)


@contextlib.contextmanager
def after_deadline() -> Iterator[None]:
    """A context for what is still to be said after the time is over: nothing in it asks for the time."""
    token = _CURRENT.set(None)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """A context whose time does not count: a request has a limit of its own."""
    current, begun = _CURRENT.get(), clock()
    if current is None or current.paused:
        yield
        return
    current.paused = True
    try:
        yield
    finally:
        current.paused = False
        current.until += clock() - begun
