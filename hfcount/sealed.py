"""A thread that builds a model, cut off: no network, no question, no pickle, no code of a repository.

A config class and the libraries behind it do all of this where a field of a config.json says so. Such fields are taken
out before (`foreign_config`); this is the second line of defence, for the field that nobody thought of. It watches
Python's own audit events (PEP 578), which C code raises too, and only on the threads that asked for it: a server's
other threads go on as they are.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

OWN_CODE = "transformers_modules"
"""The package that transformers imports a repository's own code under (transformers/utils/hub.py)."""

_NETWORK = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
)
_ALWAYS = frozenset({"builtins.input"})
_FOREIGN = _ALWAYS | _NETWORK | {"pickle.find_class", "exec"}

_NOTHING: frozenset[str] = frozenset()


class SealedError(OSError):
    """A sealed thread asked for what building a model does not need."""


class _Refused(threading.local):
    """The audit events that this thread may not raise."""

    events = _NOTHING


_refused = _Refused()


@contextlib.contextmanager
def sealed(*, own_code: bool = False) -> Iterator[None]:
    """A context in which this thread reaches nothing outside it; with `own_code` it only asks nothing on stdin.

    `own_code` is for a class of the repository itself, which the user lets run: it may do whatever it does.
    """
    _watch()
    before = _refused.events
    try:
        _refused.events = before | (_ALWAYS if own_code else _FOREIGN)
        yield
    finally:
        _refused.events = before


def is_own_code(found: type) -> bool:
    """Return whether the class is a repository's own, which is imported only with the user's leave."""
    return found.__module__.partition(".")[0] == OWN_CODE


def _is_cut_off() -> bool:
    return not _NETWORK.isdisjoint(_refused.events)


@functools.cache
def _watch() -> None:
    """Watch the process from now on; audit hooks cannot be taken back, so there is one, idle on all other threads."""
    _cut_the_hub_off()
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _refused.events:
        return
    if event == "exec":
        if OWN_CODE in str(getattr(arguments[0], "co_filename", "")):
            raise SealedError("a repository's own code does not run without --trust-remote-code")
        return
    if event == "builtins.input":
        raise EOFError("nothing is asked on stdin")
    if event == "pickle.find_class":
        raise pickle.UnpicklingError("no pickle is loaded while a model is built")
    raise SealedError("the network is shut while a model is built")


def _cut_the_hub_off() -> None:
    """Make the Hub's client offline on sealed threads: a connection that it keeps open raises no event of its own.

    To a sealed thread no repository exists, so transformers takes a plain `backbone` for what it is, a model of timm.
    """
    from huggingface_hub import HfApi, constants

    is_offline_mode, repo_exists = constants.is_offline_mode, HfApi.repo_exists

    @functools.wraps(is_offline_mode)
    def offline_where_sealed() -> bool:
        return _is_cut_off() or is_offline_mode()

    @functools.wraps(repo_exists)
    def none_where_sealed(self: HfApi, *asked: Any, **how: Any) -> bool:
        return not _is_cut_off() and repo_exists(self, *asked, **how)

    constants.is_offline_mode = offline_where_sealed
    HfApi.repo_exists = none_where_sealed  # type: ignore[method-assign]
