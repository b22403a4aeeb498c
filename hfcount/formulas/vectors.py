"""Columns of exact integers: numpy's speed where 64 bits are enough, Python's integers where they may not be.

Each column carries a bound on its absolute values, worked out in Python integers alongside every operation; before
an operation whose result could leave 64 bits, the column becomes one of Python integers. Nothing ever wraps around.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LARGEST = 2**63 - 1


class NotVectorised(Exception):
    """An expression that is worked out row by row, or once for each combination of the fields that it reads."""


class Ints:
    """A column of integers, or one number for all rows, and a bound on what is in it; `bad`: where it is undefined."""

    __slots__ = ("bad", "bound", "values")

    def __init__(self, values: Any, bound: int, bad: Any = False) -> None:
        self.values, self.bound, self.bad = values, bound, bad

    @classmethod
    def of(cls, values: Any) -> Ints:
        """A column of an integer or boolean array, or of one integer."""
        if isinstance(values, (int, np.integer)):
            return cls(int(values), abs(int(values)))
        if values.dtype == bool:
            return cls(values.astype(np.int64), 1)
        if not len(values):
            return cls(values.astype(np.int64), 0)
        least, most = int(values.min()), int(values.max())
        bound = max(abs(least), abs(most))
        fits = bound <= LARGEST and values.dtype.kind in "iu"
        return cls(values.astype(np.int64) if fits else values.astype(object), bound)

    def exact(self, bound: int) -> Any:
        """The values, as Python integers where a result with this bound may need them."""
        if bound > LARGEST and isinstance(self.values, np.ndarray) and self.values.dtype != object:
            return self.values.astype(object)
        return self.values

    def __add__(self, other: Ints) -> Ints:
        return self._with(other, self.bound + other.bound, operator.add)

    def __sub__(self, other: Ints) -> Ints:
        return self._with(other, self.bound + other.bound, operator.sub)

    def __mul__(self, other: Ints) -> Ints:
        return self._with(other, self.bound * other.bound, operator.mul)

    def __neg__(self) -> Ints:
        return Ints(-self.values, self.bound, self.bad)

    def __floordiv__(self, other: Ints) -> Ints:
        return self._divided(other, self.bound + 1, operator.floordiv)

    def __mod__(self, other: Ints) -> Ints:
        return self._divided(other, other.bound, operator.mod)

    def compared(self, other: Ints, how: Callable[[Any, Any], Any]) -> Ints:
        """0 or 1 for each row."""
        truth = how(self.values, other.values)
        return Ints(np.asarray(truth).astype(np.int64), 1, self.bad | other.bad)

    @property
    def truth(self) -> Any:
        """Which rows are neither 0 nor undefined."""
        return (np.asarray(self.values) != 0) & ~np.asarray(self.bad)

    def _with(self, other: Ints, bound: int, how: Callable[[Any, Any], Any]) -> Ints:
        return Ints(how(self.exact(bound), other.exact(bound)), bound, self.bad | other.bad)

    def _divided(self, other: Ints, bound: int, how: Callable[[Any, Any], Any]) -> Ints:
        zero = np.asarray(other.values) == 0
        divisor = np.where(zero, 1, np.asarray(other.values)) if zero.any() else other.values
        return Ints(how(self.values, divisor), bound, self.bad | other.bad | zero)


_ARITHMETIC: dict[type, Callable[[Ints, Ints], Ints]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@functools.cache
def _tree(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def vectorised(text: str, names: Mapping[str, Any]) -> Ints:
    """An expression over columns (`Ints`) and numbers, by the dotted names of the fields.

    NotVectorised where it holds anything but integer arithmetic, comparisons and their combinations.
    """
    return _worked_out(_tree(text), names)


def _worked_out(node: ast.expr, names: Mapping[str, Any]) -> Ints:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Ints.of(int(node.value))
    if isinstance(node, (ast.Name, ast.Attribute)):
        value = names.get(ast.unparse(node))
        if isinstance(value, Ints):
            return value
        if isinstance(value, int):
            return Ints.of(int(value))
    if isinstance(node, ast.BinOp):
        if type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](_worked_out(node.left, names), _worked_out(node.right, names))
        power = node.right.value if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) else None
        if isinstance(power, int) and 1 <= power <= 8:
            return functools.reduce(operator.mul, [_worked_out(node.left, names)] * power)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_worked_out(node.operand, names)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inside = _worked_out(node.operand, names)
        return inside.compared(Ints.of(0), operator.eq)
    if isinstance(node, ast.BoolOp):
        return _combined(node, names)
    if isinstance(node, ast.Compare) and all(type(each) in _COMPARISONS for each in node.ops):
        return _compared(node, names)
    raise NotVectorised(ast.unparse(node))


def _compared(node: ast.Compare, names: Mapping[str, Any]) -> Ints:
    sides = [_worked_out(each, names) for each in (node.left, *node.comparators)]
    pairs = zip(sides, node.ops, sides[1:], strict=False)
    links = [left.compared(right, _COMPARISONS[type(how)]) for left, how, right in pairs]
    return functools.reduce(operator.mul, links)


def _combined(node: ast.BoolOp, names: Mapping[str, Any]) -> Ints:
    """`and` and `or`, all sides worked out; where one that Python would not reach is undefined, nothing is said."""
    sides = [_worked_out(each, names) for each in node.values]
    if any(np.any(side.bad) for side in sides):
        raise NotVectorised(ast.unparse(node))
    join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
    return Ints(functools.reduce(join, [side.truth for side in sides]).astype(np.int64), 1)
