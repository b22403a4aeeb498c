"""A closed form as MathML, from its machine text, so that a browser sets it as mathematics without a script.

It is written from the text's own syntax tree and not by a converter from the LaTeX, for two reasons: a line may break
before each term (MathML Core breaks no lines, and a form is often wider than a phone), and a field's name stays one
upright identifier.
Source: MathML Core, https://www.w3.org/TR/mathml-core/, sections 3.2 (tokens) and 3.3 (layout).
"""

from __future__ import annotations

import ast
import re
from html import escape

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4
"""How tightly an operation binds: what binds looser than its surroundings is put in parentheses."""

_TIMES = "<mo>&#x2062;</mo>"  # invisible, but a screen reader says it
_DOT = "<mo>·</mo>"
_OPEN = '<mo stretchy="false" form="prefix">(</mo>'
_CLOSE = '<mo stretchy="false" form="postfix">)</mo>'
_PLUS, _MINUS = '<mo form="infix">+</mo>', '<mo form="infix">−</mo>'
_THEN_PLUS, _THEN_MINUS = (f'<mo form="infix" lspace="0">{sign}</mo>' for sign in "+−")
"""At the beginning of a piece, where the blank before it, at which a line may break, is the space on the left."""


def to_mathml(text: str) -> str:
    """The text of a form (names, integers, `+ - * ** //`, parentheses) as `<math>` elements to break between.

    ValueError for anything else.

    >>> print(to_mathml("V*d + 2"))
    <math><mi>V</mi><mo>&#x2062;</mo><mi>d</mi></math> <math><mo form="infix" lspace="0">+</mo><mn>2</mn></math>
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"no closed form: {text}") from error
    return " ".join(f"<math>{piece}</math>" for piece in _pieces(tree))


def symbol_mathml(name: str) -> str:
    """One symbol as `<math>`: a letter with its subscripts, a field's name upright with a number at its end below."""
    return f"<math>{_symbol(name)}</math>"


def _symbol(name: str) -> str:
    letter = re.fullmatch(r"([A-Za-z])(?:_(\w+))?", name)
    if letter:
        base, below = letter.group(1), (letter.group(2) or "").split("_")
    else:
        found = re.fullmatch(r"(.*?)((?:_\d+)*)", name)
        assert found is not None
        base, below = found.group(1) or name, found.group(2).strip("_").split("_") if found.group(1) else []
    written = [_token(each) for each in below if each]
    if not written:
        return _token(base)
    return f"<msub>{_token(base)}<mrow>{'<mo>,</mo>'.join(written)}</mrow></msub>"


def _token(name: str) -> str:
    """A number, or an identifier: one letter is set in italics, a word upright, by MathML's own rule."""
    return f"<mn>{name}</mn>" if name.isdigit() else f"<mi>{escape(name)}</mi>"


def _pieces(node: ast.expr) -> list[str]:
    """The terms of a sum, each with its sign, those of a sum in parentheses at the end of a product as well."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        added = isinstance(node.op, ast.Add)
        right = _pieces(node.right) if added else [_written(node.right, _PRODUCT)]
        return [*_pieces(node.left), f"{_THEN_PLUS if added else _THEN_MINUS}{right[0]}", *right[1:]]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and _is_sum(node.right):
        first, *rest = _pieces(node.right)
        whole = [f"{_written(node.left, _PRODUCT)}{_TIMES}{_OPEN}{first}", *rest]
        return [*whole[:-1], f"{whole[-1]}{_CLOSE}"]
    return [_written(node, _SUM)]


def _is_sum(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))


def _written(node: ast.expr, around: int) -> str:
    """The node, in parentheses where it binds looser than what stands `around` it."""
    if isinstance(node, ast.Name):
        return _symbol(node.id)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return f"<mn>{node.value}</mn>"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _bracketed(f'<mo form="prefix">−</mo>{_written(node.operand, _PRODUCT)}', around > _PRODUCT)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        body, strength = _OPERATIONS[type(node.op)](node)
        return _bracketed(body, strength < around)
    raise ValueError(f"no part of a closed form: {ast.unparse(node)}")


def _bracketed(body: str, needed: bool) -> str:
    return f"<mrow>{_OPEN}{body}{_CLOSE}</mrow>" if needed else body


def _sum(node: ast.BinOp) -> tuple[str, int]:
    return f"{_written(node.left, _SUM)}{_PLUS}{_written(node.right, _SUM)}", _SUM


def _difference(node: ast.BinOp) -> tuple[str, int]:
    return f"{_written(node.left, _SUM)}{_MINUS}{_written(node.right, _PRODUCT)}", _SUM


def _product(node: ast.BinOp) -> tuple[str, int]:
    """Factors side by side as in print, with a dot where they would run together: beside a word, before a number."""
    left, right = _written(node.left, _PRODUCT), _written(node.right, _POWER)
    apart = right.startswith("<mn>") or _wordy(left.rsplit(_TIMES, 1)[-1]) or _wordy(right)
    return f"{left}{_DOT if apart else _TIMES}{right}", _PRODUCT


def _wordy(factor: str) -> bool:
    """Whether a factor begins with a word of several letters."""
    return re.match(r"(<msub>|<msup>|<msubsup>|<mrow>)*<mi>\w{2,}", factor) is not None


def _power(node: ast.BinOp) -> tuple[str, int]:
    """A base with a subscript takes the exponent above it, as in print."""
    base, exponent = _written(node.left, _ATOM), f"<mrow>{_written(node.right, _SUM)}</mrow>"
    if base.startswith("<msub>"):
        return f"<msubsup>{base.removeprefix('<msub>').removesuffix('</msub>')}{exponent}</msubsup>", _POWER
    return f"<msup><mrow>{base}</mrow>{exponent}</msup>", _POWER


def _floored(node: ast.BinOp) -> tuple[str, int]:
    above, below = _written(node.left, _SUM), _written(node.right, _SUM)
    fraction = f"<mfrac><mrow>{above}</mrow><mrow>{below}</mrow></mfrac>"
    return f'<mrow><mo form="prefix">⌊</mo>{fraction}<mo form="postfix">⌋</mo></mrow>', _ATOM


_OPERATIONS = {
    ast.Add: _sum, ast.Sub: _difference, ast.Mult: _product, ast.Pow: _power, ast.FloorDiv: _floored,
}  # fmt: skip
