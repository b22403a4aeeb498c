"""Single figures inside the documents' sentences, worked out by hfcount when the documents are renewed.

    GPT-2 has <!-- = count("gpt2").sizes.total -->124,439,808<!-- end --> parameters.
    It takes <!-- = regime(memory("gpt2"), "full").total_bytes as GiB -->3.02 GiB<!-- end -->.

Between `=` and `as` stands an expression, behind `as` how it is written: GiB, MiB or KiB of bytes, `short` (124.4M),
`form` (a closed form as the reports print it), `word` or `Word` (nine, Nine), or a format of Python's own (`.2f`, `.1%`,
`s`). An integer needs none.

An expression is data from a document, so it is no Python that could do anything: constants, arithmetic, attributes and
subscripts of what the functions of `VOCABULARY` (doc_vocabulary.py) give, and calls of these alone.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from doc_vocabulary import VOCABULARY

FIGURE = re.compile(r"(<!-- = (?P<expression>.+?)(?: as (?P<style>\S+))? -->)(?P<shown>[^\n]*?)(<!-- end -->)")
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
MOST_POWER = 64
NOT_SO = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, StopIteration, TypeError, ValueError)
WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip


class BadFigure(ValueError):
    """An expression of a document that is not one, or cannot be written as asked."""


def value_of(expression: str) -> Any:
    """What the expression gives; BadFigure for whatever is not in the vocabulary."""
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError as error:
        raise BadFigure(f"{expression}: {error.msg}") from error
    from hfcount.errors import HfcountError

    try:
        return _evaluated(tree.body)
    except BadFigure:
        raise
    except (*NOT_SO, HfcountError) as error:
        raise BadFigure(f"{expression}: {type(error).__name__} {error}") from error


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return node.value
    if isinstance(node, ast.Attribute) and not node.attr.startswith("_"):
        return getattr(_evaluated(node.value), node.attr)
    if isinstance(node, ast.Subscript):
        return _evaluated(node.value)[_evaluated(node.slice)]
    if isinstance(node, ast.BinOp):
        return _arithmetic(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in VOCABULARY:
        named = {each.arg: _evaluated(each.value) for each in node.keywords if each.arg is not None}
        if len(named) == len(node.keywords):
            return VOCABULARY[node.func.id](*map(_evaluated, node.args), **named)
    raise BadFigure(f"{ast.unparse(node)}: a figure is made of {', '.join(VOCABULARY)}, numbers and arithmetic")


def _arithmetic(node: ast.BinOp) -> Any:
    left, right = _evaluated(node.left), _evaluated(node.right)
    if isinstance(node.op, ast.Pow) and isinstance(right, int) and abs(right) <= MOST_POWER:
        return left**right
    if type(node.op) not in OPERATORS or not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        raise BadFigure(f"{ast.unparse(node)}: no arithmetic of a figure")
    return OPERATORS[type(node.op)](left, right)


def written(value: Any, style: str | None) -> str:
    """The value as a sentence has it; BadFigure where the style does not fit."""
    if style in UNITS:
        return f"{value / UNITS[style]:,.2f} {style}"
    if style == "short":
        from hfcount.reports.units import short

        return short(value)
    if style in ("word", "Word"):
        return _word(value).capitalize() if style == "Word" else _word(value)
    if style == "form":
        from hfcount.formulas import pretty

        return f"`{pretty(value)}`"
    if style is None and type(value) is not int:
        raise BadFigure(f"{value!r}: say how it is written, as .2f")
    try:
        return format(value, style or ",d")
    except (ValueError, TypeError) as error:
        raise BadFigure(f"{value!r} as {style}: {error}") from error


def _word(value: Any) -> str:
    """A whole number up to twenty in letters; BadFigure for any other."""
    if value not in range(len(WORDS)):
        raise BadFigure(f"{value!r}: only whole numbers up to {len(WORDS) - 1} are written as words")
    return WORDS[int(value)]


def with_figures(text: str) -> str:
    """`text` with every figure as it is now."""
    return FIGURE.sub(lambda found: found[1] + written(value_of(found["expression"]), found["style"]) + found[5], text)
