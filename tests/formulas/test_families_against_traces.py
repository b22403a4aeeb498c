"""The forms derived by hand and the forms that were traced are each other's witness: equal as polynomials.

Both are written over config.json's fields and compared term by term, the total and every component. Neither has seen
the other: the families come from papers, the traced forms from the constructors.
"""

from __future__ import annotations

import ast
import itertools
import random
import re
from typing import Any

import pytest

from hfcount.formulas import catalogue
from hfcount.formulas.config_fields import example_of
from hfcount.formulas.form import Form, component_polynomials, parsed
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.registry import FAMILIES, closed_form
from hfcount.formulas.text import to_text
from hfcount.formulas.tracing.draws import drawn

DRAWS, ENOUGH = 300, 8


def over_fields(text: str, symbols: dict[str, str], form: Form, raw: dict[str, Any]) -> Polynomial:
    """A form's text as a polynomial over the fields of config.json by their own names."""
    result = Polynomial.constant(0)
    for monomial, factor in parsed(text).terms.items():
        term = Polynomial.constant(factor)
        for symbol, power in monomial:
            term = term * of_fields(symbols[symbol], form, raw) ** power
        result = result + term
    return result


def of_fields(expression: str, form: Form, raw: dict[str, Any]) -> Polynomial:
    """What a symbol stands for: a field, a power of a division (a picture's patches), or a division as one symbol."""
    own = re.sub(r"[A-Za-z_][\w.]*", lambda found: form.renamed.get(found[0], found[0]), expression)
    if own == "head_dim" and raw.get("head_dim") is None:
        own = "hidden_size // num_attention_heads"  # where it is not given, the config object works it out so
    tree = ast.parse(own, mode="eval").body
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Pow) and isinstance(tree.right, ast.Constant):
        return Polynomial.symbol(ast.unparse(tree.left)) ** int(tree.right.value)
    return Polynomial.symbol(ast.unparse(tree))


def is_ordinary(form: Form, raw: dict[str, Any]) -> bool:
    """Whether no two sizes happen to be the same: by hand, a form is written with d² for h·d_h·d where that is so."""
    values = form.values(raw)
    sizes = [value for symbol, value in values.items() if symbol in sum(component_polynomials(form).values()).symbols]
    products = {a * b for a, b in itertools.combinations(sizes, 2)}
    return len(set(sizes)) == len(sizes) and min(sizes) > 0 and not products & set(sizes)


def compared(form: Form) -> int:
    """At how many configs the hand-derived and the traced form were compared; an assertion where they differ."""
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)

    chance, base, times = random.Random(form.model_class), form.fields(example_of(form)), 0
    for _ in range(DRAWS):
        raw = drawn(form, base, chance, share=1.0)
        if not is_ordinary(form, raw):
            continue
        try:
            config = CONFIG_MAPPING[form.model_type].from_dict(dict(raw))
        except Exception:  # sizes that the class refuses
            continue
        hand = closed_form(config, form.model_class)
        if hand is None:
            continue
        times += 1
        traced = {
            name: over_fields(to_text(each), dict(form.symbols), form, raw)
            for name, each in component_polynomials(form).items()
        }
        by_hand = {each.component: over_fields(each.text, hand.symbols, form, raw) for each in hand.components}
        for component in traced.keys() | by_hand.keys():
            one, other = (each.get(component, Polynomial.constant(0)) for each in (by_hand, traced))
            assert one == other, f"{component}: by hand {one}, traced {other}, differ by {one - other}"
        if times == ENOUGH:
            break
    return times


def forms_of(model_type: str) -> list[Form]:
    return [form for form in catalogue.forms(model_type) if form.model_class in FAMILIES[model_type].heads]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_by_hand_and_traced_are_one_polynomial(model_type: str) -> None:
    """In every form of the family; at least one of them can be compared at some config."""
    assert sum(compared(form) for form in forms_of(model_type)) > 0
