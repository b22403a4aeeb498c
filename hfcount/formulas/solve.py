"""The inverse questions: which rank trains a share of a model, which size of a field gives a number of parameters.

A form with every symbol but one put in is a polynomial in that one. Of degree 1 or 2 it is solved in closed form; the
whole numbers beside the solution that meet the form's conditions are the answer. Where the field is inside an
expression (a width that is divided by heads), the whole numbers are searched: by bisection where the count grows with
it, one by one where it does not (the size of a patch).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hfcount.errors import BadInput
from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form, component_polynomials
from hfcount.formulas.paths import at, put, take_out
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.text import to_text
from hfcount.limits import MAX_EXPERTS, MAX_LABELS, MAX_LAYERS, MAX_SIZE, check_sizes
from hfcount.shown import Shown

TRIED = 2_048
"""So many values show whether a count grows with a field that is inside an expression."""
_STEPS = 20_000
"""How many whole numbers beside a solution are tried for one that meets the form's conditions."""
_ACCEPTED = 200
"""How many of those are tried on the model itself: some classes refuse what makes no difference to the count."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A value of the unknown and the count that it gives: of all parameters, or of those that train.

    `percent`: of all parameters, adapters included, for a share; `verified`: whether the model itself was counted.
    """

    value: int
    count: int
    percent: float | None = None
    verified: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution(Shown):
    """What was asked and the whole numbers nearest to it.

    Attributes:
        model, model_class: what it is about.
        unknown: "r", or the config's field.
        wanted: as it was asked: "1%", "1B"; `target` the count that it stands for.
        equation: the count as a polynomial in the unknown, in Python; None where it is no polynomial in it.
        exact: the solution of the equation over the real numbers; None without one.
        below: the value with the largest count that is at most the target; `above` that with the smallest count above.
        notes: remarks, a line each.
    """

    model: str
    model_class: str
    unknown: str
    wanted: str
    target: int
    equation: str | None
    exact: float | None
    below: Candidate | None
    above: Candidate | None
    notes: tuple[str, ...] = ()

    @property
    def nearest(self) -> Candidate | None:
        """The candidate whose count is nearer to the target; None where nothing meets the request."""
        both = [each for each in (self.below, self.above) if each is not None]
        return min(both, key=lambda each: abs(each.count - self.target)) if both else None


def equation_in(form: Form, raw: Mapping[str, Any], field: str) -> Polynomial | None:
    """The total as a polynomial in `field` alone, every other symbol put in; None where an expression holds it."""
    own = {symbol for symbol, text in form.symbols.items() if text == field}
    total = sum(component_polynomials(form).values(), Polynomial.constant(0))
    inside = {symbol for symbol in total.symbols - own if field in field_paths(form.symbols[symbol])}
    if inside or len(own) != 1 or not own <= total.symbols:
        return None
    values, (symbol,) = form.values(raw), own
    result = Polynomial.constant(0)
    for monomial, factor in total.terms.items():
        term = Polynomial.constant(factor)
        for name, power in monomial:
            base = Polynomial.symbol(field_symbol(field)) if name == symbol else Polynomial.constant(values[name])
            term = term * base**power
        result = result + term
    return result


def field_symbol(field: str) -> str:
    """A field's name as a symbol: a dotted one with underscores."""
    return field.replace(".", "_")


def roots(equation: Polynomial, target: int) -> float | None:
    """The solution of equation = target that is not below 0, for degree 1 and 2; None for any other, or without one.

    a·x² + b·x + c = t gives x = (-b + sqrt(b² + 4a·(t - c)))/2a, the larger of the two. Times the conjugate it is
    2·(t - c)/(b + sqrt(b² + 4a·(t - c))), in which nothing cancels, and which is (t - c)/b for a = 0.
    """
    coefficients = [0, 0, 0]
    for monomial, factor in equation.terms.items():
        degree = sum(power for _, power in monomial)
        if degree > 2:
            return None
        coefficients[degree] += factor
    c, b, a = coefficients
    if a < 0 or b < 0 or a == b == 0 or target < c:
        return None
    return 2 * (target - c) / (b + math.sqrt(b * b + 4 * a * (target - c)))


def readable_fields(form: Form, raw: Mapping[str, Any]) -> list[str]:
    """The fields of whole numbers that the total depends on."""
    total = sum(component_polynomials(form).values(), Polynomial.constant(0))
    paths = {path for symbol in total.symbols for path in field_paths(form.symbols[symbol])}
    fields = form.fields(raw)
    return sorted(path for path in paths if type(at(fields, path)) is int)


Accept = Callable[[Candidate], "Candidate | str"]
"""What a candidate is after the model itself was asked; a text says why it cannot be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beside:
    """The values on both sides of a target, those that are; `remark` says why not, or which values were tried."""

    below: Candidate | None = None
    above: Candidate | None = None
    remark: str | None = None


def sizes_beside(form: Form, raw: Mapping[str, Any], field: str, target: int, accept: Accept) -> Beside:
    """The values of `field` whose totals are nearest to `target`: at most that, and more than that.

    Only values that the form holds for and that are accepted. BadInput for a field that the total does not read.
    """
    own = form.renamed.get(field, field)
    if own not in readable_fields(form, raw):
        raise BadInput(
            f"--over {field}: the count of {form.model_class} does not depend on it here; it does on "
            f"{', '.join(readable_fields(form, raw))}"
        )
    search = _Search(form, raw, own, target, accept)
    return search.growing() if search.grows() else search.tried()


class _Search:
    """The whole numbers beside the solution."""

    def __init__(self, form: Form, raw: Mapping[str, Any], field: str, target: int, accept: Accept) -> None:
        self._form, self._raw, self._field, self._target, self._accept = form, raw, field, target, accept
        self._refused: str | None = None

    def _count(self, value: int) -> int | None:
        return _ungoverned(self._form, with_field(self._form, self._raw, self._field, value))

    def grows(self) -> bool:
        """Whether the count grows with the value: the equation says so, or the first numbers do."""
        equation = equation_in(self._form, self._raw, self._field)
        if equation is not None:
            return all(factor > 0 for monomial, factor in equation.terms.items() if monomial)
        counts = [count for count in map(self._count, range(TRIED + 1)) if count is not None]
        return counts == sorted(counts)

    def growing(self) -> Beside:
        """By bisection: no value between the two is nearer."""
        most = largest(self._field)
        at_most = self._count(most)
        if _at_most(at_most, self._target):
            return Beside(remark=f"{self._field} = {most:,}, the most that hfcount builds, gives {at_most or 0:,}")
        edge = _last_below(self._count, self._target, most)
        if not _at_most(self._count(edge), self._target):
            edge = -1  # none of it is too much already
        return self._nearest(range(edge, max(-1, edge - _STEPS), -1), range(edge + 1, min(most, edge + _STEPS) + 1))

    def tried(self) -> Beside:
        """One by one, as far as that goes: with some fields (a patch's size) the count falls first, then grows."""
        counts = {value: count for value in range(TRIED + 1) if (count := self._count(value)) is not None}
        nearest = sorted(counts, key=lambda value: abs(counts[value] - self._target))
        found = self._nearest(
            [value for value in nearest if counts[value] <= self._target],
            [value for value in nearest if counts[value] > self._target],
        )
        tried = f"the count does not only grow with {self._field}: 1 to {TRIED:,} were tried"
        return dataclasses.replace(found, remark=found.remark or tried)

    def _nearest(self, below: Sequence[int], above: Sequence[int]) -> Beside:
        found = Beside(below=self._first(below), above=self._first(above))
        nothing = found.below is None and found.above is None
        return dataclasses.replace(found, remark=self._refused) if nothing else found

    def _first(self, values: Sequence[int]) -> Candidate | None:
        """The first of the values that the form holds for and that is accepted."""
        asked = 0
        for value in values:
            changed = with_field(self._form, self._raw, self._field, value)
            if not self._form.covers(changed):
                self._refused = self._refused or self._broken(value, changed)
                continue
            count = _ungoverned(self._form, changed)
            if count is None or asked == _ACCEPTED:
                continue
            asked += 1
            answer = self._accept(Candidate(value=value, count=count))
            if isinstance(answer, Candidate):
                return answer
            self._refused = answer
        return None

    def _broken(self, value: int, changed: Mapping[str, Any]) -> str:
        return f"with {self._field} = {value:,} it does not hold that {self._form.broken_guards(changed)[0]}"


def largest(field: str) -> int:
    """The largest value of a field that hfcount builds, told by the field's name."""
    for most in (MAX_SIZE, MAX_LABELS, MAX_EXPERTS):
        with contextlib.suppress(BadInput):
            check_sizes({field.rpartition(".")[2]: most}, where="")
            return most
    return MAX_LAYERS


def _last_below(count: Callable[[int], int | None], target: int, most: int) -> int:
    """The largest value whose count, conditions aside, is at most the target; the count grows with the value."""
    low, high = 0, 1
    while high < most and _at_most(count(high), target):
        low, high = high, min(most, high * 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _at_most(count(middle), target) else (low, middle)
    return low


def _at_most(count: int | None, target: int) -> bool:
    """What has no count (a width below the number of heads) is small."""
    return count is None or count <= target


def with_field(form: Form, raw: Mapping[str, Any], path: str, value: int) -> dict[str, Any]:
    """A copy of the config with another value in the field at a dotted path, by whatever name it had it."""
    changed = copy.deepcopy(dict(raw))
    for alias in [alias for alias, name in form.renamed.items() if name == path]:
        take_out(changed, alias)
    put(changed, path, value)
    return changed


def _ungoverned(form: Form, raw: Mapping[str, Any]) -> int | None:
    """The total whatever the conditions say; None where it cannot be worked out."""
    try:
        total = sum(component_polynomials(form).values(), Polynomial.constant(0))
        return total.evaluate(form.values(raw))
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError):
        return None


def equation_text(equation: Polynomial | None) -> str | None:
    """The equation as Python arithmetic."""
    return to_text(equation) if equation is not None else None
