"""Texts that a model's folder, card, config or header may bring, each of which does something where it is not shown.

Beside them what a reader of each format makes of an output: the parsers here are not hfcount's.
"""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt

PAYLOADS = {
    "clear screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "link of a terminal": "\x1b]8;;http://evil.example\x1b\\gpt2\x1b]8;;\x1b\\",
    "C1 codes": "\x9b2J\x9d0;owned\x9c",
    "bell and backspaces": "bad\x07\x08\x08\x08good\x7f",
    "overwritten": "mismatch\rok      ",
    "bidi override": "gpt2\u202e2tpg\u202c",
    "bidi isolates": "\u2067gpt2\u2069\u2066 \u200e\u200f\u061c",
    "no width": "gp\u200bt\u200c2\u200d\ufeff\u2060",
    "letters that are not drawn": "gpt2\u3164\u115f\u034f\U000e0041\U000e0100",
    "line separators": "gpt2\u2028\u2029\x85✓ all is well",
    "half a character": "gpt2\udcff\ud800",
    "formula": '=HYPERLINK("http://evil.example","gpt2")',
    "command": "+cmd|' /C calc'!A0",
    "sum of numbers": "-2+3",
    "function": "@SUM(1+1)*cmd|' /C calc'!A0",
    "blanks before a formula": "\t =1+1",
    "lines in a cell": "a\r\nb\rc\nd",
    "pipes": "a | b || c \\| d",
    "backticks": "`a` ``b`` ```",
    "script link": "[click](javascript:alert(1))",
    "image": "![i](http://evil.example/i.png)",
    "script": "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "heading": "a\n\n# Owned\n\n| x | y |\n| - | - |\n",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "markup of rich": "[bold red]good[/] [link=http://evil.example]gpt2[/link]",
    "emoji": ":smile: :warning:",
    "Python": '"""\nimport os; os.abort()\n"""  # \\',
    "TeX": "% \\input{/etc/passwd} $x^{2$ $$",
    "reference": "[gpt2]: http://evil.example",
    "autolinks": "<http://evil.example> www.evil.example @octocat #1 &lt;b&gt;",
    "blocks": "- # 1. > _a_ *b* ~~c~~ ***",
    "workflow": "::set-output name=x::y\n::error::z",
}


def unseen(text: str, keep: str = "\n") -> str:
    """What of `text` is no letter that can be seen; Python's own table of characters says so."""
    return "".join(sign for sign in text if not sign.isprintable() and sign not in keep)


def poisoned(value: Any, payload: str) -> Any:
    """`value` with `payload` in each field that is not hfcount's own text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **{name: _field(name, each, payload) for name, each in fields.items()})
    if isinstance(value, tuple):
        changed = [poisoned(each, payload) for each in value]
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    return value


FOREIGN = (
    "model",
    "model_class",
    "model_type",
    "location",
    "revision",
    "name",
    "reason",
    "detour",
    "claim",
    "explanation",
)
FOREIGN_LISTS = ("notes", "warnings", "targets", "inferences")


def _field(name: str, value: Any, payload: str) -> Any:
    if name in FOREIGN_LISTS:
        return (payload, f"and {payload}")
    if name in FOREIGN and (isinstance(value, str) or value is None):
        return payload
    return value if name in ("form", "table", "config", "conventions", "gpu") else poisoned(value, payload)


def assert_csv(text: str) -> None:
    """A table whose rows have as many cells as its head, and no cell that a spreadsheet runs."""
    assert not unseen(text)
    head, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    for row in rows:
        assert len(row) == len(head), row
        for cell in row:
            assert _is_number(cell) or not cell.lstrip().startswith(("=", "+", "-", "@")), cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def assert_json(text: str, payload: str) -> None:
    """Text that can be printed, and the payload to the letter in it."""
    assert not unseen(text)
    assert payload in set(_texts(json.loads(text)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def markdown_structure(text: str) -> tuple[list[tuple[str, str]], Counter[str]]:
    """The blocks in order, a table's cells among them; and how often there is what is no text within them."""
    blocks, inside = [], Counter[str]()
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        blocks.append((token.type, token.tag))
        inside.update(child.type for child in token.children or ())
    for each in ("text", "text_special", "softbreak"):
        del inside[each]
    return blocks, inside


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))


def html_tags(text: str) -> list[tuple[str, ...]]:
    """The tags of a page with the names of their attributes; what stands in its scripts is left out."""
    parser = _Tags()
    start, end = text.rfind("<script>"), text.rfind("</script>")
    parser.feed(text[:start] + text[end:] if 0 <= start < end else text)
    return parser.found
