"""Strings that remember the field they came from."""

from __future__ import annotations

from typing import Any

from hfcount.formulas.tracing.numbers import note
from hfcount.formulas.tracing.recorder import active


class SymbolicStr(str):
    """A string with the expression that it came from; comparing it is a condition."""

    text: str

    def __new__(cls, value: str, text: str) -> SymbolicStr:
        self = str.__new__(cls, value)
        self.text = text
        return self

    def __deepcopy__(self, memo: Any) -> SymbolicStr:
        return self

    def __reduce__(self) -> Any:
        return str, (str.__str__(self),)

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return False
        value = str.__eq__(self, other)
        recorder = active()
        if recorder is not None:
            plain = self.text if isinstance(other, SymbolicStr) and other.text == self.text else None
            if plain is None:
                right = other.text if isinstance(other, SymbolicStr) else repr(str(other))
                recorder.condition(f"{self.text} == {right}", value, activation=self.text)
        return value

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __contains__(self, part: object) -> bool:
        value = isinstance(part, str) and str.__contains__(self, part)
        note(f"{str(part)!r} in {self.text}", value)
        return value

    def startswith(self, *args: Any) -> bool:
        return self._asked("startswith", *args)

    def endswith(self, *args: Any) -> bool:
        return self._asked("endswith", *args)

    def lower(self) -> str:
        return self._frozen().lower()

    def _asked(self, method: str, *args: Any) -> bool:
        return bool(getattr(self._frozen(), method)(*args))

    def _frozen(self) -> str:
        """The plain string, with its whole value as a condition."""
        value = str.__str__(self)
        note(f"{self.text} == {value!r}", True)
        return value
