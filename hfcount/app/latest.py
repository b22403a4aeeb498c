"""Which state each visitor asked for last, so that a slow answer never replaces a newer one."""

from __future__ import annotations

import threading
from collections import OrderedDict

from hfcount.app.state import State

MAX_SESSIONS = 1000


class Latest:
    """The last state of each of the most recent sessions; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, State | None] = OrderedDict()

    def note(self, session: str, state: State | None) -> None:
        """`session` asked for `state` now; None for input that is no state, which no answer is wanted for."""
        with self._lock:
            self._states[session] = state
            self._states.move_to_end(session)
            while len(self._states) > MAX_SESSIONS:
                self._states.popitem(last=False)

    def is_it(self, session: str, state: State) -> bool:
        """Whether nothing else has been asked since."""
        with self._lock:
            return self._states.get(session) == state
