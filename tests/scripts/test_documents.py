"""What README shows is what the program prints now, and the documents' links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def elsewhere() -> list[Path]:
    """The documents that are no pages of the site: those are held while the site is built, in test_site.py."""
    return [*ROOT.glob("*.md"), *(ROOT / "scripts").rglob("*.md")]


@pytest.mark.pinned
def test_every_shown_output_is_the_programs_own() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/update_docs.py", "--check", *map(str, elsewhere())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run python scripts/update_docs.py"


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_readmes_python_example_says_what_it_gives() -> None:
    """Each line of the example that ends in a comment with a figure is evaluated."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    scope: dict[str, object] = {}
    checked = 0
    for line in block[1].splitlines():
        code, _, said = line.partition("#")
        if not code.strip():
            continue
        if re.fullmatch(r"\s*[\w*+() ]+", said) and "DataFrame" not in said and said.strip():
            assert str(eval(code, scope)) == said.strip(), code
            checked += 1
        else:
            exec(code, scope)
    assert checked >= 4
