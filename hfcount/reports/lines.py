"""Lines of text below what they belong to, each two columns in where it goes on as well."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from hfcount.visible import visible

INDENT = 2


def below(text: str | Text, style: str = "dim") -> Padding:
    """`text` two columns in, and so are the lines on which it goes on."""
    return Padding(
        Text(visible(text), style=style) if isinstance(text, str) else text, (0, 0, 0, INDENT), expand=False
    )


def notes(lines: Iterable[str]) -> list[Padding]:
    """A line "note: ..." each."""
    return [below(f"note: {line}") for line in lines]


@dataclasses.dataclass(frozen=True)
class Entries:
    """Short texts one after the other, two columns in; a line ends between two of them and not within one."""

    entries: Sequence[str]
    separator: str = " · "
    style: str = "dim"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines(options.max_width - INDENT):
            yield below(line, self.style)

    def _lines(self, width: int) -> Iterator[str]:
        line = ""
        for number, entry in enumerate(self.entries):
            text = entry + (self.separator if number + 1 < len(self.entries) else "")
            if line and cell_len(line) + cell_len(text.rstrip()) > width:
                yield line.rstrip()
                line = ""
            line += text
        yield line.rstrip()
