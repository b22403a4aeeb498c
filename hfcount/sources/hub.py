"""A model described by a repository on the Hugging Face Hub: its config.json, never a weight."""

from __future__ import annotations

from pathlib import Path

from hfcount.errors import (
    BadInput,
    GatedError,
    HfcountError,
    NotFoundError,
    OfflineError,
    RateLimitedError,
    SourceError,
)
from hfcount.sources.config_json import read_config_file
from hfcount.sources.source import Source

TOO_MANY_REQUESTS = 429


def load_hub(
    repo_id: str, *, revision: str | None = None, offline: bool = False, timeout: float | None = None
) -> Source:
    """The source for the Hub repository `repo_id` at `revision` (a branch, tag or commit; default: main).

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub; `offline`
    asks the local cache alone. `timeout` is in seconds, for each request.
    Raises NotFoundError, GatedError, OfflineError, RateLimitedError or SourceError, and BadInput for an id
    that no repository can have.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import validate_repo_id
    from huggingface_hub.utils._validators import HFValidationError

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise BadInput(f"{repo_id!r} is neither a folder, nor a bundled card, nor a Hub id (OWNER/NAME)") from error
    try:
        path = hf_hub_download(
            repo_id,
            "config.json",
            revision=revision,
            local_files_only=offline or constants.is_offline_mode(),
            etag_timeout=timeout or constants.DEFAULT_ETAG_TIMEOUT,
        )
    except HfcountError:
        raise
    except Exception as error:  # the client's errors share no base; each is told apart in one place
        raise _source_error(error, repo_id, revision, offline) from error
    return Source(
        model=repo_id,
        kind="hub",
        location=f"{constants.ENDPOINT}/{repo_id}",
        revision=Path(path).parent.name,  # .../snapshots/<commit>/config.json
        config=read_config_file(Path(path)),
    )


def _source_error(error: Exception, repo_id: str, revision: str | None, offline: bool) -> SourceError:
    """What `error`, raised by huggingface_hub's client, means to the user."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    status = getattr(getattr(error, "response", None), "status_code", None)
    at = f" at revision {revision!r}" if revision else ""
    asked_offline = offline or constants.is_offline_mode()
    if status == TOO_MANY_REQUESTS:
        wait = error.response.headers.get("Retry-After")  # type: ignore[attr-defined]
        again = f"again in {wait} s" if wait else "again later"
        return RateLimitedError(f"{repo_id}: the Hub answered 'too many requests'; try {again}, or set HF_TOKEN")
    if isinstance(error, hub.GatedRepoError):
        return GatedError(
            f"{repo_id}: gated; accept its terms on {constants.ENDPOINT}/{repo_id}, "
            "then set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return NotFoundError(f"{repo_id}: no revision {revision!r}; see {constants.ENDPOINT}/{repo_id}/tree/main")
    if isinstance(error, hub.RepositoryNotFoundError):
        return NotFoundError(f"{repo_id}: no such repository on the Hub, or a private one (then set HF_TOKEN)")
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return NotFoundError(f"{repo_id}: the repository has no config.json{at}, so it describes no model")
    if isinstance(error, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled)) and asked_offline:
        return OfflineError(
            f"{repo_id}: not in the local cache{at}, and offline mode is on; drop --offline or unset HF_HUB_OFFLINE"
        )
    if isinstance(error, hub.HfHubHTTPError) and status is not None:
        return SourceError(f"{repo_id}: the Hub answered with HTTP {status}; try again later")
    return OfflineError(
        f"{repo_id}: the Hub at {constants.ENDPOINT} cannot be reached, and the local cache does not have it{at}"
    )
