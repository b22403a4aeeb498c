"""Questions to the Hub with a bound on everything: bytes, seconds, redirects, attempts, requests in all.

huggingface_hub brings the session, the headers and the token. Its own calls read an answer of any size for any
time, repeat and wait on their own, and each thread for itself: an audit of many repositories cannot live with
that. Here every request goes through one budget, comes to an end, and never gives more than was asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from hfcount._version import __version__
from hfcount.deadline import uncounted
from hfcount.errors import BadInput, HfcountError, SourceError
from hfcount.sources.hub_errors import (
    TOO_MANY_REQUESTS,
    DeadlineError,
    Subject,
    cut_off,
    no_answer,
    not_a_hub,
    refusal,
    within,
)
from hfcount.sources.requests_budget import RequestBudget, retry_after

if TYPE_CHECKING:
    import httpx2

MAX_REDIRECTS = 5
RETRIED = (408, TOO_MANY_REQUESTS, 500, 502, 503, 504)
SLOWEST = 32 * 1024
"""Bytes a second that a body must come with in the long run: a server that drips is given up."""

_DRAINED = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclasses.dataclass(frozen=True)
class Body:
    """What an answer brought.

    Attributes:
        data: as asked for.
        size: in bytes, of the whole file; None where the server did not say.
        url: where it came from in the end.
        next_url: of a list's next page, "" after the last.
    """

    data: bytes
    size: int | None
    url: str
    next_url: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Question:
    """What one request is for: the address, who is named in the errors, and the bounds of `HubClient.get`."""

    url: str
    subject: Subject
    limit: int
    span: tuple[int, int] | None
    size: int | None


class _Again(Exception):
    """An attempt that failed in a way that passes: `reason` if it was the last, `wait` in seconds if one is asked."""

    def __init__(self, reason: SourceError, *, wait: float | None = None, for_all: bool = False) -> None:
        super().__init__()
        self.reason, self.wait, self.for_all = reason, wait, for_all


class HubClient:
    """Asks the Hub, for one thread or many.

    Attributes:
        budget: that all requests are taken from.
        seconds: of patience with each request.
    """

    def __init__(self, budget: RequestBudget, seconds: float) -> None:
        self.budget = budget
        self.seconds = seconds

    def get(
        self, url: str, subject: Subject, *, limit: int, span: tuple[int, int] | None = None, size: int | None = None
    ) -> Body:
        """The body at `url`, or its bytes from `span[0]` up to `span[1]`; fewer only where the file ends.

        `subject` is named in the errors. `size` is what the whole must have, where that is known. No more than
        `limit` bytes are kept of what the server sends, and then it is hung up on.
        Raises BadInput for a body above `limit`, and SourceError.
        """
        with uncounted():
            return self._answered(_Question(url=url, subject=subject, limit=limit, span=span, size=size))

    def _answered(self, question: _Question) -> Body:
        """The answer, after as many attempts as it takes."""
        attempt, waited = 0, 0.0
        while True:
            attempt += 1
            found = self._attempt(question)
            if isinstance(found, Body):
                self.budget.answered()
                return found
            wait = self.budget.pause_before(attempt) if found.wait is None else found.wait
            if found.for_all:
                self.budget.rest(wait)
            waited += wait
            if attempt >= self.budget.attempts or waited > self.budget.longest_wait:
                raise found.reason
            if not found.for_all:
                self.budget.pause(wait)

    def _attempt(self, question: _Question) -> Body | _Again:
        """The answer, or what went wrong if another attempt may help; raises what no attempt mends."""
        try:
            return self._follow(question)
        except _Again as again:
            return again
        except HfcountError:
            raise
        except Exception as error:  # the client's errors share no base, and some hold the token: none is chained
            reason = no_answer(error, question.subject)
            passes = reason.kind in ("timeout", "cut") or type(error).__name__ == "ConnectError"
        if not passes:
            raise reason
        return _Again(reason)

    def _follow(self, question: _Question) -> Body:
        """The answer at the end of the redirects."""
        url = question.url
        for _ in range(MAX_REDIRECTS + 1):
            self.budget.take()
            response = self._begin(url, question.span)
            try:
                if not response.has_redirect_location:
                    return self._body(response, url, question)
                self._collect(response, _DRAINED)
            finally:
                response.close()
            url = urljoin(url, response.headers["Location"])
        raise SourceError(f"{question.subject.repo_id}: redirected more than {MAX_REDIRECTS} times; check HF_ENDPOINT")

    def _begin(self, url: str, span: tuple[int, int] | None) -> httpx2.Response:
        """The answer's status and headers; the token goes to the Hub alone, never to where it redirects to."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session

        own = _origin(url) == _origin(constants.ENDPOINT)
        token = None if own else False  # None is the user's own
        headers = build_hf_headers(token=token, library_name="hfcount", library_version=__version__)
        headers["accept-encoding"] = "identity"  # what is compressed may be any size
        if span is not None:
            headers["range"] = f"bytes={span[0]}-{span[1] - 1}"
        session = get_session()
        request = session.build_request("GET", url, headers=headers, timeout=self.seconds)
        return within(
            2 * self.seconds,
            lambda: session.send(request, stream=True, follow_redirects=False),
            discard=lambda response: response.close(),
        )

    def _body(self, response: httpx2.Response, url: str, question: _Question) -> Body:
        status, headers, subject = response.status_code, response.headers, question.subject
        if status >= 400:
            with contextlib.suppress(Exception):  # the status says it all; a body read to its end frees the connection
                self._collect(response, _DRAINED)
            reason = refusal(status, headers, subject)
            if status in RETRIED:
                raise _Again(reason, wait=retry_after(headers), for_all=status == TOO_MANY_REQUESTS)
            raise reason
        if status not in (200, 206) or headers.get("Content-Encoding", "identity").lower() != "identity":
            raise not_a_hub(subject)
        expected, size = _promised(status, headers, question)
        whole = status == 200 and question.span is not None  # of a file whose beginning alone is wanted
        data = self._collect(response, question.limit + (not whole), subject)
        if len(data) > question.limit:
            raise _too_large(subject, question.limit)
        if (expected is not None and len(data) < expected) or (question.size or 0) > (size or len(data)):
            raise _Again(cut_off(subject))
        return Body(data, size, url, response.links.get("next", {}).get("url", ""))

    def _collect(self, response: httpx2.Response, most: int, subject: Subject | None = None) -> bytes:
        """At most so many bytes of the body; raises DeadlineError if they drip, and _Again if they break off.

        A body that is read to its end, and not just to its last byte, leaves its connection to the next request.
        """
        data, started = bytearray(), time.monotonic()
        try:
            for chunk in response.iter_raw():
                data += chunk[: most - len(data)]
                if len(data) >= most:
                    break
                if time.monotonic() - started > 2 * self.seconds + len(data) / SLOWEST:
                    raise DeadlineError
        except Exception as error:
            if subject is None or "Timeout" in type(error).__name__:
                raise
            raise _Again(cut_off(subject)) from None
        return bytes(data)


def _promised(status: int, headers: Mapping[str, str], question: _Question) -> tuple[int | None, int | None]:
    """How many bytes of the body are wanted, and how many the file has, as the headers say; None where they do not.

    A server that ignores ranges sends the file from its beginning: of use only if that is what was asked for.
    """
    subject, span = question.subject, question.span
    length = _number(headers.get("Content-Length"))
    if status == 200:
        if span is None:
            if length is not None and length > question.limit:
                raise _too_large(subject, question.limit)
            return length, length
        if span[0] > 0:
            raise SourceError(f"{subject.repo_id}: the server of {subject.file} gives no parts of a file")
        return span[1] if length is None else min(length, span[1]), length
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if span is None or found is None:
        raise not_a_hub(subject)
    first, last, size = (int(number) for number in found.groups())
    if first != span[0] or last != min(span[1], size) - 1:
        raise SourceError(
            f"{subject.repo_id}: other bytes of {subject.file} came than were asked for; try again later"
        )
    return last + 1 - first, size


def _too_large(subject: Subject, limit: int) -> BadInput:
    return BadInput(f"{subject.repo_id}: {subject.file} has more than the {limit:,} bytes that hfcount reads of one")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 19 else None


def _origin(url: str) -> tuple[Any, ...]:
    """What decides whether two addresses are one server: the scheme, the host and the port."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port
