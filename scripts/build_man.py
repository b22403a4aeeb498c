"""Write man/hfcount.1 from the command line itself: its commands, their options and help, the errors' exit codes.

Run it after a change to the command line: `python scripts/build_man.py`; `--check` says whether the page is current.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hfcount import errors
from hfcount._version import __version__
from hfcount.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "man" / "hfcount.1"


def page() -> str:
    """The manual page, in the macros of man(7)."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("hfcount", [], resilient_parsing=True)
    about = paragraphs(group.help)
    lines = [
        f'.TH HFCOUNT 1 "" "hfcount {__version__}" "User Commands"',
        ".SH NAME",
        *wrapped(f"hfcount \\- {escaped(first_sentence(about[0]))}"),
        ".SH SYNOPSIS",
        *usage(group, context),
        ".SH DESCRIPTION",
        *texts(about),
        ".SH OPTIONS",
        *parameters(group, context),
        ".SH COMMANDS",
    ]
    for name in group.list_commands(context):
        lines += command(name, group.commands[name], context)
    return "\n".join([*lines, *exit_status()]) + "\n"


def command(name: str, found: Any, above: Any) -> Iterator[str]:
    """A command's section: what it does, its arguments and options."""
    inside = found.make_context(name, [], parent=above, resilient_parsing=True)
    yield f'.SS "hfcount {escaped(name)}"'
    yield from texts(paragraphs(found.help))
    yield from parameters(found, inside)


def usage(group: Any, context: Any) -> Iterator[str]:
    """The synopsis: a line for each command."""
    for index, name in enumerate(group.list_commands(context)):
        if index:
            yield ".br"
        inside = group.commands[name].make_context(name, [], parent=context, resilient_parsing=True)
        pieces = " ".join(group.commands[name].collect_usage_pieces(inside))
        yield f".B hfcount {escaped(name)}"
        yield escaped(re.sub(r"\{(\w+)(?:\.\.\.)?\}", r"\1", pieces))  # what must be given stands bare


def parameters(found: Any, context: Any) -> Iterator[str]:
    """Each argument and option with its help."""
    for parameter in found.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        names, text = record
        if parameter.param_type_name == "argument":
            names = str(parameter.metavar or names)  # its own word, without typer's word for its type
        yield ".TP"
        yield f".B {escaped(names)}"
        yield from texts(paragraphs(text)) if text else ("",)


def exit_status() -> Iterator[str]:
    """The exit codes, each with the errors that have it, in their own words."""
    yield ".SH EXIT STATUS"
    yield from (".TP", ".B 0", "Success.")
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.HfcountError)
    ]
    for code in sorted({each.exit_code for each in kinds}):
        said = [first_sentence((each.__doc__ or "").strip()) for each in kinds if each.exit_code == code]
        yield from (".TP", f".B {code}")
        yield from texts([f"{text.rstrip('.')}." for text in said if "Base of all" not in text], between=".br")


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a help text, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text or "") if part.strip()]


def texts(parts: list[str], *, between: str = ".sp") -> Iterator[str]:
    """Paragraphs as lines of the page."""
    for index, part in enumerate(parts):
        if index:
            yield between
        yield from wrapped(marked(part))


def wrapped(line: str) -> list[str]:
    """A long line as several, none of which begins like a request."""
    lines = textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False)
    return [f"\\&{each}" if each.startswith((".", "'")) else each for each in lines]


def first_sentence(text: str) -> str:
    """The text up to its first full stop, colon or semicolon."""
    return re.split(r"[.:;](?:\s|$)", " ".join(text.split()), maxsplit=1)[0]


def marked(text: str) -> str:
    """Help with rich's markup as a line of the page."""
    return re.sub(r"\[bold\](.*?)\[/bold\]", r"\\fB\1\\fR", escaped(text))


def escaped(text: str) -> str:
    """Text that says what it says: its backslashes and hyphens are meant."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")


def main(arguments: list[str]) -> int:
    """Write the page, or with --check say whether it is current: 0 if it is, else 1."""
    text = page()
    if "--check" in arguments:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print("current" if current else f"{PAGE.name} is out of date: python scripts/build_man.py")
        return 0 if current else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
