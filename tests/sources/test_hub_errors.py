"""What a refusal means, held against how the real client reads the same answer."""

from __future__ import annotations

import pickle
import threading
from importlib import import_module

import pytest
from huggingface_hub import errors as hub
from huggingface_hub.utils import get_session, hf_raise_for_status

from hfcount.errors import GatedError, NotFoundError, OfflineError, RateLimitedError, SourceError
from hfcount.sources.hub_errors import DeadlineError, Subject, no_answer, refusal, within

http = import_module(type(get_session()).__module__.split(".")[0])  # httpx, or what took its place in the client
SUBJECT = Subject(repo_id="lab/model", revision="v1", file="config.json", seconds=5)

MEANINGS = {
    hub.GatedRepoError: (GatedError, "gated"),
    hub.DisabledRepoError: (GatedError, "disabled"),
    hub.RevisionNotFoundError: (NotFoundError, "private or missing"),
    hub.RepositoryNotFoundError: (NotFoundError, "private or missing"),
    hub.RemoteEntryNotFoundError: (NotFoundError, "private or missing"),
}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 429, 451, 500, 503])
@pytest.mark.parametrize("code", ["", "GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound", "Unheard"])
@pytest.mark.parametrize("message", ["", "Access to this resource is disabled.", "Something else"])
def test_each_refusal_means_what_it_means_to_the_client(status: int, code: str, message: str) -> None:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    request = http.Request("GET", "https://huggingface.co/lab/model/resolve/main/config.json")
    found = refusal(status, http.Headers(headers), SUBJECT)
    with pytest.raises(hub.HfHubHTTPError) as raised:
        hf_raise_for_status(http.Response(status, headers=headers, request=request))
    expected = MEANINGS.get(type(raised.value))
    if expected is None:
        others = {401: NotFoundError, 403: GatedError, 429: RateLimitedError}
        assert type(found) is others.get(status, SourceError)
    else:
        assert (type(found), found.kind) == expected
    assert str(found).startswith("lab/model: ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DeadlineError(), "timeout"),
        (http.ReadTimeout("hf_secret"), "timeout"),
        (http.ConnectTimeout("hf_secret"), "timeout"),
        (http.PoolTimeout("hf_secret"), "timeout"),
        (http.RemoteProtocolError("hf_secret"), "cut"),
        (http.ReadError("hf_secret"), "cut"),
        (http.ConnectError("hf_secret"), "offline"),
        (http.UnsupportedProtocol("hf_secret"), "offline"),
        (http.LocalProtocolError("hf_secret"), "token"),
        (UnicodeEncodeError("ascii", "hf_secret", 0, 1, "hf_secret"), "token"),
        (RuntimeError("hf_secret"), "offline"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_a_silence_means(error: Exception, kind: str) -> None:
    found = no_answer(error, SUBJECT)
    assert found.kind == kind
    assert "hf_secret" not in str(found)


def test_the_kind_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(OfflineError("lab/model: too late", kind="timeout")))
    assert (str(error), error.kind) == ("lab/model: too late", "timeout")
    assert OfflineError("lab/model: off").kind == "offline"


def test_work_that_takes_too_long_is_given_up_and_what_it_brings_is_discarded() -> None:
    go_on, discarded = threading.Event(), threading.Event()
    brought: list[str] = []

    def work() -> str:
        go_on.wait()
        return "late"

    with pytest.raises(DeadlineError):
        within(0.01, work, discard=lambda found: (brought.append(found), discarded.set()))
    go_on.set()
    assert discarded.wait(30)
    assert brought == ["late"]


def test_work_that_ends_in_time_returns_or_raises() -> None:
    assert within(30, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="its own"):
        within(30, lambda: (_ for _ in ()).throw(TimeoutError("its own")))
