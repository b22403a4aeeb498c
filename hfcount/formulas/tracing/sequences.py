"""Lists and ranges that remember: fields that are lists, lists that a config class worked out, symbolic loops."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from typing import Any

from hfcount.formulas.tracing.numbers import (
    SymbolicBool,
    SymbolicFloat,
    SymbolicInt,
    note,
    plain,
    polynomial_of,
    text_of,
)
from hfcount.formulas.tracing.recorder import Loop, active, index_pattern, negated
from hfcount.formulas.tracing.strings import SymbolicStr
from hfcount.formulas.tracing.writing import literal


class SymbolicList(list):  # type: ignore[type-arg]
    """A list field: its elements remember their place, its length is a condition."""

    text: str

    def __init__(self, values: Any, text: str) -> None:
        list.__init__(self, values)
        self.text = text

    def __deepcopy__(self, memo: Any) -> SymbolicList:
        return self

    def __copy__(self) -> SymbolicList:
        return self

    def __reduce__(self) -> Any:
        return list, (list.copy(self),)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __len__(self) -> int:
        value = list.__len__(self)
        note(f"len({self.text}) == {value}", True)
        return value

    def __bool__(self) -> bool:
        value = list.__len__(self) > 0
        note(f"len({self.text}) == 0", not value)
        return value

    def element(self, place: int, index: str) -> Any:
        """The element at `place`, under the name of the index expression `index`."""
        return remembering(list.__getitem__(self, place), f"{self.text}[{index}]")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, SymbolicInt):
            return self.element(int(index), text_of(index, parenthesised=False))
        if isinstance(index, slice):
            size = len(self)
            return [self.element(place, str(place)) for place in range(size)[index]]
        if index < 0:
            return self.element(index, str(len(self) + index))
        note(f"len({self.text}) > {index}", True)
        return self.element(index, str(index))

    def __iter__(self) -> Iterator[Any]:
        return TracedLoop.over_list(self)

    def __reversed__(self) -> Iterator[Any]:
        return reversed([self.element(place, str(place)) for place in range(len(self))])

    def __contains__(self, value: object) -> bool:
        found = plain(value) in [plain(each) for each in list.__iter__(self)]
        shown = text_of(value, parenthesised=False) if isinstance(value, SymbolicInt) else repr(value)
        note(f"{shown} in {self.text}", found)
        return found

    def __eq__(self, other: object) -> bool:
        value = isinstance(other, (list, tuple)) and list.__eq__(list(list.__iter__(self)), list(other))
        note(f"{self.text} == {self._plain()}", True)
        return value

    def __add__(self, other: Any) -> Any:
        return [*self._elements(), *other]

    def __radd__(self, other: Any) -> Any:
        return [*other, *self._elements()]

    def count(self, value: Any) -> Any:
        return SymbolicInt.atom(list.count(self, value), f"{self.text}.count({value!r})")

    def index(self, *args: Any) -> int:
        note(f"{self.text} == {self._plain()}", True)
        return list.index(self, *args)

    def _elements(self) -> list[Any]:
        return [self.element(place, str(place)) for place in range(len(self))]

    def _plain(self) -> str:
        return literal([plain(value) for value in list.__iter__(self)])


class DerivedList(SymbolicList):
    """A list that the config class worked out in a loop: reading an element repeats that loop's conditions."""

    def __init__(self, values: Any, loop: Loop) -> None:
        SymbolicList.__init__(self, values, "derived")
        self.loop = loop

    def element(self, place: int, index: str) -> Any:
        recorder = active()
        if recorder is not None and self.loop.paths:
            for text, outcome in self.loop.paths[place]:
                recorder.condition(index_pattern(self.loop.index).sub(index, text), outcome)
        return list.__getitem__(self, place)

    def __len__(self) -> int:
        return list.__len__(self)

    def __bool__(self) -> bool:
        return list.__len__(self) > 0

    def __iter__(self) -> Iterator[Any]:
        return TracedLoop.over_list(self)

    def __contains__(self, value: object) -> bool:
        return plain(value) in [plain(each) for each in list.__iter__(self)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, tuple)) and list(list.__iter__(self)) == list(other)

    __hash__ = None  # type: ignore[assignment]


class Segments(list):  # type: ignore[type-arg]
    """`[dense] * k + [sparse] * (n - k)`: a list made of parts, each a few values repeated a symbolic number of times.

    Reading an element is a question of which part its index falls into.
    """

    def __init__(self, parts: list[tuple[list[Any], Any]]) -> None:
        list.__init__(self, [value for values, times in parts for _ in range(int(times)) for value in values])
        self.parts = parts

    @property
    def changed(self) -> bool:
        """Whether an element was replaced after the parts were put together."""
        made = [value for values, times in self.parts for _ in range(int(times)) for value in values]
        return list(list.__iter__(self)) != made

    @property
    def times(self) -> Any:
        """The list's length, symbolic."""
        return sum((times * len(values) for values, times in self.parts), 0)

    def __add__(self, other: Any) -> Any:
        more = other.parts if isinstance(other, Segments) else [(list(other), 1)]
        return Segments([*self.parts, *more])

    def __radd__(self, other: Any) -> Any:
        return Segments([(list(other), 1), *self.parts])

    def __deepcopy__(self, memo: Any) -> Segments:
        return self

    def __reduce__(self) -> Any:
        return list, (list.copy(self),)

    def element(self, place: int, index: Any) -> Any:
        recorder = active()
        end: Any = 0
        for values, times in self.parts[:-1] if recorder is not None else ():
            end = end + times * len(values)
            inside = place < int(end)
            if not isinstance(end, SymbolicInt) and index.isdigit():
                continue
            recorder.condition(f"{index} < {text_of(end)}", inside)  # type: ignore[union-attr]
            if inside:
                break
        return list.__getitem__(self, place)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            stop = index.stop
            whole = (
                index.start in (None, 0) and index.step in (None, 1) and (stop is None or stop >= list.__len__(self))
            )
            return self if whole else list.__getitem__(self, index)
        shown = text_of(index, parenthesised=False) if isinstance(index, SymbolicInt) else repr(index)
        return self.element(int(index), shown) if int(index) >= 0 else list.__getitem__(self, index)

    def __iter__(self) -> Iterator[Any]:
        return TracedLoop.over_list(self)


def _length_of(values: SymbolicList | Segments) -> SymbolicInt:
    """A list's length as an expression: of the loop that made it, of its parts, or of the field."""
    size = list.__len__(values)
    if isinstance(values, Segments):
        length: Any = values.times
    elif isinstance(values, DerivedList):
        length = values.loop.length
    else:
        length = SymbolicInt.atom(size, f"len({values.text})")
    return SymbolicInt(size, polynomial_of(length))


class TracedRange:
    """`range` with symbolic bounds: its loops are noted, its indices remember that they are indices."""

    def __init__(self, *bounds: Any) -> None:
        self.start, self.stop, self.step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        self.plain = range(int(self.start), int(self.stop), int(self.step))
        self.written = ", ".join(text_of(bound, parenthesised=False) for bound in bounds)

    @property
    def length(self) -> Any:
        if self.step == 1:
            return self.stop - self.start
        return SymbolicInt.atom(len(self.plain), f"len(range({self.written}))")

    def __iter__(self) -> Iterator[Any]:
        return TracedLoop(self)

    def __len__(self) -> int:
        return len(self.plain)

    def __getitem__(self, index: Any) -> Any:
        return self.plain[index]

    def __contains__(self, value: object) -> bool:
        inside = isinstance(value, int) and int(value) in self.plain
        if isinstance(value, int):
            note(f"{text_of(value)} in range({self.written})", inside)
        return inside

    def __reversed__(self) -> Iterator[Any]:
        return TracedLoop(TracedRange(self.start, self.stop), reverse=True) if self.step == 1 else reversed(self.plain)


_FOR = frozenset(code for name, code in dis.opmap.items() if name.startswith("FOR_ITER"))


class TracedLoop:
    """The iterator of a symbolic range or list: each step opens an iteration, the end closes the loop."""

    def __init__(
        self, bounds: TracedRange, pick: Callable[..., Any] | None = None, source: Any = None, *, reverse: bool = False
    ) -> None:
        self.recorder = active()
        self.values = list(reversed(bounds.plain)) if reverse else list(bounds.plain)
        self.pick, self.source, self.reverse = pick, source, reverse
        self.next = 0
        self.loop = Loop(
            over=f"range({bounds.written})", length=bounds.length, times=len(self.values), depth=0,
            first=int(bounds.start), step=int(bounds.step),
        )  # fmt: skip
        self.entered = False
        self.driven = True

    @classmethod
    def over_list(cls, values: SymbolicList | Segments) -> TracedLoop:
        """A loop over the elements of a list; its length is the list's, by the name it has."""
        loop = cls(TracedRange(_length_of(values)))
        loop.pick, loop.source = (lambda source, place: source.element(int(place), loop.loop.index)), values
        if isinstance(values, DerivedList):
            loop.loop.over = values.loop.over
        return loop

    def __iter__(self) -> TracedLoop:
        return self

    def __next__(self) -> Any:
        recorder = self.recorder
        if recorder is None or recorder is not active() or not self._is_loop():
            return self._plain_next()
        if not self.entered:
            self.entered = True
            self.loop.depth = len(recorder.stack)
            recorder.loops.append(self.loop)
        else:
            self._leave(recorder)
        if self.next >= len(self.values):
            self.entered = False
            raise StopIteration
        value = self.values[self.next]
        recorder.stack.append((self.loop, self.next))
        self.loop.paths.append([])
        self.next += 1
        if self.pick is not None:
            return self.pick(self.source, value)
        return SymbolicInt.atom(value, self.loop.index)

    def _is_loop(self) -> bool:
        """Whether a for statement or a comprehension asks; list(range(n)) wants numbers that outlive the loop."""
        if not self.entered and self.next == 0:
            frame = sys._getframe(2)
            self.driven = frame.f_code.co_code[frame.f_lasti] in _FOR
        return self.driven

    def _leave(self, recorder: Any) -> None:
        place = next((at for at, (loop, _) in enumerate(recorder.stack) if loop is self.loop), None)
        if place is not None:
            del recorder.stack[place:]

    def _plain_next(self) -> Any:
        if self.next >= len(self.values):
            raise StopIteration
        self.next += 1
        value = self.values[self.next - 1]
        return self.pick(self.source, value) if self.pick is not None else value

    def __del__(self) -> None:
        if self.entered and self.recorder is not None:
            self._leave(self.recorder)

    def __length_hint__(self) -> int:
        return max(0, len(self.values) - self.next)


def distinct(values: Any = ()) -> set[Any]:
    """The set of the values; of a list that remembers, that it has these values and no others is a condition."""
    recorder = active()
    if recorder is not None and not recorder.paused and isinstance(values, SymbolicList):
        for guard in _presences(values):
            recorder.guards.setdefault(guard)
    return {plain(value) for value in list.__iter__(values)} if isinstance(values, SymbolicList) else set(values)


def _presences(values: SymbolicList) -> Iterator[str]:
    """A condition for each value that it is in the list, and that there is no other one."""
    found = list(dict.fromkeys(plain(value) for value in list.__iter__(values)))
    if not isinstance(values, DerivedList):
        yield from (f"{value!r} in {values.text}" for value in found)
        yield f"all(value in {found!r} for value in {values.text})"
        return
    loop = values.loop
    for value in found:
        ways = dict.fromkeys(
            " and ".join(text if outcome else negated(text) for text, outcome in path)
            for path, each in zip(loop.paths, list.__iter__(values), strict=True)
            if plain(each) == value
        )
        yield f"any({' or '.join(ways) or 'True'} for {loop.index} in {loop.over})"


def remembering(value: Any, text: str) -> Any:
    """`value`, a part of a config, as a value that remembers that it is `text`; as it is where it cannot."""
    if isinstance(value, (SymbolicInt, SymbolicFloat, SymbolicStr, SymbolicList)):
        return value
    if isinstance(value, bool):
        return SymbolicBool.atom(int(value), text)
    if isinstance(value, int):
        return SymbolicInt.atom(value, text)
    if isinstance(value, float):
        return SymbolicFloat(value, text)
    if isinstance(value, str):
        return SymbolicStr(value, text)
    if isinstance(value, (list, tuple)):
        return SymbolicList(value, text)
    return value
