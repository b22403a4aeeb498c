"""The one place where results leave the program: to stdout or to a file, in the format asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcount.cli.options import FORMAT_OF_SUFFIX, Format
from hfcount.cli.progress import clear, say
from hfcount.errors import BadInput
from hfcount.reports.files import check_writable, write_text
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.result import Count


def chosen(format: Format | None, output: Path | None, *, without: Collection[Format] = ()) -> Format:
    """The format asked for, else the one that the output's suffix stands for, else a table.

    BadInput, before anything is worked out, for one that the command is `without`.
    """
    if output is not None:
        check_writable(output)
    found = format or (FORMAT_OF_SUFFIX.get(output.suffix.lower()) if output else None) or Format.table
    if found in without:
        offered = ", ".join(each.value for each in Format if each not in without)
        where = f"--format {found.value}" if format else f"--output {output}"
        raise BadInput(f"{where}: this command writes no {found.value}; ask for {offered}")
    return found


def tell_unshown(option: str, format: Format, shown: Collection[Format]) -> None:
    """Say that a format does not show what an option is for; `shown` are those that do."""
    if format not in shown:
        offered = ", ".join(each.value for each in Format if each in shown)
        say(f"{option}: {format.value} does not show it; {offered} do")


def emit(
    renderings: Mapping[Format, Callable[[], Any]], format: Format, output: Path | None, *, bare: str | None = None
) -> None:
    """Render in `format` and print, or write to `output`: JSON from a dict, a table from a rich renderable or a text.

    `bare` is what `--quiet` has in the place of a table.
    """
    if bare is not None and format is Format.table:
        deliver(visible(bare, keep="\n\t"), output)
        return
    from hfcount.reports.document import to_json

    body = renderings[format]()
    if format is Format.json:
        text = to_json(body)
    elif format is Format.table and not isinstance(body, str):
        text = table_text(body, to_screen=output is None)
    else:
        text = body
    deliver(text, output)


def deliver(text: str, output: Path | None) -> None:
    """Print `text`, or write it to `output`."""
    if output is None:
        print_text(text)
    else:
        write_text(output, text)


def tell_detours(results: Iterable[Count]) -> None:
    """A line on stderr for each model that the catalogue was asked for in vain."""
    for each in results:
        if each.detour:
            say(f"{each.model}: {each.detour}")


def print_text(text: str) -> None:
    """Print on stdout, as UTF-8 where the terminal's own encoding lacks a sign."""
    clear()
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        sys.stdout.buffer.write(text.encode("utf-8"))


def table_text(body: Any, *, to_screen: bool) -> str:
    """A rich renderable as text: as wide and as colourful as the terminal, if it goes to one."""
    from rich.console import Console

    from hfcount.reports.terminal import to_text

    screen = Console()
    on_terminal = to_screen and screen.is_terminal
    color = on_terminal and not os.environ.get("NO_COLOR")
    return to_text(body, width=screen.width if on_terminal else None, color=color)
