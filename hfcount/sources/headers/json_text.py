"""JSON that nobody vouches for, read piece by piece: only what is asked for is built, and nothing is built twice.

A parser that builds all of a header first can be made to take twenty times the header's size. This one stays on the
bytes, gives the members of an object one at a time, and builds no value whose text is longer than the caller allows.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from hfcount.deadline import check_deadline
from hfcount.sources.headers.header import HeaderError

DEPTH_LIMIT = 128
"""Brackets inside brackets in a value; serde_json, with which the safetensors library reads, has the same."""

_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN_STRING = re.compile(rb'"([^"\\\x00-\x1f]*)"')
_FIRST_CHUNKS = (4_096, 65_536)


class JsonText:
    """A place in a JSON text; every method reads on from it. Raises HeaderError, which names the file."""

    def __init__(self, data: bytes, file: str) -> None:
        self.data = data
        self.file = file
        self.position = 0

    def error(self, what: str) -> HeaderError:
        return HeaderError(f"{self.file}: {what}")

    def skip_space(self) -> None:
        match = _SPACE.match(self.data, self.position)
        assert match is not None
        self.position = match.end()

    def accept(self, sign: bytes) -> bool:
        """Whether `sign` is next, which is then read."""
        self.skip_space()
        found = self.data.startswith(sign, self.position)
        self.position += found * len(sign)
        return found

    def expect(self, sign: bytes) -> None:
        if not self.accept(sign):
            found = self.data[self.position : self.position + 1]
            what = f"{found.decode('latin-1')!r}" if found else "its end"
            raise self.error(f"is not JSON: {sign.decode()!r} expected at byte {self.position}, not {what}")

    def end(self) -> None:
        """Holds that nothing follows."""
        self.skip_space()
        if self.position != len(self.data):
            raise self.error(f"is not JSON: something follows its end at byte {self.position}")

    def members(self) -> Iterator[str]:
        """The keys of the object that is next; the caller reads the value of each before the next is asked for."""
        seen: set[str] = set()
        self.expect(b"{")
        if self.accept(b"}"):
            return
        while True:
            check_deadline()
            self.skip_space()
            key = self.string()
            if key in seen:
                raise self.error(f"has the key {shortened(key)} twice")
            seen.add(key)
            self.expect(b":")
            yield key
            if not self.accept(b","):
                self.expect(b"}")
                return

    def string(self) -> str:
        """The string that is next."""
        self.skip_space()
        plain = _PLAIN_STRING.match(self.data, self.position)
        try:
            if plain is not None:
                self.position = plain.end()
                return plain.group(1).decode("utf-8")
            stop = self._string_end()
            text = json.loads(self.data[self.position : stop].decode("utf-8"))
            text.encode("utf-8")  # "\ud800" is half a character, and no name
        except UnicodeError as error:
            raise self.error(f"is not UTF-8 near byte {self.position}") from error
        except ValueError as error:
            raise self.error(f"is not JSON: no string at byte {self.position}") from error
        self.position = stop
        return str(text)

    def _string_end(self) -> int:
        """Where the string ends that begins here: behind the first quote that is not escaped."""
        if not self.data.startswith(b'"', self.position):
            raise self.error(f"is not JSON: a string expected at byte {self.position}")
        start = self.position + 1
        while True:
            quote = self.data.find(b'"', start)
            if quote < 0:
                raise self.error(f"is not JSON: the string at byte {self.position} does not end")
            run = self.data[start:quote]
            if (len(run) - len(run.rstrip(b"\\"))) % 2 == 0:
                return quote + 1
            start = quote + 1

    def value(self, limit: int) -> Any:
        """The value that is next, as Python's json has it, if its text has at most `limit` bytes.

        Duplicate keys, NaN, numbers beyond a double and half characters are refused.
        """
        self.skip_space()
        left = len(self.data) - self.position
        for size in (*(chunk for chunk in _FIRST_CHUNKS if chunk < limit), limit):
            whole = size >= left
            found = self._value_within(size, whole)
            if found is not None:
                return found[0]
            if whole:
                break
        raise self.error(f"has more than {limit:,} bytes in one value at byte {self.position}")

    def _value_within(self, size: int, whole: bool) -> tuple[Any] | None:
        """The value if it ends within `size` bytes; None if more of the text may be needed to tell."""
        chunk = self.data[self.position : self.position + size]
        try:
            text, _ = codecs.utf_8_decode(chunk, "strict", whole)
            value, end = _DECODER.raw_decode(text)
        except UnicodeError as error:
            raise self.error(f"is not UTF-8 near byte {self.position}") from error
        except RecursionError as error:
            raise self.error(f"is nested more than {DEPTH_LIMIT} deep at byte {self.position}") from error
        except _Refused as error:
            raise self.error(f"{error} near byte {self.position}") from error
        except (ValueError, StopIteration) as error:
            if not whole:
                return None
            raise self.error(f"is not JSON: no value at byte {self.position}") from error
        if end == len(text) and not whole:
            return None  # a number may go on
        read = text[:end]
        if read.count("[") + read.count("{") > DEPTH_LIMIT and _depth(value) > DEPTH_LIMIT:
            raise self.error(f"is nested more than {DEPTH_LIMIT} deep at byte {self.position}")
        if "\\u" in read:
            self._no_half_characters(value)
        self.position += end if read.isascii() else len(read.encode("utf-8"))
        return (value,)

    def _no_half_characters(self, value: Any) -> None:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeError as error:
            raise self.error(f"is not UTF-8 near byte {self.position}") from error


def shortened(text: str, limit: int = 80) -> str:
    """A name for a message, in quotes; of a long one the beginning."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")


class _Refused(Exception):
    """What Python's json reads and JSON, or serde_json, does not."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"has the key {shortened(twice)} twice")
    return found


def _no_constant(text: str) -> None:
    raise _Refused(f"is not JSON: {text}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused("has a number that no double holds")
    return number


def _integer(text: str) -> int | float:
    """As serde_json has it: what 64 bits do not hold is a float, and so is -0."""
    if text == "-0" or len(text) > 20:
        return _finite(text)
    return int(text)


def _depth(value: Any) -> int:
    """The brackets around the innermost value."""
    depth, level = 0, [value]
    while level:
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += 1
    return depth - 1


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer, strict=True
)
