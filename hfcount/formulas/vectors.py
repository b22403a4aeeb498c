"""Columns of exact integers: numpy's speed where 64 bits are enough, Python's integers where they may not be.

Each column carries a bound on its absolute values, worked out in Python integers alongside every operation; before
an operation whose result could leave 64 bits, the column becomes one of Python integers. Nothing ever wraps around.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from hfcount.formulas.expressions import compiled, evaluate, field_paths
from hfcount.formulas.paths import related

LARGEST = 2**63 - 1


class NotVectorised(Exception):
    """An expression that is worked out once for each combination of the fields that it reads."""


class Ints:
    """A column of integers, or one number for all rows, and a bound on what is in it; `bad`: where it is undefined."""

    __slots__ = ("bad", "bound", "values")

    def __init__(self, values: Any, bound: int, bad: Any = False) -> None:
        one = isinstance(values, np.generic) or (isinstance(values, np.ndarray) and values.ndim == 0)
        self.values, self.bound, self.bad = int(values) if one else values, bound, bad

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
        return cls(values.astype(np.int64 if bound <= LARGEST else object), bound)

    def exact(self, bound: int) -> Any:
        """The values, as Python integers where numbers up to this bound take part."""
        return np.asarray(self.values, dtype=object) if bound > LARGEST else self.values

    def __add__(self, other: Ints) -> Ints:
        return self._with(other, self.bound + other.bound, operator.add)

    def __sub__(self, other: Ints) -> Ints:
        return self._with(other, self.bound + other.bound, operator.sub)

    def __mul__(self, other: Ints) -> Ints:
        return self._with(other, self.bound * other.bound, operator.mul)

    def __neg__(self) -> Ints:
        return Ints(-self.values, self.bound, self.bad)

    def __abs__(self) -> Ints:
        return Ints(abs(self.values), self.bound, self.bad)

    def __floordiv__(self, other: Ints) -> Ints:
        return self._divided(other, self.bound + 1, operator.floordiv)

    def __mod__(self, other: Ints) -> Ints:
        return self._divided(other, other.bound, operator.mod)

    def smaller(self, other: Ints) -> Ints:
        """The smaller of the two in each row."""
        return self._with(other, max(self.bound, other.bound), np.minimum)

    def larger(self, other: Ints) -> Ints:
        """The larger of the two in each row."""
        return self._with(other, max(self.bound, other.bound), np.maximum)

    def compared(self, other: Ints, how: Callable[[Any, Any], Any]) -> Ints:
        """0 or 1 for each row."""
        most = max(self.bound, other.bound)
        truth = np.asarray(how(self.exact(most), other.exact(most)), dtype=bool)
        return Ints(truth.astype(np.int64), 1, self.bad | other.bad)

    @property
    def truth(self) -> Any:
        """Which rows are neither 0 nor undefined."""
        return np.asarray(np.asarray(self.values) != 0, dtype=bool) & ~np.asarray(self.bad)

    def where(self, one: Ints, other: Ints) -> Ints:
        """`one` where this is true, else `other`; what is not taken may be undefined."""
        bound, truth = max(one.bound, other.bound), self.truth
        bad = np.asarray(self.bad) | np.where(truth, one.bad, other.bad)
        return Ints(np.where(truth, one.exact(bound), other.exact(bound)), bound, bad)

    def _with(self, other: Ints, bound: int, how: Callable[[Any, Any], Any]) -> Ints:
        most = max(bound, self.bound, other.bound)  # 0 times what 64 bits do not hold is 0, but takes both
        return Ints(how(self.exact(most), other.exact(most)), bound, self.bad | other.bad)

    def _divided(self, other: Ints, bound: int, how: Callable[[Any, Any], Any]) -> Ints:
        most = max(self.bound, other.bound)
        dividend, divisor = self.exact(most), np.asarray(other.exact(most))
        zero = np.asarray(divisor == 0, dtype=bool)
        if zero.any():
            divisor = np.where(zero, 1, divisor)
        values = how(dividend, divisor if divisor.ndim else int(divisor))
        return Ints(values, bound, self.bad | other.bad | zero)


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
_IDENTITIES = {ast.Is: 0, ast.IsNot: 1}


@functools.cache
def _tree(text: str) -> ast.expr:
    compiled(text)  # refuses what expressions may not hold
    return ast.parse(text, mode="eval").body


@functools.cache
def _text(node: ast.expr) -> str:
    return ast.unparse(node)


class Columns:
    """The fields that vary, by their dotted names (None: not a column of integers), and `names` for all others."""

    def __init__(self, columns: Mapping[str, Ints | None], names: dict[str, Any]) -> None:
        self._columns, self._names = columns, names

    def read_by(self, text: str) -> list[str]:
        """The columns that the value of an expression depends on."""
        return _related(text, tuple(self._columns))

    def vectorised(self, text: str) -> Ints:
        """An expression over the columns; `bad` where Python would raise ZeroDivisionError.

        NotVectorised where it does anything but integer arithmetic, comparisons and their combinations with them.
        """
        return self._worked_out(_tree(text))

    def _worked_out(self, node: ast.expr) -> Ints:
        text = _text(node)
        if not self.read_by(text):
            return self._constant(text)
        found = self._columns.get(text)
        if found is not None:
            return found
        worker = _WORKERS.get(type(node))
        if worker is None:
            raise NotVectorised(text)
        return worker(self, node)

    def _constant(self, text: str) -> Ints:
        """What is the same for all rows."""
        try:
            value = evaluate(text, self._names)
        except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise NotVectorised(text) from error
        if not isinstance(value, int):
            raise NotVectorised(text)
        return Ints.of(int(value))

    def _binary(self, node: ast.BinOp) -> Ints:
        if type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](self._worked_out(node.left), self._worked_out(node.right))
        power = node.right.value if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) else None
        if type(power) is int and 1 <= power <= 8:
            return functools.reduce(operator.mul, [self._worked_out(node.left)] * power)
        raise NotVectorised(_text(node))

    def _unary(self, node: ast.UnaryOp) -> Ints:
        inside = self._worked_out(node.operand)
        if isinstance(node.op, ast.USub):
            return -inside
        if isinstance(node.op, ast.Not):
            return inside.compared(Ints.of(0), operator.eq)
        raise NotVectorised(_text(node))

    def _combined(self, node: ast.BoolOp) -> Ints:
        """`and` and `or` as Python has them: the value of the side that decides, the others never reached."""
        result = self._worked_out(node.values[0])
        for each in node.values[1:]:
            decided = (result.truth != isinstance(node.op, ast.And)) | np.asarray(result.bad)
            if np.all(decided):
                return result
            other = self._worked_out(each)
            result = result.where(other, result) if isinstance(node.op, ast.And) else result.where(result, other)
        return result

    def _chosen(self, node: ast.IfExp) -> Ints:
        test = self._worked_out(node.test)
        if np.all(test.truth):
            return self._worked_out(node.body)
        if not np.any(test.truth):
            other = self._worked_out(node.orelse)
            return Ints(other.values, other.bound, other.bad | np.asarray(test.bad))
        return test.where(self._worked_out(node.body), self._worked_out(node.orelse))

    def _compared(self, node: ast.Compare) -> Ints:
        """A chain is its links, each reached where those before it hold."""
        result, left = None, node.left
        for how, right in zip(node.ops, node.comparators, strict=True):
            link = self._link(left, how, right)
            result, left = link if result is None else result.where(link, result), right
        assert result is not None
        return result

    def _link(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> Ints:
        if type(how) in _COMPARISONS:
            return self._worked_out(left).compared(self._worked_out(right), _COMPARISONS[type(how)])
        if type(how) in _IDENTITIES and _text(right) in ("None", "ABSENT") and self._columns.get(_text(left)):
            return Ints.of(_IDENTITIES[type(how)])  # a column of integers holds neither
        raise NotVectorised(_text(left))

    def _called(self, node: ast.Call) -> Ints:
        how = _FUNCTIONS.get(_text(node.func))
        if how is None or node.keywords or (len(node.args) < 2) is not (how[1] is None):
            raise NotVectorised(_text(node))
        first, *others = (self._worked_out(each) for each in node.args)
        return functools.reduce(how[1], others, first) if how[1] is not None else how[0](first)


_FUNCTIONS: dict[str, tuple[Callable[[Ints], Ints], Callable[[Ints, Ints], Ints] | None]] = {
    "int": (lambda value: value, None),
    "abs": (operator.abs, None),
    "min": (lambda value: value, Ints.smaller),
    "max": (lambda value: value, Ints.larger),
}
_WORKERS: dict[type, Callable[[Columns, Any], Ints]] = {
    ast.BinOp: Columns._binary,
    ast.UnaryOp: Columns._unary,
    ast.BoolOp: Columns._combined,
    ast.IfExp: Columns._chosen,
    ast.Compare: Columns._compared,
    ast.Call: Columns._called,
}


@functools.lru_cache(maxsize=100_000)
def _related(text: str, columns: Collection[str]) -> list[str]:
    paths = field_paths(text)
    return [column for column in columns if related(column, paths)]
