"""The pages of the reference that are made from the program: its commands with their options, and its JSON documents."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

GENERATED = re.compile(
    r"(^<!-- generated: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(^<!-- generated: end -->$)", re.DOTALL | re.MULTILINE
)
JSON_OF = (
    ("hfcount MODEL", "gpt2 --lora-r 8"),
    ("hfcount formula", "formula gpt2 --fast"),
    ("hfcount explain", "explain gpt2 117M --fast"),
    ("hfcount compare", "compare gpt2 mini-gpt --fast"),
    ("hfcount solve", "solve gpt2 --trainable 1% --fast"),
    ("hfcount memory", "memory gpt2 --regime qlora"),
    ("hfcount audit", "audit gpt2"),
)
MOST_EXAMPLE = 60


def commands(output_of: Callable[[str], str]) -> str:
    """A section for each command: its help, and a table of its arguments and options."""
    from typer.main import get_command

    from hfcount.cli.app import app

    group: Any = get_command(app)
    return "\n".join(_command(name, command) for name, command in group.commands.items() if not command.hidden)


def _command(name: str, command: Any) -> str:
    rows = [_option(each) for each in command.params if not getattr(each, "hidden", False)]
    return (
        "\n".join(
            [
                f"## hfcount {name}\n",
                _help(command),
                "\n| option | what it does | if not given |",
                "| --- | --- | --- |",
                *rows,
            ]
        )
        + "\n"
    )


def _help(command: Any) -> str:
    """The text that --help begins with, its examples as code."""
    return re.sub(r"\[bold\](.*?)\[/bold\]", r"`\1`", command.help or "").replace("\b", "").strip()


def _option(option: Any) -> str:
    names = ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    if option.param_type_name == "argument":
        names = f"`{option.metavar or option.name.upper()}`"
    elif not option.is_flag:
        choices = [each.value for each in type(option.default)] if isinstance(option.default, enum.Enum) else []
        named = "|".join(choices) or option.metavar or option.name.upper()
        names += f" `{named.replace('|', ' or ')}`"
    default = option.default
    if callable(default) or default in (None, False, (), []) or option.required:
        default = ""
    default = getattr(default, "value", default)
    help_text = " ".join((getattr(option, "help", "") or "").split())
    return f"| {_cell(names)} | {_cell(help_text)} | {_cell(f'`{default}`' if default != '' else '')} |"


def json_documents(output_of: Callable[[str], str]) -> str:
    """A table for each command's JSON: the path of each value, its type, and what it is for one model."""
    parts = []
    for title, arguments in JSON_OF:
        document = json.loads(output_of(f"{arguments} --format json"))
        parts += [f"## {title}\n", f"Of `hfcount {arguments} --format json`:\n"]
        parts += ["| path | type | here |", "| --- | --- | --- |"]
        parts += [f"| `{path}` | {kind} | {_cell(shown)} |" for path, kind, shown in _leaves(document)]
        parts.append("")
    return "\n".join(parts)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every value of a document: its path with `[]` for the entries of a list (the first stands for all)."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        yield from _leaves(value[0], f"{path}[]")
    elif isinstance(value, float) and path.endswith("_seconds"):
        yield path, _kind(value), "how long it took"
    else:
        text = json.dumps(value, ensure_ascii=False)
        yield path, _kind(value), f"`{text}`" if len(text) <= MOST_EXAMPLE else f"`{text[:MOST_EXAMPLE]}` …"


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", type(None): "or null"}
    if isinstance(value, list):
        return f"list of {_kind(value[0])}s" if value else "list"
    return names[type(value)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


GENERATORS: Mapping[str, Callable[[Callable[[str], str]], str]] = {
    "commands": commands,
    "json-documents": json_documents,
}


def with_reference(text: str, output_of: Callable[[str], str]) -> str:
    """`text` with everything between `<!-- generated: NAME -->` and `<!-- generated: end -->` made anew."""
    return GENERATED.sub(
        lambda found: f"{found[1]}\n{GENERATORS[found['name']](output_of).rstrip()}\n\n{found[4]}", text
    )
