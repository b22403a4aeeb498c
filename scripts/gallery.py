"""Render every table and chart for five models of very different size and kind, to be looked at.

    python scripts/gallery.py FOLDER                        # all, with an index.html
    python scripts/gallery.py FOLDER --only memory,lora     # some pages
    python scripts/gallery.py FOLDER --models gpt2          # some models

Each table is what the command prints on a terminal, colours included, at 118 and at 80 columns, as an SVG; each chart
is a PNG. What fails is on the index with its message.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import html
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

MODELS = ("mini-gpt", "gpt2", "mixtral-8x7b", "t5-base", "gemma-3-4b-pt")
WIDTHS = (118, 80)
TABLES = {
    "count": "{model}",
    "by-layer": "{model} --by layer",
    "formula": "formula {model} --fast",
    "lora": "{model} --lora-r 4,8,16 --lora-targets all-linear",
    "memory": "memory {model} --gradient-checkpointing",
    "fit": "memory {model} --fit --gpu 4090 --gpu h100 --regime lora,qlora --lora-r 8",
    "simulate": "memory {model} --simulate --regime full,lora --lora-r 8",
    "audit": "audit {model}",
    "solve": "solve {model} --trainable 1% --lora-targets all-linear",
    "card": "card {model}",
}
TABLES_OF_ALL = {
    "compare": "compare {models}",
    "audit-all": "audit {models}",
    "explain": "explain gpt2 117M",
}
CHARTS = {
    "mass": "{model} --plot {file}",
    "memory-bars": "memory {model} --gradient-checkpointing --plot {file}",
    "memory-curve": "memory {model} --simulate --regime full,lora --lora-r 8 --plot {file}",
}
CHARTS_OF_ALL = {"verdicts": "audit {models} --plot {file}"}
FONT_FROM_ELSEWHERE = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture: what it is of, the command, its file, and the columns of a terminal that it shows (None: a chart)."""

    page: str
    command: str
    file: str
    width: int | None = None


class Terminal(io.StringIO):
    """A stream that says that it is a terminal, so that the command prints as it does on one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def pictures(models: tuple[str, ...], pages: frozenset[str]) -> Iterator[Picture]:
    """Every picture of `models`, those that show one model first; `pages` keeps these alone, empty: all."""
    subjects = [(model, {"model": model}, TABLES, CHARTS) for model in models]
    everyone = ("all", {"models": " ".join(models)}, TABLES_OF_ALL, CHARTS_OF_ALL)
    for name, fields, tables, charts in (*subjects, everyone):
        for page, command in tables.items():
            for width in WIDTHS:
                if not pages or page in pages:
                    yield Picture(page, command.format(**fields), f"{page}-{name}-{width}.svg", width)
        for page, command in charts.items():
            if not pages or page in pages:
                file = f"{page}-{name}.png"
                yield Picture(page, command.format(**fields, file=file), file)


def printed(arguments: str, width: int) -> tuple[int, str]:
    """The exit code of `hfcount ARGUMENTS` and what it prints on a terminal of `width` columns, with its colours."""
    from hfcount.cli.app import run

    os.environ |= {"COLUMNS": str(width), "TERM": "xterm-256color"}
    out, err = Terminal(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(shlex.split(arguments))
    return code, out.getvalue() + err.getvalue()


def as_svg(arguments: str, text: str, width: int) -> str:
    """The SVG of a terminal that shows the command and what it printed; it asks nothing of the network."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ hfcount {arguments}", style="bold"))
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title="hfcount")
    return FONT_FROM_ELSEWHERE.sub("", svg).replace("Fira Code", "DejaVu Sans Mono")


def draw(picture: Picture, folder: Path) -> str:
    """Write one picture into `folder`; "" or why there is none."""
    if picture.width is None:
        with _inside(folder):
            code, text = printed(picture.command, WIDTHS[0])
        return "" if code == 0 else text.strip()
    code, text = printed(picture.command, picture.width)
    (folder / picture.file).write_text(as_svg(picture.command, text, picture.width), encoding="utf-8")
    return "" if code in (0, 1) else text.strip()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def index(shown: list[tuple[Picture, str]]) -> str:
    """The page with all pictures, by what they show."""
    parts = ['<!doctype html><meta charset="utf-8"><title>hfcount: gallery</title>']
    parts.append("<style>body{font-family:sans-serif;max-width:760px;margin:auto}img{max-width:100%}</style>")
    for page in dict.fromkeys(picture.page for picture, _ in shown):
        parts.append(f"<h2>{html.escape(page)}</h2>")
        for picture, failure in shown:
            if picture.page == page:
                parts.append(f"<h3><code>hfcount {html.escape(picture.command)}</code></h3>")
                parts.append(f"<pre>{html.escape(failure)}</pre>" if failure else f'<img src="{picture.file}" alt="">')
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(MODELS), help="names, with commas")
    parser.add_argument("--only", default="", help="pages, with commas")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for picture in pictures(tuple(given.models.split(",")), frozenset(filter(None, given.only.split(",")))):
        failure = draw(picture, given.folder)
        shown.append((picture, failure))
        print(f"{picture.file}{': ' + failure if failure else ''}", flush=True)
    (given.folder / "index.html").write_text(index(shown), encoding="utf-8")
    return 1 if any(failure for _, failure in shown) else 0


if __name__ == "__main__":
    sys.exit(main())
