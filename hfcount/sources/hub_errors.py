"""What the Hub's refusals and silences mean to the user: each becomes one error with one line.

A refusal is read off its status and the header X-Error-Code, as huggingface_hub's `hf_raise_for_status` reads it;
the text that the server sends along is never shown, since it could hold anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as DeadlineError
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from hfcount.errors import BadInput, GatedError, NotFoundError, OfflineError, RateLimitedError, SourceError

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY_REQUESTS = 401, 403, 404, 429
NO_ANSWER = (407, 408, 425)
"""A proxy that wants a password, a request that took too long or came too early: none speaks of the repository."""

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What is asked of the Hub: the messages name it.

    Attributes:
        repo_id: OWNER/NAME.
        revision: a branch, tag or commit; None is the main branch.
        file: within the repository.
        seconds: of patience for each request.
    """

    repo_id: str
    revision: str | None = None
    file: str = "config.json"
    seconds: float = 10.0

    @property
    def at(self) -> str:
        """The revision as a part of a sentence; "" for the default one."""
        return f" at revision {self.revision!r}" if self.revision else ""

    @property
    def absent(self) -> str:
        """What else is missing where the Hub does not answer, as a part of a sentence."""
        return ""


def check_repo_id(repo_id: str) -> None:
    """Raise BadInput for an id that no repository can have."""
    from huggingface_hub.utils import validate_repo_id
    from huggingface_hub.utils._validators import HFValidationError

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise BadInput(f"{repo_id!r} is neither a folder, nor a bundled card, nor a Hub id (OWNER/NAME)") from error


def check_endpoint() -> None:
    """Raise BadInput where HF_ENDPOINT is no address: huggingface_hub cannot even be imported with some of these."""
    named = os.environ.get("HF_ENDPOINT")
    if named is None:
        return
    try:
        _ = urlsplit(named).port
    except ValueError:
        shown = re.sub(r"//[^/]*@", "//", named)  # a user and a password that it may hold
        raise BadInput(f"HF_ENDPOINT={shown}: no address; write it as https://HOST, or unset it") from None


def shown_endpoint() -> str:
    """The address of the Hub as it may be printed: without a user and password that HF_ENDPOINT may hold."""
    from huggingface_hub import constants

    try:
        parts = urlsplit(constants.ENDPOINT)
    except ValueError:  # no address at all
        return str(constants.ENDPOINT)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def within(seconds: float, work: Callable[[], _T], discard: Callable[[_T], object] = lambda _: None) -> _T:
    """What `work` returns or raises; DeadlineError if that takes longer than `seconds`.

    The thread that is given up is a daemon, so that a client asleep until its next attempt keeps nobody waiting;
    what it returns after all goes to `discard`.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            found = work()
        except BaseException as error:
            with contextlib.suppress(InvalidStateError):  # given up
                future.set_exception(error)
            return
        try:
            future.set_result(found)
        except InvalidStateError:
            discard(found)

    threading.Thread(target=run, name="hfcount-hub", daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except DeadlineError:
        if future.cancel():
            raise
        return future.result()  # it came at the last moment, or the work itself ran into a time limit


def no_answer(error: Exception, subject: Subject) -> SourceError:
    """What `error` means, that the client raised with no answer of the Hub at hand."""
    place = f"the Hub at {shown_endpoint()}"
    absent = f", {subject.absent}" if subject.absent else ""
    name = type(error).__name__
    if name == "FileMetadataError":
        return not_a_hub(subject)
    if isinstance(error, DeadlineError) or "Timeout" in name:  # httpx's, whichever it is called
        return OfflineError(
            f"{subject.repo_id}: {place} did not answer within {subject.seconds:g} s{absent}; "
            "try again, or give more with --timeout",
            kind="timeout",
        )
    if isinstance(error, OSError) and error.filename:
        return SourceError(
            f"{subject.repo_id}: the local cache cannot be used ({error.strerror}: {error.filename}); set HF_HOME"
        )
    if isinstance(error, UnicodeError) or name == "LocalProtocolError":
        return GatedError(
            f"{subject.repo_id}: the request cannot be sent; check the letters of HF_TOKEN", kind="token"
        )
    return OfflineError(
        f"{subject.repo_id}: {place} cannot be reached{absent}; check the network, or give a folder or a bundled card",
        kind="cut" if name in _CUT else None,
    )


_CUT = ("RemoteProtocolError", "ReadError", "WriteError", "CloseError")
"""httpx's names for a connection that was there and broke."""


def cut_off(subject: Subject) -> SourceError:
    """The error for a body that ended before it was complete."""
    return SourceError(
        f"{subject.repo_id}: the connection broke off in the middle of {subject.file}; try again", kind="cut"
    )


def not_a_hub(subject: Subject) -> SourceError:
    """The error for an answer that no Hub gives."""
    return SourceError(f"{subject.repo_id}: {shown_endpoint()} does not answer as a Hub does; check HF_ENDPOINT")


def refusal(status: int, headers: Mapping[str, str], subject: Subject) -> SourceError:
    """What an answer with an error's `status` means; `headers` are looked up in any case, as httpx does."""
    code, message = headers.get("X-Error-Code", ""), headers.get("X-Error-Message", "")
    if code in _BY_CODE:
        return _BY_CODE[code](subject)
    if message == "Access to this resource is disabled.":
        page = f"{shown_endpoint()}/{subject.repo_id}"
        return GatedError(
            f"{subject.repo_id}: the Hub has disabled access to this repository; see {page}", kind="disabled"
        )
    if code == "RepoNotFound":
        return _no_repository(subject)
    if status == UNAUTHORIZED and "Invalid credentials" in message:
        return GatedError(
            f"{subject.repo_id}: the Hub does not accept HF_TOKEN; renew it, or run `hf auth login`", kind="token"
        )
    return _by_status(status, headers, subject)


def _gated(subject: Subject) -> SourceError:
    page = f"{shown_endpoint()}/{subject.repo_id}"
    return GatedError(
        f"{subject.repo_id}: gated; accept its terms on {page}, then set HF_TOKEN or run `hf auth login`"
    )


def _no_revision(subject: Subject) -> SourceError:
    page = f"{shown_endpoint()}/{subject.repo_id}"
    return NotFoundError(
        f"{subject.repo_id}: no revision {subject.revision!r}; see {page}/tree/main for what there is"
    )


def _no_repository(subject: Subject) -> SourceError:
    return NotFoundError(
        f"{subject.repo_id}: no such repository on the Hub, or a private one; check the name, or set HF_TOKEN"
    )


def _no_file(subject: Subject) -> SourceError:
    hint = "; look for the one with the original weights, or give a folder" if subject.file == "config.json" else ""
    return NotFoundError(f"{subject.repo_id}: the repository has no {subject.file}{subject.at}{hint}")


_BY_CODE: dict[str, Callable[[Subject], SourceError]] = {
    "GatedRepo": _gated,
    "RevisionNotFound": _no_revision,
    "EntryNotFound": _no_file,
}


def _by_status(status: int, headers: Mapping[str, str], subject: Subject) -> SourceError:
    if status == TOO_MANY_REQUESTS:
        wait = headers.get("Retry-After", "")
        again = f"again in {wait} s" if wait.isdecimal() and len(wait) < 10 else "again later"
        return RateLimitedError(
            f"{subject.repo_id}: the Hub answered that there were too many requests; try {again}, or set HF_TOKEN"
        )
    if status == UNAUTHORIZED:
        return _no_repository(subject)
    if status == FORBIDDEN:
        return GatedError(
            f"{subject.repo_id}: the Hub refuses access (HTTP 403); give a token with the right to read it in HF_TOKEN"
        )
    advice = "check HF_ENDPOINT" if status < 500 else "try again later"
    kind = "refused" if 400 <= status < 500 and status not in NO_ANSWER else "server"
    return SourceError(f"{subject.repo_id}: {shown_endpoint()} answered with HTTP {status}; {advice}", kind=kind)
