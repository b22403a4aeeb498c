"""How closed forms are written, for machines and for people."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from hfcount.formulas import pretty, to_text
from hfcount.formulas.polynomial import Polynomial, as_polynomial

NAMES = ["V", "T", "L", "L_e", "E", "h", "k", "d_h", "d", "f", "zeta"]
SYMBOLS = sympy.symbols(NAMES)

WRITTEN = [
    ("2*d + d*L*12*d + 13*d*L + T*d + d*V", "V*d + T*d + L*(12*d**2 + 13*d) + 2*d", "V·d + T·d + L·(12d² + 13d) + 2d"),
    ("2*d_h*d*h", "2*h*d_h*d", "2h·d_h·d"),
    ("L*(3*f*d + 2*d + 2*d*k*d_h + 2*d*d) + d", "L*(2*d**2 + 2*k*d_h*d + 3*d*f + 2*d) + d",
     "L·(2d² + 2k·d_h·d + 3d·f + 2d) + d"),
    ("L*4*d", "4*L*d", "4L·d"),
    ("2*d_h", "2*d_h", "2·d_h"),
    ("L_e*(3*E*d*f) + L*d", "L*d + 3*L_e*E*d*f", "L·d + 3·L_e·E·d·f"),
    ("d**3 - 2*d", "d**3 - 2*d", "d³ - 2d"),
    ("-d", "-d", "-d"),
    ("d**12", "d**12", "d¹²"),
    ("zeta*V + 7", "V*zeta + 7", "V·zeta + 7"),
    ("d - d", "0", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "machine", "screen"), WRITTEN)
def test_written_as_by_hand(expression: str, machine: str, screen: str) -> None:
    form = sympy.sympify(expression, locals=dict(zip(NAMES, SYMBOLS, strict=True)))
    assert to_text(form) == machine
    assert pretty(machine) == screen


@st.composite
def expressions(draw: st.DrawFn) -> sympy.Expr:
    terms = draw(st.lists(st.tuples(st.integers(-30, 30), st.lists(st.sampled_from(SYMBOLS), max_size=4)), max_size=6))
    return sympy.Add(*[factor * sympy.Mul(*symbols) for factor, symbols in terms])


@given(expressions())
def test_text_says_what_the_expression_says(expression: sympy.Expr) -> None:
    """Read back by sympy, the text is the expression; and it does not depend on how the expression was written."""
    text = to_text(expression)
    assert sympy.expand(sympy.sympify(text, locals=dict(zip(NAMES, SYMBOLS, strict=True))) - expression) == 0
    assert to_text(sympy.factor(expression)) == text
    assert pretty(text).replace("·", "*").count("(") == text.count("(")


@given(expressions(), expressions(), st.integers(0, 3), st.integers(-9, 9))
def test_arithmetic_is_that_of_sympy(left: sympy.Expr, right: sympy.Expr, power: int, number: int) -> None:
    a, b = as_polynomial(left), as_polynomial(right)
    assert as_polynomial(left + right) == a + b
    assert as_polynomial(left - right) == a - b
    assert as_polynomial(sympy.expand(left * right)) == a * b
    assert as_polynomial(sympy.expand(left**power)) == a**power
    assert as_polynomial(number - left) == number - a
    assert as_polynomial(number * left + number) == number * a + number
    values = {name: place + 2 for place, name in enumerate(NAMES)}
    assert int(left.subs(values)) == a.evaluate(values)


def test_no_polynomial_is_refused() -> None:
    d, h = sympy.symbols("d h")
    for expression in (d / h, sympy.floor(d / 2), d / 2):
        with pytest.raises(ValueError, match="no polynomial with integer coefficients"):
            as_polynomial(expression)


def test_symbols_of_a_polynomial() -> None:
    d, f = Polynomial.symbol("d"), Polynomial.symbol("f")
    assert (d * f - f * d + d).symbols == {"d"}
    assert hash(d + f) == hash(f + d)
