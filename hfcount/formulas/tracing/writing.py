"""A polynomial over expressions, as the Python expression that it is."""

from __future__ import annotations

import math
from typing import Any

from hfcount.formulas.polynomial import Monomial, Polynomial


def write(poly: Polynomial, *, parenthesised: bool = False) -> str:
    """A polynomial as Python arithmetic over its symbols' texts.

    >>> write(2 * Polynomial.symbol("a") * Polynomial.symbol("a") - 3)
    '2*a**2 - 3'
    """
    pieces = [_term(monomial, factor) for monomial, factor in sorted(poly.terms.items(), key=_by_degree)]
    text = " + ".join(pieces).replace("+ -", "- ") or "0"
    simple = len(pieces) < 2 and not text.startswith("-") and "*" not in text
    return f"({text})" if parenthesised and not simple else text


def _by_degree(term: tuple[Monomial, int]) -> Any:
    return term[1] < 0, -sum(power for _, power in term[0]), term[0]


def _term(monomial: Monomial, factor: int) -> str:
    written = [name if power == 1 else f"{name}**{power}" for name, power in monomial]
    if abs(factor) != 1 or not written:
        written.insert(0, str(abs(factor)))
    return ("-" if factor < 0 else "") + "*".join(written)


def literal(value: Any) -> str:
    """A plain value as an expression: its repr, where numbers that have no literal are float("inf").

    >>> literal([0.0, math.inf])
    "[0.0, float('inf')]"
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def equals(path: str, value: Any) -> str:
    """The condition that a field has this value.

    >>> equals("n_inner", None), equals("n_layer", 12)
    ('n_inner is None', 'n_layer == 12')
    """
    return f"{path} is {value}" if value is None or isinstance(value, bool) else f"{path} == {literal(value)}"
