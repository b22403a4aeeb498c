"""All that a model's page and files say, whatever is wrong with some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hfcount.deadline import deadline
from hfcount.errors import HfcountError, NotFoundError, OfflineError, SourceError
from hfcount.sources.cards import card_folder, find_card, near_names
from hfcount.sources.claims import claims_in, front_matter
from hfcount.sources.config_json import MAX_CONFIG_BYTES, parse_config
from hfcount.sources.described import Described, Fault
from hfcount.sources.folder import CHECKPOINT_SUFFIXES, refuse_bare_path
from hfcount.sources.headers.checkpoint import Checkpoint
from hfcount.sources.headers.readable import Readable
from hfcount.sources.hub_errors import Subject, check_endpoint, check_repo_id, no_answer, shown_endpoint
from hfcount.sources.hub_repository import HubRepository, client_for
from hfcount.sources.repository import LocalFolder, Repository, is_checkpoint_file
from hfcount.sources.requests_budget import RequestBudget

MAX_CARD_BYTES = 8 * 2**20

CONFIG, ADAPTER, CARD = "config.json", "adapter_config.json", "README.md"
REPOSITORY = "the repository"

CLOSED = ("gated", "disabled", "rate limit", "offline", "token")
"""Kinds of faults that every further request would meet again: the first one ends the reading."""

_T = TypeVar("_T")


def describe(
    target: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    headers: bool = True,
    budget: RequestBudget | None = None,
) -> Described:
    """What `target` says of itself: a folder, a checkpoint file, the name or alias of a bundled card, else a Hub id.

    `hf:ID` always asks the Hub, `card:NAME` always the bundled card. What cannot be read is in `faults`, one for each
    reason, and the rest is there all the same. `offline` asks the local cache alone; `timeout` is in seconds, for
    each request; without `headers` no checkpoint is opened; all requests are taken from `budget`, which threads
    share. Raises BadInput for a target that no model can be called.
    """
    if target.startswith("card:"):
        return _card(target.removeprefix("card:"))
    check_endpoint()
    with deadline(timeout, target):
        return _described(target, revision=revision, offline=offline, timeout=timeout, headers=headers, budget=budget)


def _described(
    target: str,
    *,
    revision: str | None,
    offline: bool,
    timeout: float | None,
    headers: bool,
    budget: RequestBudget | None,
) -> Described:
    hub_id = target.removeprefix("hf:") if target.startswith("hf:") else None
    if hub_id is None:
        if (path := _local(target)) is not None:
            return _path(path, headers=headers)
        if revision is None and find_card(target) is not None:
            return _card(target)
        refuse_bare_path(target)
        hub_id = find_card(target) or target  # an alias with a revision still names its repository
    check_repo_id(hub_id)
    return _hub(hub_id, revision or None, offline=offline, timeout=timeout, headers=headers, budget=budget)


def _local(target: str) -> Path | None:
    """The checkpoint file or the folder of a model that `target` is; None where nothing like it is there."""
    if not target:
        return None  # to pathlib, an empty name is the working directory
    try:
        path = Path(target).expanduser()
        if is_checkpoint_file(path):
            return path
        if path.name in (CONFIG, ADAPTER) and path.is_file():
            path = path.parent
        return path if path.is_dir() and _is_model(path, as_typed=target) else None
    except (OSError, ValueError, RuntimeError):  # a name too long, a NUL byte, a ~user that is not there
        return None


def _is_model(folder: Path, *, as_typed: str) -> bool:
    """Whether a folder is a model's: it has a config or a checkpoint. One that is clearly typed as a path may have a
    card alone."""
    if any((folder / name).is_file() for name in (CONFIG, ADAPTER)):
        return True
    if as_typed.startswith((".", "/", "~")) and (folder / CARD).is_file():
        return True
    return any(entry.suffix in CHECKPOINT_SUFFIXES and entry.is_file() for entry in folder.iterdir())


def _card(name: str) -> Described:
    folder = card_folder(name)
    model = f"{folder.parent.name}/{folder.name}"
    start = Described(model=model, where="card", location=f"model_cards/{model}")
    return _read(start, lambda: LocalFolder(folder), headers=False)


def _path(path: Path, *, headers: bool) -> Described:
    """A folder; or a checkpoint file with the config beside it, which `save_pretrained` writes with it. A GGUF file
    says all by itself, and what lies beside it is no part of it."""
    if path.is_dir():
        start = Described(model=path.resolve().name, where="folder", location=str(path))
        return _read(start, lambda: LocalFolder(path), headers=headers)
    names = (path.name,) if path.suffix == ".gguf" else (path.name, CONFIG, ADAPTER)
    start = Described(model=path.name, where="file", location=str(path))
    return _read(start, lambda: LocalFolder(path.parent, names), headers=headers)


def _hub(
    repo_id: str,
    revision: str | None,
    *,
    offline: bool,
    timeout: float | None,
    headers: bool,
    budget: RequestBudget | None,
) -> Described:
    from huggingface_hub import constants

    start = Described(model=repo_id, where="hub", location=f"{shown_endpoint()}/{repo_id}", revision=revision)
    if offline or constants.is_offline_mode():
        return _read(start, lambda: _kept(repo_id, revision), headers=headers)
    client = client_for(timeout, budget)
    return _read(start, lambda: HubRepository(repo_id, revision=revision, client=client), headers=headers)


def _kept(repo_id: str, revision: str | None) -> LocalFolder:
    """The repository as the client's cache has it, complete or not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    subject = Subject(repo_id=repo_id, revision=revision)
    try:
        return LocalFolder(Path(snapshot_download(repo_id, revision=revision, local_files_only=True)))
    except LocalEntryNotFoundError:
        raise OfflineError(
            f"{repo_id}: not in the local cache{subject.at}, and offline mode is on; "
            "drop --offline or unset HF_HUB_OFFLINE"
        ) from None
    except OSError as error:
        raise no_answer(error, subject) from None


def _read(start: Described, opener: Callable[[], Repository], *, headers: bool) -> Described:
    """`start`, with all that can be read in the repository and a fault for what cannot.

    The card comes first: of a gated repository it may be public.
    """
    reading = _Reading(start.model)
    repository = reading.attempt(REPOSITORY, "server" if start.where == "hub" else "folder", opener)
    if repository is None:
        return dataclasses.replace(start, faults=tuple(reading.faults))
    card = reading.card(repository)
    claims = reading.attempt(CARD, "card", lambda: claims_in(front_matter(card))) if card else None
    config = reading.json(repository, CONFIG)
    adapter_config = reading.json(repository, ADAPTER)
    checkpoint = reading.checkpoint(repository, config) if headers else None
    hub = repository if isinstance(repository, HubRepository) else None
    return dataclasses.replace(
        start,
        revision=hub.commit if hub else _snapshot(start, repository),
        config=config,
        adapter_config=adapter_config,
        card=card,
        claims=claims or (),
        hub_total=hub.hub_total if hub else None,
        checkpoint=checkpoint,
        faults=tuple(reading.faults),
    )


def _snapshot(start: Described, repository: Repository) -> str | None:
    """The commit that the cache has: its folders are called .../snapshots/<commit>."""
    return repository.root.name if start.where == "hub" and isinstance(repository, LocalFolder) else None


class _Reading:
    """Reads one repository and keeps the faults.

    Attributes:
        faults: so far.
        closed: whether the repository has refused everything.
        what: is being read.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.faults: list[Fault] = []
        self.closed = False
        self.what = REPOSITORY

    def attempt(self, what: str, kind: str, work: Callable[[], _T]) -> _T | None:
        """What `work` returns; None, and a fault, if it cannot be read. `kind` is that of what is wrong inside."""
        if self.closed:
            return None
        self.what = what
        try:
            return work()
        except SourceError as error:
            self.closed = error.kind in CLOSED
            self.fault(str(error) + self._near(error), error.kind, REPOSITORY if self.closed else None)
        except HfcountError as error:
            self.fault(str(error), kind)
        except (RecursionError, MemoryError) as error:
            self.fault(f"{self.model}: {self.what} asks for too much ({type(error).__name__})", kind)
        return None

    def fault(self, reason: str, kind: str, what: str | None = None) -> None:
        self.faults.append(Fault(what=what or self.what, reason=reason, kind=kind))

    def _near(self, error: SourceError) -> str:
        """The bundled cards that may have been meant where there is no such repository."""
        missing = self.what == REPOSITORY and isinstance(error, NotFoundError | OfflineError)
        return near_names(self.model) if missing else ""

    def json(self, repository: Repository, name: str) -> Mapping[str, Any] | None:
        def read() -> Mapping[str, Any] | None:
            data = repository.text(name, MAX_CONFIG_BYTES)
            return None if data is None else parse_config(data, where=f"{self.model}/{name}")

        return self.attempt(name, "config", read)

    def card(self, repository: Repository) -> str:
        """The card's text; what is not UTF-8 in it is a fault, and replaced."""
        data = self.attempt(CARD, "card", lambda: repository.text(CARD, MAX_CARD_BYTES)) or b""
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.fault(f"{self.model}/{CARD}: not UTF-8 text (byte {error.start}); save it as UTF-8", "card")
            return data.decode("utf-8-sig", errors="replace")

    def checkpoint(self, repository: Repository, config: Mapping[str, Any] | None) -> Checkpoint | None:
        """The checkpoint's table; None where there is none, or where a header cannot be read."""

        def open_file(name: str) -> Readable:
            self.what = name
            return repository.open(name)

        def read() -> Checkpoint | None:
            from hfcount.sources.headers.reading import read_checkpoint_files
            from hfcount.sources.headers.unpacking import unpack

            header = read_checkpoint_files({name: size or 0 for name, size in repository.listing.items()}, open_file)
            return None if header is None else unpack(header, config)

        return self.attempt("the checkpoint", "header", read)
