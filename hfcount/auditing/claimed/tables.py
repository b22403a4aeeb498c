"""Claims in tables: a column or a row of parameters, and of its cells the one that is this model's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from hfcount.auditing.claimed.keyed import kind_of_key, mentions_in_value, unit_of_key
from hfcount.auditing.claimed.markdown import Table
from hfcount.auditing.claimed.model_name import ModelName, pieces, significant
from hfcount.auditing.claimed.wording import claim_of
from hfcount.sources.source import Claim

_VALUE = re.compile(r"^(?:values?|details?|specifications?|specs?|settings?|description|值|数值)$", re.IGNORECASE)
MAX_ROWS = 500
MAX_COLUMNS = 60

Item = TypeVar("Item")
Row = tuple[int, tuple[str, ...]]


def claims_in_table(table: Table, name: ModelName) -> Iterator[Claim]:
    """The claims of a table about the model called `name`, row by row.

    Three forms are read: keys and values in two columns; a column of parameters, with a row for each model; a row of
    parameters, with a column for each model. Where the model's own row or column is not certain, nothing is claimed.
    """
    rows = [(number, cells[:MAX_COLUMNS]) for number, cells in table.rows[:MAX_ROWS]]
    header = rows[0][1]
    columns = {index: kind for index, cell in enumerate(header) if (kind := kind_of_key(cell)) is not None}
    if _is_pairs(rows) and not (columns and not _cell_claims(header[1], "total", rows[0][0])):
        for number, cells in rows:
            if len(cells) > 1:
                yield from _claims_of_pair(cells, number)
    elif columns:
        yield from _claims_of_columns(rows, columns, name)
    else:
        yield from _claims_of_rows(rows, name)


def _is_pairs(rows: Sequence[Row]) -> bool:
    """Whether a table has a key in its first column and a value in its second; others may comment on them."""
    header = rows[0][1]
    return len(header) > 1 and (all(len(cells) <= 2 for _, cells in rows) or bool(_VALUE.match(header[1])))


def _claims_of_pair(cells: Sequence[str], number: int) -> list[Claim]:
    kind = kind_of_key(cells[0])
    return _cell_claims(cells[1], kind, number, unit_of_key(cells[0])) if kind else []


def _claims_of_columns(rows: Sequence[Row], columns: Mapping[int, str], name: ModelName) -> Iterator[Claim]:
    """A row for each model; the only row of a table that names none is the model's own."""
    header, data = rows[0][1], rows[1:]
    labels = [index for index in range(len(header)) if index not in columns][:2]
    if len(data) == 1 and (0 in columns or not significant(pieces(data[0][1][0]))):
        own: Row | None = data[0]
    else:
        own = _nearest([(row, row[1][index]) for row in data for index in labels if index < len(row[1])], name)
    if own is not None:
        number, cells = own
        for index, kind in columns.items():
            if index < len(cells) and kind:
                yield from _cell_claims(cells[index], kind, number, unit_of_key(header[index]))


def _claims_of_rows(rows: Sequence[Row], name: ModelName) -> Iterator[Claim]:
    """A column for each model."""
    column = _nearest([(index, cell) for index, cell in enumerate(rows[0][1])], name)
    for number, cells in rows[1:] if column is not None else ():
        labels = [cell for cell in cells[:2] if cell]
        kind = kind_of_key(labels[0]) if labels else None
        if kind and kind != "size" and column is not None and 0 < column < len(cells):
            yield from _cell_claims(cells[column], kind, number, unit_of_key(labels[0]))


def _nearest(labelled: Sequence[tuple[Item, str]], name: ModelName) -> Item | None:
    """What bears the name nearest to `name`; None where none or two do."""
    near = [(distance, item) for item, label in labelled if (distance := name.distance(label)) is not None]
    if not near:
        return None
    least = min(distance for distance, _ in near)
    best = [item for distance, item in near if distance == least]
    return best[0] if all(item == best[0] for item in best) else None


def _cell_claims(cell: str, kind: str | None, number: int, unit: str = "") -> list[Claim]:
    mentions = mentions_in_value(cell, kind or "", unit)
    return [claim for mention in mentions if (claim := claim_of(mention, number)) is not None]
