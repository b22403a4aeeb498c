"""Polynomials with integer coefficients over named sizes: what a closed form is made of.

A family's formula is ordinary Python arithmetic. Fed with integers it gives a count; fed with these it gives
the text of the same count, so that the two cannot drift apart. Nothing but integers is stored, and importing
this costs nothing, so the closed form of a model needs neither torch nor sympy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Monomial = tuple[tuple[str, int], ...]
"""Symbols with their powers, sorted by name: d²·f is (("d", 2), ("f", 1)), and 1 is ()."""


class Polynomial:
    """A sum of integer multiples of monomials, immutable; `terms` holds no zero coefficient.

    >>> d = Polynomial.symbol("d")
    >>> (4 * d * d + d * (8 * d + 13)).evaluate({"d": 10})
    1330
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms: dict[Monomial, int] = {monomial: factor for monomial, factor in terms.items() if factor}

    @classmethod
    def symbol(cls, name: str) -> Polynomial:
        """The polynomial that is the one symbol `name`."""
        return cls({((name, 1),): 1})

    @classmethod
    def constant(cls, value: int) -> Polynomial:
        """The polynomial without symbols whose value is `value`."""
        return cls({(): value})

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the symbols that occur."""
        return frozenset(name for monomial in self.terms for name, _ in monomial)

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The value with `values` put in for the symbols; KeyError names a symbol that has none."""
        total = 0
        for monomial, factor in self.terms.items():
            for name, power in monomial:
                factor *= values[name] ** power
            total += factor
        return total

    def __add__(self, other: Polynomial | int) -> Polynomial:
        terms = dict(self.terms)
        for monomial, factor in as_polynomial(other).terms.items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return Polynomial(terms)

    def __mul__(self, other: Polynomial | int) -> Polynomial:
        terms: dict[Monomial, int] = {}
        for left, left_factor in self.terms.items():
            for right, right_factor in as_polynomial(other).terms.items():
                product = _multiply(left, right)
                terms[product] = terms.get(product, 0) + left_factor * right_factor
        return Polynomial(terms)

    def __pow__(self, power: int) -> Polynomial:
        result = Polynomial.constant(1)
        for _ in range(power):
            result = result * self
        return result

    def __neg__(self) -> Polynomial:
        return self * -1

    def __sub__(self, other: Polynomial | int) -> Polynomial:
        return self + -as_polynomial(other)

    def __rsub__(self, other: int) -> Polynomial:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Polynomial, int)) and self.terms == as_polynomial(other).terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        return f"Polynomial({self.terms})"


def as_polynomial(value: Any) -> Polynomial:
    """`value` as a Polynomial: a Polynomial itself, an int, or a sympy polynomial with integer coefficients.

    Raises ValueError for anything else, such as a sympy expression with a division or a floor in it.
    """
    if isinstance(value, Polynomial):
        return value
    if isinstance(value, int):
        return Polynomial.constant(value)
    return _from_sympy(value)


def _from_sympy(expression: Any) -> Polynomial:
    import sympy

    symbols = sorted(sympy.sympify(expression).free_symbols, key=str)
    if not symbols:
        return Polynomial.constant(int(expression))
    try:
        terms = sympy.Poly(expression, *symbols, domain="ZZ").terms()
    except (sympy.PolynomialError, sympy.CoercionFailed) as error:
        raise ValueError(f"{expression} is no polynomial with integer coefficients") from error
    result: dict[Monomial, int] = {}
    for powers, factor in terms:
        named = zip((str(symbol) for symbol in symbols), powers, strict=True)
        result[tuple(sorted((name, power) for name, power in named if power))] = int(factor)
    return Polynomial(result)


def _multiply(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + power
    return tuple(sorted(powers.items()))
