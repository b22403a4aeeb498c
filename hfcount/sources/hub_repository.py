"""A repository on the Hub: one request tells what there is, and each file is asked for only if it is there."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from hfcount.errors import BadInput, OfflineError, SourceError
from hfcount.sources.headers.readable import LocalFile, Readable
from hfcount.sources.hub_client import HubClient
from hfcount.sources.hub_errors import Subject, check_repo_id, not_a_hub
from hfcount.sources.repository import not_listed
from hfcount.sources.requests_budget import RequestBudget

MAX_ANSWER_BYTES = 32 * 2**20
"""Of the Hub's own answers: 100,000 files of a repository take less."""

READ_AHEAD = 100_000
"""The bytes that a first range asks for: nearly all safetensors headers fit in (the real client asks for as many)."""

MAX_AHEAD = 8 * 2**20
MAX_RANGE = 128 * 2**20
"""In one range: above every header that is read, and below every checkpoint that would hurt."""

PAGE = 1000

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubRepository:
    """A repository at one commit.

    Attributes:
        repo_id: OWNER/NAME.
        commit: that all files are read at.
        listing: the files and their sizes.
        hub_total: the Hub's `safetensors.total`; None where it has none.
    """

    def __init__(self, repo_id: str, *, revision: str | None, client: HubClient) -> None:
        """Ask the Hub what is there. Raises SourceError, and BadInput for an id that no repository can have."""
        from huggingface_hub import constants

        check_repo_id(repo_id)
        self.repo_id = repo_id
        self.subject = Subject(
            repo_id=repo_id, revision=revision, file="the description of the repository", seconds=client.seconds
        )
        self.client = client
        url = f"{constants.ENDPOINT}/api/models/{repo_id}"
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        found = _json(client.get(f"{url}{at}?blobs=true", self.subject, limit=MAX_ANSWER_BYTES).data, self.subject)
        if not isinstance(found, dict):
            raise not_a_hub(self.subject)
        commit = found.get("sha")
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise not_a_hub(self.subject)
        self.commit = commit
        self.listing: Mapping[str, int | None] = _siblings(found.get("siblings"), self.subject)
        self.hub_total = _safetensors_total(found.get("safetensors"))

    def text(self, name: str, limit: int) -> bytes | None:
        if name not in self.listing:
            return None
        size = self.listing[name]
        if size is not None and size > limit:
            raise BadInput(f"{self.repo_id}: {name} has {size:,} bytes; hfcount reads at most {limit:,} of one")
        if (kept := self._cached(name)) is not None:
            return kept.read(0, limit)
        return self.client.get(self._url(name), self._about(name), limit=limit, size=size).data

    def open(self, name: str) -> Readable:
        if name not in self.listing:
            raise not_listed(name)
        return self._cached(name) or HubFile(
            self._url(name), self._about(name), size=self.listing[name], client=self.client
        )

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repo_id, name, revision=self.commit)

    def _about(self, name: str) -> Subject:
        return dataclasses.replace(self.subject, file=name)

    def _cached(self, name: str) -> LocalFile | None:
        """The file at this commit as the client's cache has it, if it is complete."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo_id, name, revision=self.commit)
        if not isinstance(found, str):
            return None
        file = LocalFile(Path(found), name)
        return file if self.listing[name] in (None, file.size) else None


class HubFile:
    """A file on the Hub, of which only ranges are asked for; what one brought answers the next if it can.

    The Hub sends the reader of a large file to a signed address elsewhere. That is kept, so that a second range
    costs the Hub nothing; if it has run out, the Hub is asked again.
    """

    def __init__(self, url: str, subject: Subject, *, size: int | None, client: HubClient) -> None:
        self.name = subject.file
        self._url, self._subject, self._client = url, subject, client
        self._size = size
        self._direct: str | None = None
        self._start, self._data = 0, b""
        self._ahead = READ_AHEAD

    @property
    def size(self) -> int:
        if self._size is None:
            self._fetch(0, READ_AHEAD)
        assert self._size is not None
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if start < 0 or stop - start > MAX_RANGE:
            raise BadInput(f"{self._subject.repo_id}: {stop - start:,} bytes of {self.name} are no header")
        if start >= stop:
            return b""
        if not (self._start <= start and stop <= self._start + len(self._data)):
            self._start, self._data = self._around(start, stop)
        return self._data[start - self._start : stop - self._start]

    def _around(self, start: int, stop: int) -> tuple[int, bytes]:
        """The bytes asked for and some more, from where they begin: what comes next, or before the file's end."""
        ahead, self._ahead = self._ahead, min(2 * self._ahead, MAX_AHEAD)
        end = min(max(stop, start + ahead), self.size)
        begin = min(start, max(0, end - READ_AHEAD)) if end == self.size else start
        if self._start <= begin < self._start + len(self._data) < end:  # the beginning is here already
            kept = self._data[begin - self._start :]
            return begin, kept + self._fetch(begin + len(kept), end)
        return begin, self._fetch(begin, end)

    def _fetch(self, start: int, stop: int) -> bytes:
        if self._direct is not None:
            try:
                return self._ask(self._direct, start, stop)
            except SourceError:
                self._direct = None
        return self._ask(self._url, start, stop)

    def _ask(self, url: str, start: int, stop: int) -> bytes:
        body = self._client.get(url, self._subject, limit=stop - start, span=(start, stop), size=self._size)
        if self._size is None:
            if body.size is None:
                raise not_a_hub(self._subject)
            self._size = body.size
        self._direct = body.url if body.url != self._url else None
        return body.data


def list_models(
    author: str | None = None,
    search: str | None = None,
    limit: int | None = None,
    *,
    timeout: float | None = None,
    budget: RequestBudget | None = None,
) -> Iterator[str]:
    """The ids of the models of an `author`, or with `search` in their names, in the Hub's order, as the pages come.

    At most `limit` of them. Raises SourceError where the Hub does not answer, on the way too, and OfflineError in
    offline mode (HF_HUB_OFFLINE).
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise OfflineError("the Hub's models cannot be listed in offline mode; unset HF_HUB_OFFLINE")
    client = client_for(timeout, budget)
    subject = Subject(repo_id=author or search or "models", file="the list of models", seconds=client.seconds)
    asked = {"author": author, "search": search, "limit": min(limit or PAGE, PAGE)}
    url = f"{constants.ENDPOINT}/api/models?{urlencode({key: value for key, value in asked.items() if value})}"
    seen: set[str] = set()
    left = limit
    while url not in seen and (left is None or left > 0):
        seen.add(url)
        page = client.get(url, subject, limit=MAX_ANSWER_BYTES)
        names = _names(_json(page.data, subject), subject)[:left]
        yield from names
        left = None if left is None else left - len(names)
        if not page.next_url:
            return
        url = urljoin(page.url, page.next_url)


def client_for(timeout: float | None, budget: RequestBudget | None) -> HubClient:
    """A client with `timeout` seconds of patience, the real client's without; on its own it never waits long."""
    from huggingface_hub import constants

    seconds = timeout or float(constants.HF_HUB_ETAG_TIMEOUT)
    return HubClient(budget or RequestBudget(longest_wait=max(seconds, 30.0)), seconds)


def _json(data: bytes, subject: Subject) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise not_a_hub(subject) from None


def _siblings(found: object, subject: Subject) -> dict[str, int | None]:
    """The listing from the Hub's `siblings`; entries that are none are passed over."""
    if not isinstance(found, list):
        raise not_a_hub(subject)
    listing: dict[str, int | None] = {}
    for entry in found:
        name, size = (entry.get("rfilename"), entry.get("size")) if isinstance(entry, dict) else (None, None)
        if isinstance(name, str):
            listing[name] = size if type(size) is int and size >= 0 else None
    return listing


def _safetensors_total(found: object) -> int | None:
    total = found.get("total") if isinstance(found, dict) else None
    return total if type(total) is int and total >= 0 else None


def _names(found: object, subject: Subject) -> list[str]:
    if not isinstance(found, list):
        raise not_a_hub(subject)
    return [entry["id"] for entry in found if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
