"""Every regular expression of the package on texts made of its own pieces: none may take more than a pass or so.

A pattern is slow where a piece of it repeats and what follows fails: the engine then tries each beginning, and each
length. So each pattern is given every piece of itself, repeated and ended by something that it cannot match.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog import seconds_of_work

import hfcount
from hfcount.conventions.figures import MAX_SIGNS
from hfcount.errors import MAX_VALIDATION

try:
    import re._parser as parser  # type: ignore[import-not-found]
except ImportError:  # Python 3.10
    import sre_parse as parser  # type: ignore[no-redef]

PACKAGE = Path(hfcount.__file__).parent
SIGNS = 20_000
"""Of an attack: a pass takes a millisecond, and what grows with the square of it a second or more."""

BOUNDS = {"hfcount.errors": MAX_VALIDATION, "hfcount.conventions.figures": MAX_SIGNS, "hfcount.reports.units": 30}
"""What a module reads at most with its patterns, where it refuses longer texts; `units.short` gives 8 signs."""

OURS = ("formulas", "components", "breakdown", "experts", "simulation")
"""Rooms whose patterns read what the package or an installed class wrote: names of modules, texts of forms."""


def compiled(value: object, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    """The patterns in a module's global: alone, or within lists and dicts."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict):
        yield from compiled([*value.keys(), *value.values()], depth)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from compiled(each, depth - 1)


CALLS = {"compile", "search", "match", "fullmatch", "sub", "split", "findall", "finditer"}


def written(path: Path) -> Iterator[tuple[str, str]]:
    """The patterns that are written out in a call, and the call's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "re" and called.attr in CALLS:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield called.attr, first.value


@functools.cache
def patterns() -> dict[tuple[str, str, bool], re.Pattern[Any]]:
    """Each pattern by the module that has it, its text, and whether it is only ever matched at the beginning."""
    found = {}
    for module in pkgutil.walk_packages([str(PACKAGE)], "hfcount."):
        room = module.name.split(".")[1]
        path = PACKAGE.parent / (module.name.replace(".", "/") + ("/__init__.py" if module.ispkg else ".py"))
        source = path.read_text(encoding="utf-8")
        if room in OURS or "re." not in source or module.name.endswith("__main__"):
            continue
        for call, text in written(path):
            anchored = call in ("match", "fullmatch")
            found[module.name, text, anchored] = re.compile(text)
        if "import re\n" in source:
            for name, value in vars(importlib.import_module(module.name)).items():
                for each in compiled(value):
                    uses = set(re.findall(rf"\b{name}\.(\w+)\(", source))
                    anchored = bool(uses) and uses <= {"match", "fullmatch"}
                    found.pop((module.name, each.pattern, False), None)
                    if not any(each is known for known in found.values()):  # imported from another module
                        found[module.name, str(each.pattern), anchored] = each
    return found


def example(tree: Iterable[Any]) -> str:
    """A text that a parsed pattern matches, give or take what its lookarounds want."""
    return "".join(piece(op, argument) for op, argument in tree)


def piece(op: Any, argument: Any) -> str:
    name = str(op)
    if name == "LITERAL":
        return chr(argument)
    if name in ("NOT_LITERAL", "ANY"):
        return "a"
    if name == "IN":
        return one_of(argument)
    if name == "BRANCH":
        return example(argument[1][0])
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return example(argument[2]) * max(argument[0], 1)
    if name == "SUBPATTERN":
        return example(argument[3])
    if name == "ATOMIC_GROUP":
        return example(argument)
    return ""


CATEGORIES = {"CATEGORY_SPACE": " ", "CATEGORY_DIGIT": "1", "CATEGORY_WORD": "a", "CATEGORY_NOT_SPACE": "a"}


def one_of(choices: list[Any]) -> str:
    kinds = {str(op): argument for op, argument in reversed(choices)}
    if "NEGATE" in kinds:
        members = [chr(code) for code in (97, 32, 49, 46)]
        excluded = {chr(argument) for op, argument in choices if str(op) == "LITERAL"}
        return next(each for each in members if each not in excluded)
    if "RANGE" in kinds:
        return chr(kinds["RANGE"][0])
    if "LITERAL" in kinds:
        return chr(kinds["LITERAL"])
    return CATEGORIES.get(str(kinds["CATEGORY"]), "-")


def pieces(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """What can be repeated, and what leads up to it: each part that repeats, all before it, and the whole."""
    for op, argument in tree:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            if argument[1] > 1:
                yield before, example(argument[2])
                yield "", before
            yield from pieces(argument[2], before)
        elif name == "SUBPATTERN":
            yield from pieces(argument[3], before)
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from pieces(branch, before)
        elif name == "IN":
            for kind in ("CATEGORY_SPACE", "CATEGORY_DIGIT"):
                if any(str(each[1]) == kind for each in argument if str(each[0]) == "CATEGORY"):
                    yield before, CATEGORIES[kind]
        before += piece(op, argument)
    yield "", before


def attacks(pattern: re.Pattern[Any], signs: int) -> Iterator[str]:
    tree = parser.parse(pattern.pattern, pattern.flags)
    once = {(before, pump) for before, pump in pieces(tree) if pump}
    pumps = sorted({pump for _, pump in once}, key=lambda pump: (len(pump), pump))[:4]
    once |= {("", first + second) for first in pumps for second in pumps if first != second}
    for before, pump in sorted(once):
        yield before + pump * (signs // len(pump)) + "\x00\n"


@pytest.mark.parametrize("module", sorted({module for module, _, _ in patterns()}))
def test_no_pattern_grows_faster_than_its_text(module: str) -> None:
    for (where, text, anchored), pattern in patterns().items():
        if where != module:
            continue
        for attack in attacks(pattern, BOUNDS.get(module, SIGNS)):
            data = attack.encode() if isinstance(pattern.pattern, bytes) else attack
            with seconds_of_work(0.5, f"{where}: {text!r} on {attack[:40]!r}..."):
                if anchored:
                    pattern.match(data)
                    pattern.fullmatch(data)
                else:
                    for _ in pattern.finditer(data):
                        pass
