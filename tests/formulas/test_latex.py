r"""A form in LaTeX says what its machine text says, and can be typeset."""

from __future__ import annotations

import re

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.parsing.sympy_parser import implicit_multiplication, parse_expr, standard_transformations

from hfcount.formulas import catalogue, to_text
from hfcount.formulas.form import component_polynomials
from hfcount.formulas.latex import symbol_latex, to_latex
from hfcount.formulas.polynomial import Polynomial

WRITTEN = [
    ("V*d + T*d + L*(12*d**2 + 13*d) + 2*d", r"V d + T d + L \left(12 d^{2} + 13 d\right) + 2 d"),
    ("L*d - 2*d", "L d - 2 d"),
    ("-2*d*f + d", "-2 d f + d"),
    ("-d*f", "-d f"),
    ("d - (f - 2)", r"d - \left(f - 2\right)"),
    ("(d**2)**3", r"\left(d^{2}\right)^{3}"),
    ("2*h*d_h*d", "2 h d_{h} d"),
    ("d_vision**2", r"d_{\mathrm{vision}}^{2}"),
    ("n_1**2 + 1", "n_{1}^{2} + 1"),
    ("d*mamba_expand*d_conv", r"d \cdot \mathrm{mamba\_expand} \cdot d_{\mathrm{conv}}"),
    ("2*depths_0*L", r"2 \cdot \mathrm{depths}_{0} \cdot L"),
    ("L*(num_labels + 1)", r"L \left(\mathrm{num\_labels} + 1\right)"),
    ("d*(2 + f)*3", r"d \left(2 + f\right) \cdot 3"),
    ("d//h", r"\left\lfloor \frac{d}{h} \right\rfloor"),
    ("0", "0"),
]


@pytest.mark.parametrize(("text", "latex"), WRITTEN)
def test_written_as_in_print(text: str, latex: str) -> None:
    assert to_latex(text) == latex


@pytest.mark.parametrize("text", ["f(d)", "d if L else f", "'d'", "d +", "1.5*d", "d < f"])
def test_only_closed_forms_are_written(text: str) -> None:
    with pytest.raises(ValueError, match="closed form"):
        to_latex(text)


def read_back(latex: str, names: list[str]) -> sympy.Expr:
    """What a reader takes the LaTeX for: brackets, powers, juxtaposition as a product, each symbol by its looks."""
    text = latex
    for number, name in sorted(enumerate(names), key=lambda item: -len(symbol_latex(item[1]))):
        text = re.sub(rf"(?<![\w{{\\]){re.escape(symbol_latex(name))}(?![\w_])", f" S{number}S ", text)
    text = text.replace(r"\left(", "(").replace(r"\right)", ")").replace(r"\cdot", "*").replace("^", "**")
    text = text.replace("{", "(").replace("}", ")")
    symbols = {f"S{number}S": sympy.Symbol(name) for number, name in enumerate(names)}
    return parse_expr(text, local_dict=symbols, transformations=(*standard_transformations, implicit_multiplication))


NAMES = ["V", "L", "L_enc", "h", "d_h", "d_h_vision", "d", "d_vision", "f", "n_1", "n_2", "mamba_expand", "depths_0"]


@st.composite
def polynomials(draw: st.DrawFn) -> Polynomial:
    terms = draw(
        st.dictionaries(
            st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), max_size=4).map(
                lambda powers: tuple(sorted(powers.items()))
            ),
            st.integers(-30, 30).filter(bool),
            min_size=1,
            max_size=6,
        )
    )
    return Polynomial(terms)


@settings(max_examples=60, deadline=None)
@given(polynomials())
def test_read_back_it_is_the_same_polynomial(form: Polynomial) -> None:
    text = to_text(form)
    expected = sympy.sympify(text, locals={name: sympy.Symbol(name) for name in NAMES})
    found = read_back(to_latex(text), NAMES)
    assert sympy.expand(found - expected) == 0, f"{text} became {to_latex(text)}, read as {found}"


def catalogue_texts() -> list[str]:
    """The total and the components of every packaged form, each once."""
    texts: dict[str, None] = {}
    for model_type in catalogue.model_types():
        for form in catalogue.forms(model_type):
            parts = component_polynomials(form)
            texts[to_text(sum(parts.values(), Polynomial.constant(0)))] = None
            texts.update(dict.fromkeys(to_text(each) for each in parts.values()))
    return list(texts)


def test_mathtext_sets_every_form() -> None:
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("path")
    for text in [*(text for text, _ in WRITTEN), *catalogue_texts()[::40]]:
        latex = to_latex(text)
        width, *_ = parser.parse(f"${latex}$")
        assert width > 0, latex
