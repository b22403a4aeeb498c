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

    def hang(signum: int, frame: object) -> None:
        raise Hang(f"more than {seconds:g} s of processor time: {what}")

    before = signal.signal(signal.SIGVTALRM, hang)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def seconds_of_waiting(seconds: float) -> Iterator[None]:
    """Raise Hang if the body takes more than `seconds` by the clock: for what would wait without end."""

    def hang(signum: int, frame: object) -> None:
        raise Hang(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
