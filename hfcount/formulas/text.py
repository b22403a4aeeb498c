"""How a closed form is written: `to_text` for machines (`12*d**2`), `pretty` for people (`12d²`).

A person writes embeddings first, then the layers as one product, then what comes once at the end:
`V*d + T*d + L*(12*d**2 + 13*d) + 2*d`. The order below is that habit, spelled out once for all families.
"""

from __future__ import annotations

import re
from typing import Any

from hfcount.formulas.closed_form import ClosedForm
from hfcount.formulas.polynomial import Monomial, Polynomial, as_polynomial

_TABLES = ("V", "T", "S", "B", "N", "C", "P")
"""Rows of tables: vocabulary, positions, segments, buckets, patches, channels, patch side. They lead the sum."""

_COUNTS = ("E", "E_s", "h", "k", "K")
"""How many of a thing: they stand before the widths they multiply, and add nothing to a term's degree."""

_WIDTHS_AS_WRITTEN = ("d_h", "d_n", "d_r", "d_v", "d", "p", "r_q", "r_kv", "f", "f_e")
_WIDTHS_AS_SORTED = ("d", "p", "r_q", "r_kv", "d_h", "d_n", "d_r", "d_v", "f", "f_e")

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def to_text(form: Any) -> str:
    """`form` (Polynomial, int, or sympy polynomial) as Python arithmetic, each layer symbol collected.

    >>> d, L = Polynomial.symbol("d"), Polynomial.symbol("L")
    >>> to_text(2 * d + L * (12 * d**2 + 13 * d))
    'L*(12*d**2 + 13*d) + 2*d'
    """
    lead, layers, rest = _split(as_polynomial(form))
    pieces = [*_sorted_terms(lead), *(_layer_product(symbol, layers[symbol]) for symbol in sorted(layers))]
    return _joined([*pieces, *_sorted_terms(rest)])


def pretty(text: str) -> str:
    """The machine text as it is shown on a screen: `·` for products and superscripts for powers.

    >>> pretty("V*d + T*d + L*(12*d**2 + 13*d) + 2*d")
    'V·d + T·d + L·(12d² + 13d) + 2d'
    >>> pretty("2*h*d_h*d")
    '2h·d_h·d'
    """
    powers = re.sub(r"\*\*(\d+)", lambda match: match.group(1).translate(_SUPERSCRIPTS), text)
    joined = re.sub(r"(?<![\w.])(\d+)\*(?=[A-Za-z](?![A-Za-z0-9_]))", r"\1", powers)
    return joined.replace("*", "·")


def legend(form: ClosedForm) -> list[str]:
    """What each symbol stands for, in the order in which the form's text uses them: "V vocab_size"."""
    used = dict.fromkeys(re.findall(r"[A-Za-z]\w*", form.text))
    names = [symbol for symbol in used if symbol in form.symbols]
    names += [symbol for symbol in form.symbols if symbol not in used]
    return [f"{symbol} {form.symbols[symbol]}" for symbol in names]


def _split(form: Polynomial) -> tuple[Polynomial, dict[str, Polynomial], Polynomial]:
    """The terms with a table's symbol, those of each layer symbol (divided by it), and all others."""
    lead: dict[Monomial, int] = {}
    layers: dict[str, dict[Monomial, int]] = {}
    rest: dict[Monomial, int] = {}
    for monomial, factor in form.terms.items():
        layer = next((name for name, power in monomial if _is_layers(name) and power == 1), None)
        if layer is not None:
            within = tuple(item for item in monomial if item[0] != layer)
            layers.setdefault(layer, {})[within] = factor
        elif any(name in _TABLES for name, _ in monomial):
            lead[monomial] = factor
        else:
            rest[monomial] = factor
    return Polynomial(lead), {name: Polynomial(terms) for name, terms in layers.items()}, Polynomial(rest)


def _is_layers(name: str) -> bool:
    return name == "L" or name.startswith("L_")


def _layer_product(symbol: str, within: Polynomial) -> str:
    """`L*(a + b)`; for a single term the symbol joins it: `4*L*d`."""
    if len(within.terms) == 1:
        return to_term((within * Polynomial.symbol(symbol)).terms.popitem())
    return f"{symbol}*({_joined(_sorted_terms(within))})"


def _sorted_terms(form: Polynomial) -> list[str]:
    return [to_term(term) for term in sorted(form.terms.items(), key=_place)]


def to_term(term: tuple[Monomial, int]) -> str:
    """One monomial with its coefficient: `12*d**2`, `-d`, `5`."""
    monomial, factor = term
    symbols = sorted(monomial, key=lambda item: _rank(item[0], (*_TABLES, *_COUNTS, *_WIDTHS_AS_WRITTEN)))
    written = [name if power == 1 else f"{name}**{power}" for name, power in symbols]
    if abs(factor) != 1 or not written:
        written.insert(0, str(abs(factor)))
    return ("-" if factor < 0 else "") + "*".join(written)


def _place(term: tuple[Monomial, int]) -> tuple[Any, ...]:
    """Sort key of a term: its table, then the higher degree in widths first, then the widths' own order."""
    monomial, _ = term
    tables = [_rank(name, _TABLES) for name, _ in monomial if name in _TABLES]
    widths = [
        _rank(name, _WIDTHS_AS_SORTED)
        for name, power in monomial
        for _ in range(power)
        if name not in _COUNTS and name not in _TABLES
    ]
    counts = [_rank(name, _COUNTS) for name, _ in monomial if name in _COUNTS]
    return sorted(tables), -len(widths), sorted(widths), sorted(counts)


def _rank(name: str, order: tuple[str, ...]) -> tuple[int, str]:
    """The place of `name` in `order`; unknown names come after all known ones, by their letters."""
    if _is_layers(name):
        return (-1, name)
    return (order.index(name) if name in order else len(order), name)


def _joined(pieces: list[str]) -> str:
    text = " + ".join(pieces).replace("+ -", "- ")
    return text or "0"
