"""A model card as what claims are read from: paragraphs and tables of plain text, each with its line numbers.

No Markdown parser: a card that is half HTML or never closed still gives its lines. Work and memory grow with the text,
which is cut at MAX_CARD signs and MAX_LINES; every pattern is bounded, so that no line makes it slow. Tables in HTML
are passed over.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator

from hfcount.deadline import check_deadline
from hfcount.sources.front_matter import split_front_matter

MAX_CARD = 2_000_000
MAX_LINES = 50_000
MAX_LINE = 10_000
MAX_PARAGRAPH_LINES = 200

Line = tuple[int, str]
"""A line's number in the card, from 1, and its text."""

_FENCE = re.compile(r"^[ \t>]{0,12}(```|~~~)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(\S.*)$")
_BULLET = re.compile(r"^\s{0,40}(?:[-*+•–]|\d{1,3}[.)])\s+")
_PAIR = re.compile(r"^\s{0,3}(?:\*\*|__)?[^\W\d_][^:：|.,]{0,40}[:：]")
_BREAK = re.compile(r"(?: {2}|\\|<br ?/?>)$", re.IGNORECASE)
_IMAGE = re.compile(r"!\[[^\[\]]{0,300}\]\([^()]{0,1000}\)")
_LINK = re.compile(r"\[([^\[\]]{0,300})\]\([^()]{0,1000}\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,1000}>")
_MARKUP = re.compile(r"\*+|__+|`+|~~|\\[()\[\]]|\$+")
_TABLE_TAG = re.compile(r"<(/?)table\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Prose as one line of plain text.

    Attributes:
        text: without markup, its lines joined by a space.
        starts: for each line of the card where it begins in `text`, and its number.
        item: whether it is an item of a list.
        section: the heading that it stands under, in lower case.
    """

    text: str
    starts: tuple[tuple[int, int], ...]
    item: bool = False
    section: str = ""

    def line_at(self, offset: int) -> int:
        """The number of the card's line that has the sign at `offset`."""
        return next((number for start, number in reversed(self.starts) if start <= offset), self.starts[0][1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table: its rows' line numbers and cells as plain text, the header first, the line of dashes left out."""

    rows: tuple[tuple[int, tuple[str, ...]], ...]


def plain(text: str) -> str:
    """`text` without images, tags, the addresses of links, emphasis, formula marks and entities."""
    text = _TAG.sub(" ", _LINK.sub(r"\1", _IMAGE.sub(" ", text)))
    return " ".join(html.unescape(_MARKUP.sub("", text)).split())


def body(readme: str) -> list[Line]:
    """The lines behind the front matter, numbered in the whole card and cut at MAX_LINE."""
    text = readme[:MAX_CARD]
    _, start = split_front_matter(text)
    lines = text[start:].split("\n")[:MAX_LINES]
    return [
        (number, line.rstrip("\r")[:MAX_LINE]) for number, line in enumerate(lines, text.count("\n", 0, start) + 1)
    ]


def blocks(lines: list[Line]) -> Iterator[Paragraph | Table]:
    """The paragraphs and tables of a card's `body`, in order; quotations, code, comments and HTML tables left out."""
    shown = _shown(lines)
    section, index = "", 0
    while index < len(shown):
        check_deadline()
        heading = _HEADING.match(shown[index][1])
        if not shown[index][1].strip():
            index += 1
        elif heading:
            section = plain(heading[1]).lower()
            index += 1
        elif index + 1 < len(shown) and "|" in shown[index][1] and _is_delimiter(shown[index + 1][1]):
            end = next((at for at in range(index + 2, len(shown)) if "|" not in shown[at][1]), len(shown))
            yield Table(rows=tuple((number, _cells(text)) for number, text in (shown[index], *shown[index + 2 : end])))
            index = end
        else:
            end = index + 1
            last = min(len(shown), index + MAX_PARAGRAPH_LINES)
            while end < last and not _BREAK.search(shown[end - 1][1]) and _continues(shown[end][1]):
                end += 1
            yield _paragraph(shown[index:end], section)
            index = end


def _shown(lines: list[Line]) -> list[Line]:
    """`lines` with what a reader does not see, or what is not the card's own word, made empty."""
    shown = []
    fence, comment, tables = "", False, 0
    for number, raw in lines:
        mark = _FENCE.match(raw)
        text, comment = ("", comment) if fence or mark else _without_comments(raw, comment)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        was_in_table = tables > 0
        for tag in _TABLE_TAG.finditer(text):
            tables = max(0, tables - 1) if tag[1] else tables + 1
        quoted = text.lstrip().startswith(">")
        shown.append((number, "" if was_in_table or tables or quoted else text))
    return shown


def _without_comments(text: str, inside: bool) -> tuple[str, bool]:
    """`text` without HTML comments, and whether one is still open behind it; `inside` says that one was before it."""
    kept = []
    while text:
        if inside:
            _, end, text = text.partition("-->")
            inside = not end
        else:
            before, start, text = text.partition("<!--")
            kept.append(before)
            inside = bool(start)
    return "".join(kept), inside


def _continues(text: str) -> bool:
    """Whether a line belongs to the paragraph before it. A key with its value stands for itself, listed or not."""
    begins = (_HEADING, _BULLET, _PAIR)
    return bool(text.strip()) and not text.lstrip().startswith("|") and not any(each.match(text) for each in begins)


def _paragraph(lines: list[Line], section: str) -> Paragraph:
    item = _BULLET.match(lines[0][1])
    texts, starts, length = [], [], 0
    for number, raw in lines:
        text = plain(_BULLET.sub("", raw))
        starts.append((length, number))
        texts.append(text)
        length += len(text) + 1
    return Paragraph(text=" ".join(texts), starts=tuple(starts), item=bool(item), section=section)


def _cells(text: str) -> tuple[str, ...]:
    """The cells of a table's row, as plain text."""
    inner = text.strip().removeprefix("|").removesuffix("|")
    return tuple(plain(cell) for cell in re.split(r"(?<!\\)\|", inner))


def _is_delimiter(text: str) -> bool:
    """Whether the line is the one under a table's header: cells of dashes alone."""
    inner = text.strip().removeprefix("|").removesuffix("|")
    return "-" in inner and all(re.fullmatch(r":?-+:?", cell.strip()) for cell in inner.split("|"))
