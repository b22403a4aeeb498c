"""Sizes as functions of rows, tokens and rank: read off the sides of a tensor.

A step that is traced at a prime number of tokens shows which sides grow with them: those that the prime divides. Rows
and rank are told apart by primes of their own. Lengths beside the tokens' own (one more, for labels; padded to a
multiple, for a kernel) are known by their value, which no side of the model has. What is read at one point is a guess;
form.py holds it against two more.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

ROWS, TOKENS, RANK = "b", "s", "r"
SYMBOLS = (ROWS, TOKENS, RANK)
MULTIPLES = {
    "flash_attention_backward": (128,),
    "attention_backward": (128, 16),
    "attention": (32,),
    "_pad_": (8,),
}
"""What operators with these words in their names pad a number of tokens to (cuda.py).

The first that fits counts. 16 is for the gradient of a mask (attention_backward.cu), 8 for a mask.
"""

_WIDEST = 16
"""Bytes of the widest element, a complex number of two doubles."""

_SMALLEST = 11
_CHOICES = 160
"""How many primes near the number that is asked about are looked at for ones that tell all lengths apart."""


@dataclasses.dataclass(frozen=True, order=True)
class Length:
    """A symbol, plus `shift`, padded to a multiple: s + 1, or s padded to 128."""

    symbol: str
    shift: int = 0
    multiple: int = 1

    def at(self, values: Mapping[str, int]) -> int:
        return -(-(values[self.symbol] + self.shift) // self.multiple) * self.multiple

    def __str__(self) -> str:
        if self.multiple > 1:
            return f"pad{self.multiple}({self.symbol})"
        return f"({self.symbol} {'+' if self.shift > 0 else '-'} {abs(self.shift)})" if self.shift else self.symbol


SHIFTED = (Length(TOKENS, 1), Length(TOKENS, -1))
"""Lengths that losses make of the tokens' own."""


def multiples_of(operator: str) -> tuple[int, ...]:
    """What an operator may pad a number of tokens to."""
    return next((multiples for word, multiples in MULTIPLES.items() if word in operator), ())


@dataclasses.dataclass(frozen=True, order=True)
class Size:
    """A coefficient times lengths, each as often as it stands there."""

    coefficient: int
    lengths: tuple[Length, ...] = ()

    @classmethod
    def of(cls, written: Sequence[Any]) -> Size:
        """Return the size that `dataclasses.astuple` wrote.

        >>> Size.of([12, [["s", 1, 1]]])
        Size(coefficient=12, lengths=(Length(symbol='s', shift=1, multiple=1),))
        """
        coefficient, lengths = written
        return cls(coefficient, tuple(itertools.starmap(Length, lengths)))

    def at(self, values: Mapping[str, int]) -> int:
        return self.coefficient * math.prod(each.at(values) for each in self.lengths)


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """Values to trace at, a prime for each symbol that is free."""

    values: Mapping[str, int]
    free: tuple[str, ...] = ()

    @functools.cached_property
    def _beside(self) -> dict[tuple[int, ...] | None, dict[int, Length]]:
        """The lengths that losses make of the tokens' own, or kernels by padding to these multiples, by value."""
        lengths: dict[tuple[int, ...] | None, list[Length]] = {
            multiples: [*(Length(TOKENS, 0, each) for each in multiples), *SHIFTED]
            for multiples in ((), *MULTIPLES.values())
        } | {None: []}
        free = TOKENS in self.free
        return {
            multiples: {each.at(self.values): each for each in found if free} for multiples, found in lengths.items()
        }

    def size(self, number: int, *, multiples: tuple[int, ...] | None = ()) -> Size:
        """Return a side, or a number that sides were multiplied to, as a size; a kernel may pad it to `multiples`.

        >>> point = Point({"b": 11, "s": 1009}, ("b", "s"))
        >>> [str(each) for each in point.size(11 * 1009 * 12).lengths], str(point.size(1010).lengths[0])
        (['b', 's'], '(s + 1)')
        """
        beside = self._beside[multiples]
        if number in beside:
            return Size(1, (beside[number],))
        lengths: list[Length] = []
        for symbol in self.free if number else ():
            while number % self.values[symbol] == 0:
                number //= self.values[symbol]
                lengths.append(Length(symbol))
                if number in beside:
                    return Size(1, tuple(sorted((*lengths, beside[number]))))
        return Size(number, tuple(sorted(lengths)))

    def product(self, number: int) -> Size:
        """Return a number that many sides were multiplied to as a size, by the symbols alone."""
        return self.size(number, multiples=None)

    def bytes(self, number: int, shape: Sequence[int], *, multiples: tuple[int, ...] = ()) -> Size:
        """Return the bytes of a storage as a size, by the sides of a tensor in it where they make it up."""
        elements = math.prod(shape)
        if not elements or number % elements or number // elements > _WIDEST:
            return self.size(number, multiples=multiples)
        sides = [self.size(side, multiples=multiples) for side in shape]
        return Size(
            math.prod((each.coefficient for each in sides), start=number // elements),
            tuple(sorted(itertools.chain.from_iterable(each.lengths for each in sides))),
        )


def points(
    values: Mapping[str, int], free: Iterable[str], sides: frozenset[int], *, most: Mapping[str, int], count: int
) -> list[Point] | None:
    """Points to trace a model of these sides at, near `values` and with primes for what is free.

    None where too few primes are small enough (`most`).
    """
    free = tuple(free)
    primes: dict[str, list[int]] = {}
    for symbol in free:
        used = frozenset(itertools.chain.from_iterable(primes.values()))
        primes[symbol] = _primes_near(values[symbol], sides | used, most.get(symbol), told=symbol == TOKENS)[:count]
        if len(primes[symbol]) < count:
            return None
    return [Point({**values, **{symbol: primes[symbol][index] for symbol in free}}, free) for index in range(count)]


def _primes_near(value: int, sides: frozenset[int], most: int | None, *, told: bool) -> list[int]:
    """Primes near a value that divide no side; with `told` those first beside which most lengths are told apart."""
    limit = max(2 * value, 16 * _SMALLEST) if most is None else most
    fine = (
        each
        for each in _outwards(max(value, _SMALLEST), limit)
        if _is_prime(each) and not any(side % each == 0 for side in sides)
    )
    near = list(itertools.islice(fine, _CHOICES if told else 8))
    return sorted(near, key=lambda each: -_told(each, sides)) if told else near


def _outwards(value: int, limit: int) -> Iterator[int]:
    """Numbers from `value` on, nearest first, between the smallest prime used and `limit`."""
    for distance in range(max(value, limit)):
        for each in dict.fromkeys((value - distance, value + distance)):
            if _SMALLEST <= each <= limit:
                yield each


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def _told(prime: int, sides: frozenset[int]) -> int:
    """How many lengths beside a number of tokens are told apart from each other and from the model's sides."""
    lengths = (*SHIFTED, *(Length(TOKENS, 0, each) for multiples in MULTIPLES.values() for each in multiples))
    return len({each.at({TOKENS: prime}) for each in lengths} - {prime} - sides)
