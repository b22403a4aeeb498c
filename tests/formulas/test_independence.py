"""The families are an independent witness: nothing of torch, transformers or the count is within their reach."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import hfcount.formulas.families

PACKAGE = Path(hfcount.formulas.families.__file__).parent
ALLOWED = ("__future__", "typing", "hfcount.formulas.families")

LIGHT = """
import sys
import hfcount.formulas
from types import SimpleNamespace
config = SimpleNamespace(model_type="gpt2", vocab_size=50257, n_embd=768, n_layer=12, n_head=12, n_positions=1024,
                         n_inner=None, tie_word_embeddings=True)
print(hfcount.formulas.closed_form(config, "GPT2LMHeadModel").value)
heavy = {"torch", "transformers", "peft", "pandas", "sympy", "numpy"} & set(sys.modules)
counting = {name for name in sys.modules if name in ("hfcount.inventory", "hfcount.skeleton", "hfcount.components")}
print(sorted(heavy | counting))
"""


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def test_families_import_only_themselves() -> None:
    files = sorted(PACKAGE.glob("*.py"))
    assert len(files) > 3
    foreign = {f"{path.name}: {name}" for path in files for name in imports_of(path) if not name.startswith(ALLOWED)}
    assert not foreign


def test_a_closed_form_needs_no_heavy_library() -> None:
    """A fresh process gives GPT-2's count (the released weights', 124,439,808) and has loaded none of them."""
    run = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["124439808", "[]"]
