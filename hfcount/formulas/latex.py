r"""A closed form in LaTeX, from its machine text: `12*d**2` becomes `12 d^{2}`, and `d_vision` `d_{\mathrm{vision}}`.

What is written is plain enough for matplotlib's mathtext as well as for TeX.
"""

from __future__ import annotations

import ast
import re

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4
"""How tightly an operation binds: what binds looser than its surroundings is put in parentheses."""


def to_latex(text: str) -> str:
    r"""The machine text of a form (names, integers, `+ - * ** //` and parentheses) as LaTeX.

    ValueError for anything else.

    >>> print(to_latex("V*d + T*d + L*(12*d**2 + 13*d) + 2*d"))
    V d + T d + L \left(12 d^{2} + 13 d\right) + 2 d
    >>> print(to_latex("d_h*k*d_vision + n_1**2*mamba_expand"))
    d_{h} k d_{\mathrm{vision}} + n_{1}^{2} \cdot \mathrm{mamba\_expand}
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"no closed form: {text}") from error
    return _written(tree, _SUM)


def symbol_latex(name: str) -> str:
    r"""One symbol: a letter keeps its subscripts, a field's name stands upright, a number at its end goes below.

    >>> [symbol_latex(name) for name in ("d", "d_h", "r_kv", "d_h_vision", "depths_0")]
    ['d', 'd_{h}', 'r_{\\mathrm{kv}}', 'd_{h,\\mathrm{vision}}', '\\mathrm{depths}_{0}']
    """
    letter = re.fullmatch(r"([A-Za-z])(?:_(\w+))?", name)
    if letter:
        return letter.group(1) + (f"_{{{_subscript(letter.group(2))}}}" if letter.group(2) else "")
    base, numbers = re.fullmatch(r"(.*?)((?:_\d+)*)", name).groups()  # type: ignore[union-attr]
    below = f"_{{{numbers[1:].replace('_', ',')}}}" if numbers and base else ""
    return _upright(base or name) + below


def _subscript(text: str) -> str:
    """`h` and `1` as they are, words upright; the parts of `h_vision` with a comma between."""
    short = re.match(r"(?:(?:[A-Za-z]|\d+)(?:_|$))+", text)
    letters, words = (short.group(), text[short.end() :]) if short else ("", text)
    parts = [each for each in letters.split("_") if each]
    return ",".join([*parts, *([_upright(words)] if words else [])])


def _upright(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"


def _written(node: ast.expr, around: int) -> str:
    """The node, in parentheses where it binds looser than what stands `around` it."""
    if isinstance(node, ast.Name):
        return symbol_latex(node.id)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return str(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _bracketed(f"-{_written(node.operand, _PRODUCT)}", around > _PRODUCT)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        body, strength = _OPERATIONS[type(node.op)](node)
        return _bracketed(body, strength < around)
    raise ValueError(f"no part of a closed form: {ast.unparse(node)}")


def _bracketed(body: str, needed: bool) -> str:
    return rf"\left({body}\right)" if needed else body


def _sum(node: ast.BinOp) -> tuple[str, int]:
    return f"{_written(node.left, _SUM)} + {_written(node.right, _SUM)}", _SUM


def _difference(node: ast.BinOp) -> tuple[str, int]:
    return f"{_written(node.left, _SUM)} - {_written(node.right, _PRODUCT)}", _SUM


def _product(node: ast.BinOp) -> tuple[str, int]:
    """Factors side by side as in print, with a dot where they would run together: beside a word, before a number."""
    left, right = _written(node.left, _PRODUCT), _written(node.right, _POWER)
    apart = right[0].isdigit() or _last_factor(left).startswith(r"\mathrm") or right.startswith(r"\mathrm")
    return f"{left}{_DOT if apart else ' '}{right}", _PRODUCT


_DOT = r" \cdot "


def _last_factor(left: str) -> str:
    return left.rsplit(" ", 1)[-1]


def _power(node: ast.BinOp) -> tuple[str, int]:
    return f"{_written(node.left, _ATOM)}^{{{_written(node.right, _SUM)}}}", _POWER


def _floored(node: ast.BinOp) -> tuple[str, int]:
    above, below = _written(node.left, _SUM), _written(node.right, _SUM)
    return rf"\left\lfloor \frac{{{above}}}{{{below}}} \right\rfloor", _ATOM


_OPERATIONS = {
    ast.Add: _sum, ast.Sub: _difference, ast.Mult: _product, ast.Pow: _power, ast.FloorDiv: _floored,
}  # fmt: skip
