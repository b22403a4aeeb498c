"""The documents as a site: built with warnings as errors, complete, and asking nothing of another host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc(?:set)?=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^>]*>|@import[^;]*//|url\(["']?(?:https?:)?//""",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > 20
    for path in pages:
        found = FETCHED.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(site)}: {found and found[0]}"


@pytest.mark.parametrize(
    "fetched",
    [
        '<script src="https://unpkg.com/x.js"></script>',
        '<link href="https://fonts.googleapis.com/css" rel="stylesheet">',
        '<img alt="" src=//a.b/c.png>',
        "@font-face{src:url(https://a.b/c.woff)}",
    ],
)
def test_what_would_be_fetched_is_seen(fetched: str) -> None:
    assert FETCHED.search(fetched)
    assert not FETCHED.search('<a href="https://arxiv.org/abs/2305.14314">paper</a>')


def test_the_reference_has_every_public_function_and_command(site: Path) -> None:
    from typer.main import get_command

    import hfcount
    from hfcount.cli.app import app

    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in hfcount.__all__:
        member = getattr(hfcount, name)
        if not name.startswith("_") and not (isinstance(member, type) and issubclass(member, Exception)):
            assert f'id="hfcount.{name}"' in python, name
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        if not command.hidden:
            assert f">hfcount {name}<" in commands, name


def test_the_search_finds_the_pages(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].split("#")[0] for entry in index["docs"] if "124,439,808" in entry["text"]}
    assert {"why/117m.html", "tutorial/gpt2.html", "explain.html"} <= found
