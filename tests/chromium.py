"""A real Chromium for tests of pages: where it is, how it is started, and what a page may not do in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

PATH = shutil.which(os.environ.get("CHROMIUM", "chromium")) or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
WAIT = 60_000  # milliseconds for what builds a model, on a machine that is busy
WITHOUT = "needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"


def needed() -> None:
    """Skip the test where there is no browser, or fail it if HFCOUNT_NEEDS_BROWSER is set."""
    if PATH is None:
        (pytest.fail if os.environ.get("HFCOUNT_NEEDS_BROWSER") else pytest.skip)(WITHOUT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser, closed when the module's tests are done."""
    needed()
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=PATH, args=list(FLAGS))
        yield found
        found.close()


def watched(context: Any, own: str) -> list[str]:
    """What goes wrong in `context` from now on: errors and warnings on the console, requests to others than `own`."""
    faults: list[str] = []
    context.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("request", lambda request: faults.extend(_foreign(request.url, own)))
    return faults


def _foreign(url: str, own: str) -> list[str]:
    parts, home = urlsplit(url), urlsplit(own)
    known = parts.scheme in ("data", "blob") or (parts.scheme, parts.netloc) == (home.scheme, home.netloc)
    return [] if known else [f"a request to another host: {url}"]
