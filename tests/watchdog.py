"""A generous bound on processor time, for tests in which a hang is the fault and not a slow machine."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Hang(Exception):
    """The work took more processor time than any machine needs for it."""


@contextlib.contextmanager
def seconds_of_work(seconds: float, what: str = "") -> Iterator[None]:
    """Raise Hang if the body takes more than `seconds` of this process's own time; other load does not count.

    A pattern of `re` looks for signals on its way, so that it is stopped as well.
    """
    with _alarm(
        signal.SIGVTALRM, signal.ITIMER_VIRTUAL, seconds, f"more than {seconds:g} s of processor time: {what}"
    ):
        yield


@contextlib.contextmanager
def seconds_of_waiting(seconds: float) -> Iterator[None]:
    """Raise Hang if the body takes more than `seconds` by the clock: for what would wait without end."""
    with _alarm(signal.SIGALRM, signal.ITIMER_REAL, seconds, f"more than {seconds:g} s"):
        yield


@contextlib.contextmanager
def _alarm(number: signal.Signals, timer: int, seconds: float, text: str) -> Iterator[None]:
    def hang(signum: int, frame: object) -> None:
        raise Hang(text)

    before = signal.signal(number, hang)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)
