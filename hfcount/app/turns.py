"""Whose question is built next: visitors take turns, and none waits for the whole queue of another."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from hfcount.app.worker import Worker
from hfcount.errors import BadInput

PROCESSES = 2
MAX_WAITING = 4
"""Questions of one visitor that wait; each occupies a thread of the server."""

MAX_WAITING_IN_ALL = 32


class Workers:
    """Processes that build models. A visitor has one of them at a time, so a slow model leaves one to the others."""

    def __init__(self, make: Callable[[], Any] = Worker, *, processes: int = PROCESSES) -> None:
        self._all = tuple(make() for _ in range(processes))
        self._idle = list(self._all)
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[object]] = OrderedDict()
        self._busy: set[str] = set()

    def start(self) -> None:
        """Start the first process; the next one starts when two visitors ask at a time."""
        self._idle[-1].start()

    def ask(self, visitor: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `function` gives in a process, on the turn of `visitor`. BadInput where too many wait."""
        worker = self._turn(visitor)
        try:
            return worker.ask(function, *arguments)
        finally:
            with self._changed:
                self._idle.append(worker)
                self._busy.discard(visitor)
                self._changed.notify_all()

    def _turn(self, visitor: str) -> Any:
        ticket = object()
        with self._changed:
            if len(self._waiting.get(visitor, ())) >= MAX_WAITING:
                raise BadInput(f"{MAX_WAITING} questions of yours wait already; ask again when they are answered")
            if sum(map(len, self._waiting.values())) >= MAX_WAITING_IN_ALL:
                raise BadInput("too many visitors wait for exact answers; ask again in a minute")
            queue = self._waiting.setdefault(visitor, deque())
            queue.append(ticket)
            self._changed.wait_for(lambda: self._is_next(visitor, ticket))
            queue.popleft()
            if queue:
                self._waiting.move_to_end(visitor)
            else:
                del self._waiting[visitor]
            self._busy.add(visitor)
            self._changed.notify_all()
            return self._idle.pop()

    def _is_next(self, visitor: str, ticket: object) -> bool:
        first = next((each for each in self._waiting if each not in self._busy), None)
        return bool(self._idle) and first == visitor and self._waiting[visitor][0] is ticket

    def close(self) -> None:
        """End the processes."""
        for each in self._all:
            each.close()
