"""One budget of requests for all threads of a run: how many, how often, and when the Hub wants to be left alone.

The Hub answers 429 to a client that asks too much, with a Retry-After or a RateLimit header that says for how long;
a thread that goes on asking then keeps all of them locked out. So they share one budget, and all of them rest.
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from hfcount.errors import BadInput, RateLimitedError

LONGEST_WAIT = 300.0
"""The Hub counts requests in windows of five minutes (huggingface.co/docs/hub/rate-limits)."""

ATTEMPTS = 4
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0


class RequestBudget:
    """The requests that a run may make.

    Attributes:
        per_second: at most so many requests start in a second; None: as fast as the answers come.
        max_requests: at most so many in all, repeated ones and redirects included; None: no limit.
        attempts: how often one question is asked before it is given up.
        longest_wait: in seconds. A question that is told to come back later than that is given up; the ones after it
            wait for a moment, which doubles up to this each time that the Hub says so again, and are asked.
        first_pause: in seconds, before the second attempt where the server does not say; it doubles each time.
        requests: how many have been made.
    """

    def __init__(
        self,
        *,
        per_second: float | None = None,
        max_requests: int | None = None,
        attempts: int = ATTEMPTS,
        longest_wait: float = LONGEST_WAIT,
        first_pause: float = FIRST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if per_second is not None and not per_second > 0:
            raise BadInput(f"requests per second: {per_second} is none; give a number above 0")
        if attempts < 1 or (max_requests is not None and max_requests < 1):
            raise BadInput("a budget without a single request answers nothing; give at least 1")
        self.per_second = per_second
        self.max_requests = max_requests
        self.attempts = attempts
        self.longest_wait = longest_wait
        self.first_pause = first_pause
        self.requests = 0
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next_start = self._rest_until = float("-inf")
        self._sent_away = 0

    def take(self) -> None:
        """Wait until one more request may start, and count it.

        Raises RateLimitedError if all requests are used up.
        """
        start = self._reserve()
        while (wait := max(start, self._rest_until) - self._clock()) > 0:
            self._sleep(wait)

    def rest(self, seconds: float) -> None:
        """From now on no thread starts a request for so many `seconds`.

        Above `longest_wait` it is a moment instead: one absurd answer may not end a run of many repositories.
        """
        with self._lock:
            if seconds > self.longest_wait:
                seconds = min(self.first_pause * 2 ** min(self._sent_away, 30), self.longest_wait)
                self._sent_away += 1
            self._rest_until = max(self._rest_until, self._clock() + seconds)

    def answered(self) -> None:
        """Note that the Hub answers: the next time that it sends everybody away counts as the first."""
        self._sent_away = 0

    def pause(self, seconds: float) -> None:
        """Let this thread alone wait."""
        self._sleep(seconds)

    def pause_before(self, attempt: int) -> float:
        """Seconds before the attempt that follows the `attempt`-th: twice as many each time, and drawn, so that
        threads that failed together do not come back together."""
        longest = min(self.first_pause * 2 ** (attempt - 1), LONGEST_PAUSE, self.longest_wait)
        return longest * random.uniform(0.5, 1.0)

    def _reserve(self) -> float:
        """When the next request may start by `per_second`."""
        with self._lock:
            if self.max_requests is not None and self.requests >= self.max_requests:
                raise RateLimitedError(f"the budget of {self.max_requests:,} requests is used up; give a larger one")
            self.requests += 1
            start = max(self._clock(), self._next_start)
            if self.per_second is not None:
                self._next_start = start + 1 / self.per_second
            return start


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that an answer asks to wait for; None where it does not say.

    Retry-After in seconds or as a date (RFC 9110, section 10.2.3); without one, the time until the window of the
    RateLimit header ends, which the Hub sends.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:12])
    if value:
        try:
            then = email.utils.parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
        return max(0.0, (then - (now or datetime.now(timezone.utc))).total_seconds())
    return _window(headers)


def _window(headers: Mapping[str, str]) -> float | None:
    from huggingface_hub.utils import parse_ratelimit_headers

    found = parse_ratelimit_headers(headers)
    return float(found.reset_in_seconds) if found is not None and found.remaining == 0 else None
