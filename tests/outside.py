"""What a thread does outside of its own process, by Python's audit events (PEP 578).

Imported by conftest.py before anything of hfcount, so that what the program refuses is noticed too: hooks are asked in
the order in which they came.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

_NOTED = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "builtins.input",
    "pickle.find_class",
    "urllib.Request",
    "subprocess.Popen",
    "os.system",
)
_OWN = (
    *(sys.prefix, sys.base_prefix, *(path for path in sys.path if path)),
    tempfile.gettempdir() + "/hfcount-tests-",
    *("/proc/", "/sys/", "/dev/", "/usr/", "/lib", "/etc/ld.so"),
)
"""Where an interpreter and its libraries lie, and what they ask of the system."""


class _Watch(threading.local):
    events: list[str] | None = None


_watch = _Watch()


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch.events is None:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode()
        if not path.startswith(_OWN):
            _watch.events.append(f"open {path}")
    elif event == "import" and arguments[0].partition(".")[0] in ("timm", "transformers_modules"):
        _watch.events.append(f"import {arguments[0]}")
    elif event in _NOTED:
        _watch.events.append(f"{event} {arguments!r}"[:200])


sys.addaudithook(_note)


@contextlib.contextmanager
def noted() -> Iterator[list[str]]:
    """The list that what this thread does outside goes into."""
    before, _watch.events = _watch.events, []
    try:
        yield _watch.events
    finally:
        _watch.events = before
