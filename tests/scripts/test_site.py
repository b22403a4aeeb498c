"""The documents as a site: built with warnings as errors, complete, and asking nothing of another host.

While it is built, every page of docs/ is worked out anew (scripts/site_hooks.py), so this is also where the pages are
held against what the program says; test_documents.py holds the documents that are no pages of the site.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc(?:set)?=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^>]*>|@import[^;]*//|url\(["']?(?:https?:)?//""",
    re.IGNORECASE,
)


pytestmark = pytest.mark.pinned


def built(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`mkdocs build` of a site, as `make docs` calls it."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), *options],
        cwd=config.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built once for all workers, since each of its figures is worked out with it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, said = shared / "site", shared / "site.txt"
    with FileLock(shared / "site.lock"):
        if not said.exists():
            done = built(ROOT / "mkdocs.yml", "--strict", "--site-dir", str(folder))
            said.write_text(f"{done.returncode}\n{done.stderr}", encoding="utf-8")
    code, _, complaint = said.read_text(encoding="utf-8").partition("\n")
    assert code == "0", complaint
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    """So each of them is held by the build."""
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}


@pytest.fixture
def one_page(tmp_path: Path) -> Callable[[str], Path]:
    """A site with one page of a text, and all else as in mkdocs.yml but the reference; its config."""

    def with_text(text: str) -> Path:
        settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
        settings |= {"plugins": [], "nav": [{"Start": "index.md"}], "extra_css": []}
        settings["hooks"] = [str(ROOT / each) for each in settings["hooks"]]
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "index.md").write_text(text, encoding="utf-8")
        (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        return tmp_path / "mkdocs.yml"

    return with_text


# GPT-2's parameters are OpenAI's own model (huggingface.co/openai-community/gpt2), 124,439,808.
FIGURE = 'GPT-2 has <!-- = count("gpt2", fast=True).sizes.total -->{}<!-- end --> parameters.\n'
OUTPUT = "<!-- $ hfcount gpt2 --fast --quiet -->\n```text\n$ hfcount gpt2 --fast --quiet\n{}\n```\n"


@pytest.mark.parametrize(("page", "right"), [(FIGURE, "124,439,808"), (OUTPUT, "124439808")], ids=["figure", "output"])
@pytest.mark.parametrize("stale", [False, True], ids=["right", "stale"])
def test_a_stale_page_fails_the_build(one_page: Callable[[str], Path], page: str, right: str, stale: bool) -> None:
    done = built(one_page(page.format("117" if stale else right)), "--strict")
    assert (done.returncode != 0) == stale, done.stderr
    assert ("index.md is not what hfcount says now" in done.stderr) == stale
    assert ("python scripts/update_docs.py" in done.stderr) == stale


def test_what_is_published_is_what_hfcount_says(one_page: Callable[[str], Path]) -> None:
    config = one_page(FIGURE.format("117"))
    done = built(config, "--no-strict")
    assert done.returncode == 0, done.stderr
    page = (config.parent / "site" / "index.html").read_text(encoding="utf-8")
    assert "124,439,808" in page
    assert ">117<" not in page


def test_what_is_no_figure_ends_the_build(one_page: Callable[[str], Path]) -> None:
    done = built(one_page("<!-- = open('secret') -->1<!-- end -->\n"), "--no-strict")
    assert done.returncode != 0
    assert "index.md: open('secret'): a figure is made of" in done.stderr
    assert "Traceback" not in done.stderr


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
