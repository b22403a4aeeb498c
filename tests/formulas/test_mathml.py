"""The MathML of a form is its text: read back by a reader of its own, it gives the form's value."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcount.formulas.mathml import symbol_mathml, to_mathml

SIGNS = {"\u2062": "*", "·": "*", "−": "-", "⌊": "(", "⌋": ")"}


def read_back(mathml: str) -> str:
    """The Python expression that the MathML says, by the meaning of its elements alone."""
    tree = ET.fromstring(f"<all>{mathml}</all>")
    return "".join(said(each) for each in tree)


def said(node: ET.Element) -> str:
    parts = [said(each) for each in node]
    if node.tag == "mfrac":
        return f"({parts[0]})//({parts[1]})"
    if node.tag == "msup":
        return f"({parts[0]})**({parts[1]})"
    if node.tag == "msub":
        return f"{parts[0]}_{parts[1].replace(',', '_')}"
    if node.tag == "msubsup":
        return f"{parts[0]}_{parts[1].replace(',', '_')}**({parts[2]})"
    text = node.text or ""
    return SIGNS.get(text, text) + "".join(parts)


expressions = st.recursive(
    st.sampled_from(["d", "V", "L", "d_h", "r_kv", "d_h_vision", "depths_0", "mamba_expand", "2", "12"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda each: f"({each[0]}{each[1]}{each[2]})"),
        st.tuples(inner, st.integers(2, 3)).map(lambda each: f"(({each[0]})**{each[1]})"),
        st.tuples(inner, st.integers(2, 9)).map(lambda each: f"(({each[0]})//{each[1]})"),
    ),
    max_leaves=8,
)
VALUES = {"d": 7, "V": 31, "L": 5, "d_h": 3, "r_kv": 11, "d_h_vision": 13, "depths_0": 2, "mamba_expand": 4}


@given(expressions)
def test_read_back_it_has_the_same_value(text: str) -> None:
    assert eval(read_back(to_mathml(text)), dict(VALUES)) == eval(text, dict(VALUES))


def test_a_line_may_break_before_each_term_and_nowhere_else() -> None:
    pieces = re.findall("<math>.*?</math>", to_mathml("V*d + L*(12*d**2 + 13*d) - 2*d"))
    assert [read_back(each) for each in pieces] == ["V*d", "+L*(12*(d)**(2)", "+13*d)", "-2*d"]


def test_a_word_is_one_identifier_and_a_subscript_takes_its_exponent_above() -> None:
    assert symbol_mathml("mamba_expand") == "<math><mi>mamba_expand</mi></math>"
    assert to_mathml("d_vision**2").startswith("<math><msubsup><mi>d</mi>")


@pytest.mark.parametrize("text", ["", "f(x)", "a < b", "'text'", "1.5*d", "a if b else c"])
def test_what_is_no_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="closed form"):
        to_mathml(text)
