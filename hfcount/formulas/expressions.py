"""Expressions over a config's fields: what symbols and guards are written in, and how they are evaluated.

An expression is Python, restricted to arithmetic, comparisons, subscripts, comprehensions over ranges and a few
functions, so that a form can be read by a person, pasted into a program, and evaluated here without running
anything else: what is not on the list is refused when it is compiled. Nothing heavy is imported.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

from hfcount.formulas.activations import ACTIVATIONS

FUNCTIONS: dict[str, Any] = {
    "len": len, "min": min, "max": max, "sum": sum, "range": range, "int": int, "float": float, "round": round,
    "all": all, "any": any, "abs": abs,
}  # fmt: skip
_METHODS = ("count", "get")
_MATH = ("ceil", "floor", "sqrt", "log", "log2", "trunc", "pow")
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Subscript, ast.Slice,
    ast.Name, ast.Load, ast.Store, ast.Constant, ast.Attribute, ast.Tuple, ast.List, ast.Dict, ast.GeneratorExp,
    ast.ListComp, ast.comprehension, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


class Absent:
    """What a field is that a config does not have: neither None nor any value."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class Fields(Mapping[str, Any]):
    """A config's fields as names, nested ones by dots; a field that is not there is ABSENT."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, name: str) -> Any:
        value = self._raw.get(name, ABSENT)
        return Fields(value) if isinstance(value, Mapping) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._raw == (other._raw if isinstance(other, Fields) else other)

    __hash__ = None  # type: ignore[assignment]


class _Names(dict):  # type: ignore[type-arg]
    """The namespace of an evaluation: fields, else functions; a name that is neither is ABSENT."""

    def __missing__(self, name: str) -> Any:
        return ABSENT


@functools.cache
def compiled(text: str) -> CodeType:
    """The code of the expression `text`; ValueError where it holds anything that expressions may not."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"no expression: {text}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise ValueError(f"{type(node).__name__} in an expression: {text}")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise ValueError(f"a private name in an expression: {text}")
        if isinstance(node, ast.Call):
            _check_call(node, text)
    return compile(tree, "<expression>", "eval")


def _check_call(node: ast.Call, text: str) -> None:
    function = node.func
    named = isinstance(function, ast.Name) and function.id in FUNCTIONS
    method = isinstance(function, ast.Attribute) and (
        function.attr in _METHODS
        or (isinstance(function.value, ast.Name) and function.value.id == "math" and function.attr in _MATH)
    )
    if not (named or method):
        raise ValueError(f"a call that expressions may not make: {text}")


def namespace(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The names that expressions over `fields` (a config's raw fields, or values of symbols) are evaluated with."""
    names = _Names(FUNCTIONS)
    names.update({name: Fields(value) if isinstance(value, Mapping) else value for name, value in fields.items()})
    names.update(math=math, ABSENT=ABSENT, ACTIVATIONS=ACTIVATIONS, __builtins__={})
    return names


def evaluate(text: str, names: dict[str, Any]) -> Any:
    """The value of the expression `text` with `names` from `namespace`."""
    return eval(compiled(text), names)  # compiled() lets nothing through but arithmetic


def holds(guard: str, names: dict[str, Any]) -> bool:
    """Whether the guard holds; one that cannot be evaluated, since a field is missing or of another kind, does not."""
    try:
        return bool(evaluate(guard, names))
    except (TypeError, AttributeError, IndexError, KeyError, ZeroDivisionError, OverflowError, ValueError):
        return False


@functools.cache
def field_paths(text: str) -> frozenset[str]:
    """The dotted fields that an expression reads, list elements by their list: "text_config.hidden_size", "depths".

    >>> sorted(field_paths("a.b*c[0] + sum(1 for i in range(L))"))
    ['L', 'a.b', 'c']
    """
    tree = ast.parse(text, mode="eval")
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    found: set[str] = set()
    _collect(tree, bound, found)
    return frozenset(found)


_NOT_FIELDS = frozenset({"math", "ABSENT", "ACTIVATIONS", *FUNCTIONS})


def _collect(node: ast.AST, bound: set[str], found: set[str]) -> None:
    if isinstance(node, (ast.Attribute, ast.Name)):
        path = _dotted(node)
        if path is not None:
            if path.split(".")[0] not in bound | _NOT_FIELDS:
                found.add(path.removesuffix(".count").removesuffix(".get"))
            return
    for child in ast.iter_child_nodes(node):
        _collect(child, bound, found)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None
