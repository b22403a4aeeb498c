"""docs/python.md: its examples run and say what they say."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import hfcount

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_examples_run() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.failed == 0
    assert found.attempted > 10


def test_the_table_has_every_function() -> None:
    told = set(re.findall(r"^\| `(\w+)\(", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == {name for name in hfcount.__all__ if name.islower() and name.isalpha()}
