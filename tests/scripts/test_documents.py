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
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
