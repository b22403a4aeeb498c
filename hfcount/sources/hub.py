"""A model described by a repository on the Hugging Face Hub: its config.json, never a weight.

The real client asks and caches. What it leaves open is how long an answer may take: where nothing is cached it
repeats a failed request up to five times, waits as long as a Retry-After says, and asks with 60 seconds of
patience. So one HEAD request that is never repeated comes first and settles what the matter is; only then
does the client download, against a deadline.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as DeadlineError
from pathlib import Path
from typing import Any, TypeVar

from hfcount.errors import (
    BadInput,
    GatedError,
    NotFoundError,
    OfflineError,
    RateLimitedError,
    SourceError,
)
from hfcount.sources.config_json import MAX_CONFIG_BYTES, read_config_file
from hfcount.sources.source import Source

UNAUTHORIZED, FORBIDDEN, TOO_MANY_REQUESTS = 401, 403, 429
FILE = "config.json"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
    """What is asked of the Hub: the messages name it.

    Attributes:
        repo_id: OWNER/NAME.
        revision: a branch, tag or commit; None is the main branch.
        offline: only the local cache may answer.
        seconds: for each request; the download as a whole may take twice that.
    """

    repo_id: str
    revision: str | None
    offline: bool
    seconds: float

    @property
    def at(self) -> str:
        """The revision as a part of a sentence; "" for the default one."""
        return f" at revision {self.revision!r}" if self.revision else ""


def load_hub(
    repo_id: str, *, revision: str | None = None, offline: bool = False, timeout: float | None = None
) -> Source:
    """The source for the Hub repository `repo_id` at `revision` (a branch, tag or commit; default: main).

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub; `offline`
    asks the local cache alone. `timeout` is in seconds, for each request. A copy in the cache answers where the
    Hub does not, and a note says so.
    Raises NotFoundError, GatedError, OfflineError, RateLimitedError or SourceError, and BadInput for an id
    that no repository can have.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import validate_repo_id
    from huggingface_hub.utils._validators import HFValidationError

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise BadInput(f"{repo_id!r} is neither a folder, nor a bundled card, nor a Hub id (OWNER/NAME)") from error
    request = _Request(
        repo_id=repo_id,
        revision=revision or None,
        offline=offline or constants.is_offline_mode(),
        seconds=timeout or constants.HF_HUB_ETAG_TIMEOUT,
    )
    with _quiet_client():
        path, notes = _fetch(request)
    return Source(
        model=repo_id,
        kind="hub",
        location=f"{constants.ENDPOINT}/{repo_id}",
        revision=path.parent.name,  # .../snapshots/<commit>/config.json
        config=read_config_file(path),
        notes=notes,
    )


def _fetch(request: _Request) -> tuple[Path, tuple[str, ...]]:
    """Where the client keeps the file, and a note if the Hub did not confirm that it is still the one."""
    if request.offline:
        cached = _cached(request)
        if cached is None:
            raise OfflineError(
                f"{request.repo_id}: not in the local cache{request.at}, and offline mode is on; "
                "drop --offline or unset HF_HUB_OFFLINE"
            )
        return cached, ()
    if request.revision and _COMMIT.fullmatch(request.revision) and (cached := _cached(request)):
        return cached, ()  # a commit never changes
    try:
        return _within(2 * request.seconds, lambda: _download(request)), ()
    except BadInput:
        raise
    except Exception as error:  # the client's errors share no base; each is told apart in one place
        reason = _source_error(error, request)
        cached = None if isinstance(reason, NotFoundError) else _cached(request)
        if cached is None:
            raise reason from error
        return cached, (f"the Hub did not answer for this model ({type(reason).__name__}): read from the local cache",)


def _download(request: _Request) -> Path:
    """The file in the client's cache, downloaded if its cache is not up to date; raises the client's errors."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import FileMetadataError

    url = hf_hub_url(request.repo_id, FILE, revision=request.revision)
    found = get_hf_file_metadata(url, timeout=request.seconds)
    if found.commit_hash is None or found.etag is None:
        raise FileMetadataError("the answer has no commit")
    size = found.size or 0
    if size > MAX_CONFIG_BYTES:
        raise BadInput(
            f"{request.repo_id}: its {FILE} has {size:,} bytes; none has more than {MAX_CONFIG_BYTES // 2**20} MiB"
        )
    return Path(
        hf_hub_download(request.repo_id, FILE, revision=request.revision, etag_timeout=request.seconds)  # type: ignore[arg-type]
    )


def _cached(request: _Request) -> Path | None:
    """The file as the local cache has it, without asking anybody."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(request.repo_id, FILE, revision=request.revision)
    return Path(found) if isinstance(found, str) else None


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """What `work` returns or raises; DeadlineError if that takes longer than `seconds`.

    The thread that is given up is a daemon, so that a client asleep until its next attempt keeps nobody waiting.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="hfcount-hub", daemon=True).start()
    return future.result(timeout=seconds)


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """Silence the client's progress bar and warnings: what is wrong is told in one line, by the error."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    verbosity, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    if bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()


def _source_error(error: Exception, request: _Request) -> SourceError:
    """What `error`, raised on the way to the Hub, means to the user."""
    response = getattr(error, "response", None)
    if response is None:
        return _no_answer(error, request)
    return _by_name(error, request) or _by_status(response, request)


def _no_answer(error: Exception, request: _Request) -> SourceError:
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    place = f"the Hub at {constants.ENDPOINT}"
    absent = f"and the local cache does not have it{request.at}"
    if isinstance(error, hub.FileMetadataError):
        return SourceError(f"{request.repo_id}: {constants.ENDPOINT} does not answer as a Hub does; check HF_ENDPOINT")
    if isinstance(error, DeadlineError) or "Timeout" in type(error).__name__:  # httpx's, whichever it is called
        return OfflineError(
            f"{request.repo_id}: {place} did not answer within {request.seconds:g} s, {absent}; "
            "try again, or give more with --timeout"
        )
    if isinstance(error, OSError) and error.filename:
        return SourceError(
            f"{request.repo_id}: the local cache cannot be used ({error.strerror}: {error.filename}); set HF_HOME"
        )
    return OfflineError(
        f"{request.repo_id}: {place} cannot be reached, {absent}; "
        "check the network, or give a folder or a bundled card"
    )


def _by_name(error: Exception, request: _Request) -> SourceError | None:
    """The reasons that the client has a class for; None for any other."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    page = f"{constants.ENDPOINT}/{request.repo_id}"
    if isinstance(error, hub.GatedRepoError):
        return GatedError(
            f"{request.repo_id}: gated; accept its terms on {page}, then set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return NotFoundError(
            f"{request.repo_id}: no revision {request.revision!r}; see {page}/tree/main for what there is"
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return _no_repository(request)
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return NotFoundError(
            f"{request.repo_id}: the repository has no {FILE}{request.at}; "
            "look for the one with the original weights, or give a folder"
        )
    if isinstance(error, hub.DisabledRepoError):
        return GatedError(f"{request.repo_id}: the Hub has disabled access to this repository; see {page}")
    return None


def _by_status(response: Any, request: _Request) -> SourceError:
    from huggingface_hub import constants

    status = response.status_code
    if status == TOO_MANY_REQUESTS:
        wait = response.headers.get("Retry-After", "")
        again = f"again in {wait} s" if wait.isdigit() else "again later"
        return RateLimitedError(
            f"{request.repo_id}: the Hub answered that there were too many requests; try {again}, or set HF_TOKEN"
        )
    if status == UNAUTHORIZED and "Invalid credentials" in response.headers.get("X-Error-Message", ""):
        return GatedError(f"{request.repo_id}: the Hub does not accept HF_TOKEN; renew it, or run `hf auth login`")
    if status == UNAUTHORIZED:
        return _no_repository(request)
    if status == FORBIDDEN:
        return GatedError(
            f"{request.repo_id}: the Hub refuses access (HTTP 403); give a token with the right to read it in HF_TOKEN"
        )
    advice = "check HF_ENDPOINT" if status < 500 else "try again later"
    return SourceError(f"{request.repo_id}: {constants.ENDPOINT} answered with HTTP {status}; {advice}")


def _no_repository(request: _Request) -> NotFoundError:
    return NotFoundError(
        f"{request.repo_id}: no such repository on the Hub, or a private one; check the name, or set HF_TOKEN"
    )
