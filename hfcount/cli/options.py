"""The options that every model command takes, declared once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from hfcount.errors import BadInput


class Format(str, Enum):
    """How a result is written."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    html = "html"


FORMAT_OF_SUFFIX = {
    ".json": Format.json, ".csv": Format.csv, ".md": Format.markdown, ".markdown": Format.markdown,
    ".html": Format.html, ".htm": Format.html,
}  # fmt: skip


def card_names_starting(incomplete: str) -> list[str]:
    """The short names of the bundled cards that begin with what has been typed, for shell completion."""
    from hfcount.sources.cards import aliases

    return sorted(name for name in aliases() if name.startswith(incomplete.lower()))


_MODEL = "A folder with a config.json, a bundled card (gpt2, llama-7b, mini-gpt), or a Hub id."

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help=_MODEL, show_default=False, autocompletion=card_names_starting)
]
Models = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help=_MODEL, show_default=False, autocompletion=card_names_starting)
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the config; repeatable.", show_default=False),
]
Revision = Annotated[
    str | None, typer.Option(help="A branch, tag or commit of the Hub repository.", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Use what is on this machine; ask the network nothing.")]
ClassName = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="Count another architecture class.", show_default=False)
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="table on the screen, or by the suffix of --output.", show_default=False),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the result to a file instead.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="The bare figures alone, in the place of a table.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the repository's own code run, where it needs that.")
]
Fast = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="From config.json and the catalogue of verified closed forms, without torch, where it covers it.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="For each request, and for the work on the model.", show_default=False),
]


def how(
    settings: list[str] | None,
    revision: str | None,
    offline: bool,
    class_name: str | None,
    trust_remote_code: bool,
    timeout: float | None,
    fast: bool,
) -> dict[str, Any]:
    """The common options as the keyword arguments of the public functions; BadInput for an unusable timeout."""
    if timeout is not None and not 0 < timeout < 1e6:
        raise BadInput(f"--timeout {timeout:g}: give a positive number of seconds")
    return {
        "settings": settings or (),
        "revision": revision,
        "offline": offline,
        "class_name": class_name,
        "trust_remote_code": trust_remote_code,
        "timeout": timeout,
        "fast": fast,
    }


def ranks(values: list[str] | None) -> tuple[int, ...]:
    """The ranks of `--lora-r 4,8,16`, repeatable; each once, in the order given. BadInput for what is none."""
    found: list[int] = []
    for text in ",".join(values or ()).split(",") if values else ():
        try:
            rank = int(text.strip())
        except ValueError:
            raise BadInput(f"--lora-r {text.strip()!r}: a rank is a positive integer, as in --lora-r 4,8,16") from None
        if rank < 1:
            raise BadInput(f"--lora-r {rank}: a rank is a positive integer, as in --lora-r 4,8,16")
        found.append(rank)
    return tuple(dict.fromkeys(found))
