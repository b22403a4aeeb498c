"""Tables without a frame that never cut a figure: one that is too wide is printed as several below each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table

GAP = 2
LEAST_TEXT = 20
"""What a column of text keeps at least, in columns of the terminal; a column of figures keeps all that it needs."""


class PlainTable(Table):
    """A table that, where its columns do not fit, repeats the first beside as many of the others as do, and so on."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = [_least(column) for column in self.columns]
        if sum(least) + GAP * (len(least) - 1) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        for number, chosen in enumerate(_groups(least, options.max_width)):
            if number:
                yield ""
            yield self._with(chosen)

    def _with(self, chosen: Sequence[int]) -> Table:
        """The table with the columns that have these numbers alone."""
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style=self.header_style)
        table.columns = [dataclasses.replace(self.columns[each], _index=place) for place, each in enumerate(chosen)]
        table.columns[0].no_wrap = True
        table.rows = self.rows
        return table


def plain_table(*columns: tuple[str, str]) -> PlainTable:
    """A table without frame; `columns` are (heading, "left" | "right"), and figures neither wrap nor are cut."""
    table = PlainTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_footer=False)
    for heading, justify in columns:
        table.add_column(
            heading, justify="right" if justify == "right" else "left", no_wrap=justify == "right", overflow="fold"
        )
    return table


def _least(column: Column) -> int:
    """The columns of a terminal that it needs: all of a figure, a word or two of text."""
    texts = [str(column.header), *(str(cell) for cell in column.cells)]
    widest = max(cell_len(line) for text in texts for line in (text.splitlines() or [""]))
    return widest if column.no_wrap else min(widest, LEAST_TEXT)


def _groups(least: Sequence[int], width: int) -> Iterator[list[int]]:
    """The first column's number with as many of the others as fit beside it, at least one; then with the next."""
    group, used = [0], least[0]
    for number, needed in enumerate(least[1:], start=1):
        if len(group) > 1 and used + GAP + needed > width:
            yield group
            group, used = [0], least[0]
        group.append(number)
        used += GAP + needed
    yield group
