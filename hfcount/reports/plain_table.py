"""Tables without a frame that never cut a figure: one that is too wide is printed as several below each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from hfcount.visible import visible

GAP = 2
LEAST_TEXT = 20
"""What a column of text keeps at least, in columns of the terminal; a column of figures keeps all that it needs."""


class PlainTable(Table):
    """A table that, where its columns do not fit, repeats the first beside as many of the others as do, and so on.

    The first `names` columns are repeated: those that tell a row from the others.
    """

    names = 1

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:
        """Add a row; what is given as a string is text alone, without markup, on one line."""
        super().add_row(*(Text(visible(each)) if isinstance(each, str) else each for each in cells), **how)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = [_least(column) for column in self.columns]
        if sum(least) + GAP * (len(least) - 1) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        for number, chosen in enumerate(_groups(least, self.names, options.max_width)):
            if number:
                yield ""
            yield self._with(chosen)

    def _with(self, chosen: Sequence[int]) -> Table:
        """The table with the columns that have these numbers alone."""
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style=self.header_style)
        table.columns = [dataclasses.replace(self.columns[each], _index=place) for place, each in enumerate(chosen)]
        for column in table.columns[: self.names]:
            column.no_wrap = True
        table.rows = self.rows
        return table


def plain_table(*columns: tuple[str, str], names: int = 1) -> PlainTable:
    """A table without frame; `columns` are (heading, "left" | "right"), and figures neither wrap nor are cut.

    The first `names` columns tell the rows apart and are repeated where the table is printed as several.
    """
    table = PlainTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_footer=False)
    table.names = names
    for heading, justify in columns:
        table.add_column(
            Text(visible(heading)),
            justify="right" if justify == "right" else "left",
            no_wrap=justify == "right",
            overflow="fold",
        )
    return table


def _least(column: Column) -> int:
    """The columns of a terminal that it needs: all of a figure, a word or two of text."""
    texts = [str(column.header), *(str(cell) for cell in column.cells)]
    widest = max(cell_len(line) for text in texts for line in (text.splitlines() or [""]))
    return widest if column.no_wrap else min(widest, LEAST_TEXT)


def _groups(least: Sequence[int], names: int, width: int) -> Iterator[list[int]]:
    """The first columns' numbers with as many of the others as fit beside them, at least one; then with the next."""
    first = list(range(names))
    begun = sum(least[:names]) + GAP * (names - 1)
    group, used = first, begun
    for number, needed in enumerate(least[names:], start=names):
        if len(group) > names and used + GAP + needed > width:
            yield group
            group, used = first, begun
        group = [*group, number]
        used += GAP + needed
    yield group
