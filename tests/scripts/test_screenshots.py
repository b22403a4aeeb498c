"""The script that takes the documents' pictures still takes them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import chromium
import pytest
from conftest import load_script

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header (https://www.w3.org/TR/png/#11IHDR)."""
    return struct.unpack(">II", path.read_bytes()[16:24])  # type: ignore[return-value]


def test_pictures_are_taken_as_the_documents_show_them(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    chromium.needed()
    command = [sys.executable, "scripts/screenshots.py", str(tmp_path), "--only", "terminal,mass"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("terminal", "mass"):
        taken, shown = (size(folder / f"{name}.png") for folder in (tmp_path, ROOT / "docs" / "images"))
        assert taken[0] == pytest.approx(shown[0], rel=0.02), name  # letters differ from machine to machine
        assert taken[1] == pytest.approx(shown[1], rel=0.1), name


def test_every_picture_of_the_documents_has_a_script() -> None:
    pictures = {path.stem for path in (ROOT / "docs" / "images").glob("*.png")}
    assert pictures == set(load_script("screenshots").PICTURES)
