"""`hfcount list`: the names that other commands take."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from hfcount.cli import options
from hfcount.cli.options import Format


class Kind(enum.Enum):
    """What can be listed."""

    gpus = "gpus"
    cards = "cards"
    recipes = "recipes"


def command(
    kind: Annotated[Kind, typer.Argument(metavar="gpus|cards|recipes", show_default=False)],
    format: options.FormatOption = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> int:
    """List the GPUs, bundled model cards or precision recipes that hfcount knows.

    Example: [bold]hfcount list gpus[/bold]
    """
    from hfcount.cli.output import chosen, emit
    from hfcount.reports.csv import to_csv
    from hfcount.reports.document import SCHEMA
    from hfcount.reports.markdown import markdown_table
    from hfcount.reports.plain_table import plain_table

    written = chosen(format, output, without=(Format.html,))
    rows = ROWS[kind]()
    columns = list(rows[0])
    cells = [[_cell(value) for value in row.values()] for row in rows]

    def table() -> Any:
        found = plain_table(
            *((HEADINGS[name], "right" if isinstance(rows[0][name], int) else "left") for name in columns)
        )
        for each in cells:
            found.add_row(*each)
        return found

    renderings = {
        Format.table: table,
        Format.json: lambda: {"schema": SCHEMA, kind.value: rows},
        Format.csv: lambda: to_csv(rows, columns),
        Format.markdown: lambda: markdown_table(columns, cells),
    }
    emit(renderings, written, output, bare="".join(f"{row['name']}\n" for row in rows) if quiet else None)
    return 0


HEADINGS = {
    "name": "Name", "vendor": "Vendor", "mib": "MiB", "capability": "CUDA", "source": "Source", "summary": "Recipe",
}  # fmt: skip


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _gpus() -> list[dict[str, Any]]:
    from hfcount.budget.gpus import gpus

    return [
        {"name": each.name, "vendor": each.vendor, "mib": each.total_mib, "capability": each.capability,
         "source": each.source}
        for each in gpus()
    ]  # fmt: skip


def _cards() -> list[dict[str, Any]]:
    from hfcount.sources.cards import card_names

    return [{"name": name} for name in card_names()]


def _recipes() -> list[dict[str, Any]]:
    from hfcount.budget.recipes import RECIPES

    return [{"name": each.name, "summary": each.summary} for each in RECIPES.values()]


ROWS = {Kind.gpus: _gpus, Kind.cards: _cards, Kind.recipes: _recipes}
