"""Rows of parameters that repeat, and the conditions that taking them together rests on."""

from __future__ import annotations

import dataclasses
import re

from hfcount.formulas.expressions import field_paths
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.numbers import polynomial_of
from hfcount.formulas.tracing.recorder import Loop, index_pattern, negated
from hfcount.formulas.tracing.trace import Dims
from hfcount.formulas.tracing.writing import write

ONE = Polynomial.constant(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repeated:
    """Parameters of one shape and place: `times` of them, named with `*` for what varies."""

    name: str
    aliases: tuple[str, ...]
    dims: Dims
    times: Polynomial
    module_class: str
    component: str
    experts: Polynomial
    chosen: Polynomial
    persistent: bool

    @property
    def key(self) -> tuple[object, ...]:
        return (self.name, self.aliases, self.dims, self.times, self.component, self.experts, self.chosen)

    @property
    def texts(self) -> str:
        """All symbols that the row's sizes have, for a search."""
        polys = (*self.dims, self.times, self.experts, self.chosen)
        return " ".join(symbol for poly in polys for symbol in sorted(poly.symbols))


@dataclasses.dataclass
class Conditions:
    """The conditions that gathering adds, in order."""

    guards: dict[str, None] = dataclasses.field(default_factory=dict)

    def add(self, text: str) -> None:
        self.guards.setdefault(text)


def stays(loop: Loop, conditions: Conditions) -> Polynomial:
    """The loop's length, which becomes a condition."""
    length = polynomial_of(loop.length)
    if length.symbols:
        conditions.add(f"{write(length)} == {loop.times}")
    return length


def conditions_of(loop: Loop, number: int) -> list[str]:
    """The conditions that one iteration met, at its index; those without a field are so by themselves."""
    value = loop.first + loop.step * number
    met = [text if outcome else negated(text) for text, outcome in dict.fromkeys(loop.paths[number])]
    return [each for each in (at_index(text, loop.index, value) for text in met) if field_paths(each)]


def at_index(text: str, index: str, value: int) -> str:
    """The expression with the loop's index at `value`; what stands in brackets is worked out.

    >>> at_index("dims[i - 1] + dims[i]", "i", 3)
    'dims[2] + dims[3]'
    """
    put = index_pattern(index).sub(str(value), text)
    return re.sub(r"\[([\d\s()+*/%-]+)\]", lambda found: f"[{int(eval(found.group(1)))}]", put)
