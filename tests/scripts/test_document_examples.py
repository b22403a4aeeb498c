"""The Python that the documents show runs, and gives what stands beside it. docs/python.md has a test of its own."""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from registered import forget

import hfcount

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SESSIONS = [path for path in PAGES if ">>> " in path.read_text(encoding="utf-8") and path.name != "python.md"]
SCRIPTS = [path for path in PAGES if any(">>> " not in block for block in BLOCK.findall(path.read_text("utf-8")))]

# How many lines of a page say what they give, at least; the others are run.
FEWEST = {"README.md": 8, "formulas.md": 1}


@pytest.mark.pinned
@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_a_session_gives_what_it_shows(path: Path) -> None:
    found = doctest.testfile(str(path), module_relative=False)
    assert found.failed == 0
    assert found.attempted > 0


@pytest.mark.pinned
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_block_runs_and_its_comments_hold(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = BEFORE.get(path.name, dict)()
    blocks = [block for block in BLOCK.findall(path.read_text(encoding="utf-8")) if ">>> " not in block]
    checked = 0
    for block in blocks:
        for code, comment in statements(block):
            if comment is None:
                exec(code, scope)
            else:
                checked += holds(eval(code, scope), comment, code)
    assert checked >= FEWEST.get(path.name, 0)
    AFTER.get(path.name, lambda scope: None)(scope)


def statements(block: str) -> Iterator[tuple[str, str | None]]:
    """Each statement, and what the comment behind it says where it is an expression."""
    lines = block.splitlines()
    for node in ast.parse(block).body:
        assert node.end_lineno is not None
        code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        code, sign, comment = code.partition("  # ")
        yield code, comment if isinstance(node, ast.Expr) and sign else None


def holds(value: Any, comment: str, code: str) -> bool:
    """Whether the comment states a value, which must be this one: a formula whole, else each of its numbers."""
    numbers = re.findall(r"\d[\d,]*", comment)
    if "*" in comment:
        assert str(value) == comment, code
    elif numbers:
        given = re.findall(r"\d+", str(value.tolist() if hasattr(value, "tolist") else value))
        assert [each.replace(",", "") for each in numbers] == given, code
    return bool(numbers)


def an_audit() -> dict[str, Any]:
    """The file that the page's first command writes, of two bundled cards instead of an organisation."""
    command = ["audit", "gpt2", "mixtral-8x7b", "--output", "audit.sqlite", "--offline"]
    subprocess.run([sys.executable, "-m", "hfcount", *command], check=True, capture_output=True)
    return {}


def its_mismatches(scope: dict[str, Any]) -> None:
    assert len(scope["found"]) > 5
    assert list(scope["wrong"].columns) == list(scope["found"].columns)


def own_classes() -> dict[str, Any]:
    """Classes of one's own: a Llama under another name."""
    from transformers import LlamaConfig, LlamaForCausalLM

    class MyConfig(LlamaConfig):
        model_type = "my_model"

    class MyModelForCausalLM(LlamaForCausalLM):
        config_class = MyConfig

    return {"MyConfig": MyConfig, "MyModelForCausalLM": MyModelForCausalLM}


def they_are_counted(scope: dict[str, Any]) -> None:
    """A folder with their config is counted, as the page says: 2·V·d + L·(4d² + 3d·f + 2d) + d of a Llama."""
    config = scope["MyConfig"](
        vocab_size=100, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4
    )
    config.architectures = ["MyModelForCausalLM"]
    config.save_pretrained("my-model")
    layer = 4 * 16**2 + 3 * 16 * 40 + 2 * 16
    try:
        assert hfcount.count("./my-model").sizes.total == 2 * 100 * 16 + 2 * layer + 16
    finally:
        forget(scope["MyConfig"])


def a_page_was_written(scope: dict[str, Any]) -> None:
    assert "124,439,808" in Path("gpt2.html").read_text(encoding="utf-8")


BEFORE: dict[str, Callable[[], dict[str, Any]]] = {"audit_organisation.md": an_audit, "unpublished.md": own_classes}
AFTER: dict[str, Callable[[dict[str, Any]], None]] = {
    "audit_organisation.md": its_mismatches,
    "report.md": a_page_was_written,
    "unpublished.md": they_are_counted,
}
