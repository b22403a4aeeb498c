"""The inverse questions: which rank trains a share of a model, which size of a field gives a number of parameters.

A form with every symbol but one put in is a polynomial in that one. Of degree 1 or 2 it is solved in closed form; the
whole numbers beside the solution that meet the form's conditions are the answer. Where the field is inside an
expression (a width that is divided by heads), the count still grows with it, and the whole numbers are searched.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from hfcount.errors import BadInput
from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form, component_polynomials
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.text import to_text

LARGEST = 10**12
"""No field is larger than this."""
_STEPS = 100_000
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
class Solution:
    """What was asked and the whole numbers nearest to it.

    Attributes:
        model, model_class: what it is about.
        unknown: "r", or the config's field.
        wanted: as it was asked: "1%", "1B"; `target` the count that it stands for.
        equation: the count as a polynomial in the unknown, in Python; None where it is no polynomial in it.
        exact: the solution of the equation over the real numbers; None without one.
        below: the largest value whose count is at most the target; `above` the smallest whose count is more.
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
    """The positive solution of equation = target, for degree 1 and 2; None for any other.

    b·x + c = t gives x = (t - c)/b; a·x² + b·x + c = t gives x = (-b + sqrt(b² + 4a·(t - c)))/2a, the larger of the
    two, since no coefficient of a count but its constant is below 0.
    """
    coefficients = [0, 0, 0]
    for monomial, factor in equation.terms.items():
        degree = sum(power for _, power in monomial)
        if degree > 2:
            return None
        coefficients[degree] += factor
    c, b, a = coefficients
    if a:
        inside = b * b + 4 * a * (target - c)
        return (-b + math.sqrt(inside)) / (2 * a) if inside >= 0 else None
    return float(Fraction(target - c, b)) if b else None


def readable_fields(form: Form, raw: Mapping[str, Any]) -> list[str]:
    """The fields of whole numbers that the total depends on."""
    total = sum(component_polynomials(form).values(), Polynomial.constant(0))
    paths = {path for symbol in total.symbols for path in field_paths(form.symbols[symbol])}
    fields = form.fields(raw)
    return sorted(path for path in paths if type(_at(fields, path)) is int)


Accept = Callable[[Candidate], Candidate | None]
"""What a candidate is after the model itself was asked; None where it cannot be built so."""


def sizes_beside(
    form: Form, raw: Mapping[str, Any], field: str, target: int, accept: Accept
) -> tuple[Candidate | None, Candidate | None]:
    """(the largest value of `field` whose total is at most `target`, the smallest whose total is more).

    Only values that the form holds for and that are accepted; None where there is none. BadInput for a field that the
    total does not read.
    """
    own = form.renamed.get(field, field)
    if own not in readable_fields(form, raw):
        raise BadInput(
            f"--over {field}: the count of {form.model_class} does not depend on it here; it does on "
            f"{', '.join(readable_fields(form, raw))}"
        )

    def candidates(values: range) -> Iterator[Candidate]:
        found = (_candidate(form, with_field(form, raw, own, value), value) for value in values)
        accepted = map(accept, itertools.islice((each for each in found if each is not None), _ACCEPTED))
        return (each for each in accepted if each is not None)

    edge = _last_below(lambda value: _ungoverned(form, with_field(form, raw, own, value)), target)
    below = (each for each in candidates(range(edge, max(-1, edge - _STEPS), -1)) if each.count <= target)
    above = (each for each in candidates(range(edge + 1, edge + _STEPS)) if each.count > target)
    return next(below, None), next(above, None)


def _candidate(form: Form, raw: Mapping[str, Any], value: int) -> Candidate | None:
    """The value with its total, or None where the form does not hold."""
    count = _ungoverned(form, raw) if form.covers(raw) else None
    return None if count is None else Candidate(value=value, count=count)


def _last_below(count: Callable[[int], int | None], target: int) -> int:
    """The largest value whose count, conditions aside, is at most the target; the count grows with the value."""
    low, high = 0, 1
    while high < LARGEST and _at_most(count(high), target):
        low, high = high, high * 2
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
        _take_out(changed, alias)
    *scopes, last = path.split(".")
    holder = changed
    for scope in scopes:
        inner = holder.get(scope)
        holder[scope] = inner if isinstance(inner, dict) else {}
        holder = holder[scope]
    holder[last] = value
    return changed


def _take_out(fields: dict[str, Any], path: str) -> None:
    *scopes, last = path.split(".")
    holder: Any = fields
    for scope in scopes:
        holder = holder.get(scope) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.pop(last, None)


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


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


def ranks_beside(first: int, second: int, target: int) -> tuple[int, int, float]:
    """(the largest rank that trains at most `target`, the next one, the solution), from what ranks 1 and 2 train.

    Every adapter's two matrices have r·(in + out) numbers, so the count is a·r + b with b what is trained in full.
    """
    slope, constant = second - first, 2 * first - second
    exact = Fraction(target - constant, slope)
    return math.floor(exact), math.floor(exact) + 1, float(exact)
