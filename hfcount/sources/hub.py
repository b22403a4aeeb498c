"""A model described by a repository on the Hugging Face Hub: its config.json, never a weight.

The real client asks and caches. What it leaves open is how long an answer may take: where nothing is cached it
repeats a failed request up to five times, waits as long as a Retry-After says, and asks with 60 seconds of
patience. So one HEAD request that is never repeated comes first and settles what the matter is; only then
does the client download, against a deadline.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfcount.errors import BadInput, NotFoundError, OfflineError, SourceError
from hfcount.sources.config_json import MAX_CONFIG_BYTES, read_config_file
from hfcount.sources.hub_errors import (
    Subject,
    check_endpoint,
    check_repo_id,
    no_answer,
    refusal,
    shown_endpoint,
    within,
)
from hfcount.sources.source import Source

logger = logging.getLogger(__name__)

FILE = "config.json"

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request(Subject):
    """What is asked of the Hub; the download as a whole may take twice its `seconds`.

    Attributes:
        offline: only the local cache may answer.
        own_cache: a folder in place of the user's cache, for a request without the user's token.
    """

    offline: bool
    own_cache: str | None = None

    @property
    def absent(self) -> str:
        return f"and the local cache does not have it{self.at}"


def load_hub(
    repo_id: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    own_cache: str | None = None,
) -> Source:
    """The source for the Hub repository `repo_id` at `revision` (a branch, tag or commit; default: main).

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub; `offline`
    asks the local cache alone. `timeout` is in seconds, for each request. A copy in the cache answers where the
    Hub does not, and a note says so. With `own_cache` the Hub is asked each time as anybody would: no token is sent
    and what the user has in the cache is not read.
    Raises NotFoundError, GatedError, OfflineError, RateLimitedError or SourceError, and BadInput for an id
    that no repository can have.
    """
    check_endpoint()
    from huggingface_hub import constants

    check_repo_id(repo_id)
    request = _Request(
        repo_id=repo_id,
        revision=revision or None,
        offline=offline or constants.is_offline_mode(),
        seconds=timeout or constants.HF_HUB_ETAG_TIMEOUT,
        own_cache=own_cache,
    )
    with _quiet_client():
        path, notes = _fetch(request)
    return Source(
        model=repo_id,
        kind="hub",
        location=f"{shown_endpoint()}/{repo_id}",
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
    logger.info("asking the Hub for %s", request.repo_id)
    try:
        return within(2 * request.seconds, lambda: _download(request)), ()
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

    token = None if request.own_cache is None else False  # None is the user's own
    url = hf_hub_url(request.repo_id, FILE, revision=request.revision)
    found = get_hf_file_metadata(url, timeout=request.seconds, token=token)
    if found.commit_hash is None or found.etag is None:
        raise FileMetadataError("the answer has no commit")
    if (found.size or 0) > MAX_CONFIG_BYTES:
        raise _too_large(request, f"{found.size:,}")
    return Path(
        hf_hub_download(
            request.repo_id,
            FILE,
            revision=request.revision,
            etag_timeout=request.seconds,  # type: ignore[arg-type]
            token=token,
            cache_dir=request.own_cache,
            tqdm_class=_meter(request),
        )
    )


def _meter(request: _Request) -> Any:
    """Return a progress bar that shows nothing and ends the download above MAX_CONFIG_BYTES.

    A server need not say how long its answer is, or may go on behind that; the client reads to the end all the same,
    and tells a bar of each piece before it is written.
    """
    from tqdm import tqdm

    class Meter(tqdm):  # type: ignore[type-arg]
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__(disable=True)
            self.received = 0

        def update(self, n: float | None = 1) -> None:
            self.received += int(n or 0)
            if self.received > MAX_CONFIG_BYTES:
                raise _too_large(request, f"more than {MAX_CONFIG_BYTES:,}")

    return Meter


def _too_large(request: _Request, size: str) -> BadInput:
    most = MAX_CONFIG_BYTES // 2**20
    return BadInput(f"{request.repo_id}: its {FILE} has {size} bytes; none has more than {most} MiB")


def _cached(request: _Request) -> Path | None:
    """The file as the local cache has it, without asking anybody."""
    if request.own_cache is not None:  # the Hub alone knows who may read it
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(request.repo_id, FILE, revision=request.revision)
    return Path(found) if isinstance(found, str) else None


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
        return no_answer(error, request)
    return refusal(response.status_code, response.headers, request)
