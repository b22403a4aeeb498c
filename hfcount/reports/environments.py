"""`hfcount env` as a table and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from hfcount.reports.markdown import markdown_table, plain


def table(found: Mapping[str, Any]) -> Table:
    """Names and values, a row each."""
    body = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in found.items():
        body.add_row(name, "not installed" if value is None else str(value))
    return body


def markdown(found: Mapping[str, Any]) -> str:
    """Names and values as a Markdown table."""
    rows = [[name, plain("not installed" if value is None else str(value))] for name, value in found.items()]
    return markdown_table(["", "value"], rows)
