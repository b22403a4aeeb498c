"""What a class's own code says that its parts do not: whether two compute the same, and what one calls."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any


def like(module: Any, references: Mapping[str, str]) -> str | None:
    """The kind of the reference that computes what `module` does, line for line; None where none does.

    `references` gives the kind of each class by its path: in transformers.models, unless it begins with hfcount.
    """
    return _kinds(tuple(references.items())).get(_code(type(module)))  # type: ignore[arg-type]


@functools.cache
def _kinds(references: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Kinds by code; a class that this version of transformers does not have is left out."""
    kinds = {}
    for path, kind in references:
        place, _, name = path.rpartition(".")
        place = place if place.startswith("hfcount.") else f"transformers.models.{place}"
        try:
            kinds[_code(getattr(importlib.import_module(place), name))] = kind
        except (ImportError, AttributeError):
            continue
    return kinds


@functools.cache
def _code(kind: Any) -> str:
    """What the class computes: its `forward` and `_norm`, and those of the classes it builds on, docstrings aside."""
    classes = [each for each in kind.__mro__ if not each.__module__.startswith(("torch.", "builtins"))]
    trees = [_tree(vars(each)[name]) for each in classes for name in ("forward", "_norm") if name in vars(each)]
    return "\n".join(ast.unparse(statement) for tree in trees for statement in _statements(tree)) or repr(kind)


@functools.cache
def called_by(kind: Any) -> frozenset[str]:
    """The names of all functions and methods that the class's `forward` calls."""
    calls = [node.func for node in ast.walk(_tree(kind.forward)) if isinstance(node, ast.Call)]
    return frozenset(str(getattr(call, "id", getattr(call, "attr", ""))) for call in calls)


def _tree(function: Any) -> ast.FunctionDef:
    """The function's syntax; KeyError where its source is not at hand."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        raise KeyError(getattr(function, "__qualname__", "a function without source")) from None
    assert isinstance(tree.body[0], ast.FunctionDef)
    return tree.body[0]


def _statements(tree: ast.FunctionDef) -> list[ast.stmt]:
    first = tree.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return tree.body[1:] if documented else tree.body
