"""Take the pictures that README and the documents show: the terminal, a chart, the report, the page.

    python scripts/screenshots.py                     # writes docs/images/
    python scripts/screenshots.py FOLDER --only app   # some of them, elsewhere

Needs Playwright and Chromium (CHROMIUM=/path/to/it where it is not on the PATH); nothing is fetched.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gallery import as_svg, printed

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
COLUMNS = 118


def terminal(browser: Any, path: Path) -> None:
    """`hfcount gpt2 --lora-r 8` on a terminal."""
    arguments = "gpt2 --lora-r 8"
    _, text = printed(arguments, COLUMNS)
    svg = as_svg(arguments, text, COLUMNS)
    with _opened(browser, width=1160, height=10) as page:
        page.set_content(f"<style>body{{margin:0}}svg{{display:block;width:100%}}</style>{svg}")
        page.screenshot(path=path, full_page=True)


def mass(browser: Any, path: Path) -> None:
    """`hfcount t5-base --plot`."""
    _plotted("t5-base", path)


def step(browser: Any, path: Path) -> None:
    """`hfcount memory gpt2 --simulate --plot`: the curve of a step."""
    _plotted("memory gpt2 --simulate --regime full,lora --lora-r 8", path)


def _plotted(arguments: str, path: Path) -> None:
    code, text = printed(f"{arguments} --plot {path}", COLUMNS)
    assert code == 0, text


def report(browser: Any, path: Path) -> None:
    """The first screen of `hfcount gpt2 --lora-r 8,16 --output report.html`."""
    from hfcount.api import count
    from hfcount.costing import memory
    from hfcount.reports.html import count_page

    with tempfile.TemporaryDirectory() as folder, _opened(browser, width=1000, height=1180) as page:
        file = Path(folder) / "report.html"
        file.write_text(count_page(count("gpt2", lora_r=(8, 16)), memory("gpt2", lora_r=(8, 16))), encoding="utf-8")
        page.goto(file.as_uri())
        page.screenshot(path=path)


def timeline(browser: Any, path: Path) -> None:
    """The curve of a simulated step in the page of `hfcount memory --simulate`, pointed at before its peak."""
    from hfcount.costing import memory
    from hfcount.reports.html import memory_page

    found = memory("gpt2", regimes=("full",), method="simulated", curves=True)
    with tempfile.TemporaryDirectory() as folder, _opened(browser, width=1000, height=900) as page:
        file = Path(folder) / "memory.html"
        file.write_text(memory_page(found), encoding="utf-8")
        page.goto(file.as_uri())
        figure = page.locator("figure:has([data-chart=timeline])")
        figure.scroll_into_view_if_needed()
        box = page.locator("[data-chart=timeline] svg").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
        page.wait_for_selector("#tip:visible")
        figure.screenshot(path=path)


def app(browser: Any, path: Path) -> None:
    """The page with GPT-2, its figure 117M explained."""
    from hfcount.app.serving import launch

    served, worker, url = launch()
    try:
        with _opened(browser, width=1280, height=1000) as page:
            page.goto(f"{url}?figure=117M")
            for part in ("#status .good", "#budget table", "#explanation .good"):
                page.wait_for_selector(part, timeout=120_000)
            page.screenshot(path=path)
    finally:
        served.close(verbose=False)
        worker.close()


PICTURES: Mapping[str, Callable[[Any, Path], None]] = {
    each.__name__: each for each in (terminal, mass, step, report, timeline, app)
}


@contextlib.contextmanager
def _opened(browser: Any, *, width: int, height: int) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    try:
        yield context.new_page()
    finally:
        context.close()


@functools.cache
def chromium() -> str:
    """The browser's path; ends the script where there is none."""
    found = shutil.which(os.environ.get("CHROMIUM", "chromium")) or shutil.which("chromium-browser")
    return found or sys.exit("needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images")
    parser.add_argument("--only", default=",".join(PICTURES), help="names, with commas")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        for name in given.only.split(","):
            path = given.folder.resolve() / f"{name}.png"
            PICTURES[name](browser, path)
            print(path)
        browser.close()


if __name__ == "__main__":
    main()
