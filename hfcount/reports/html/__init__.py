"""Answers as pages to share: each one HTML file that holds all it needs and asks the network for nothing.

    count.py, memory.py, formula.py, audit.py, tables.py     an answer -> what its page shows
    bars.py, curves.py                                       the charts' geometry
    page.py                                                  jinja2, escaping, the page's policy
    templates/                                               the pages, their style and their script

Why the charts are HTML and SVG of our own: a chart library must stand inside each file for it to open from disk.
Measured, minified: plotly.js 4,834,409 bytes (4.1.2), its basic bundle 1,191,749 (4.1.1), vega with vega-lite and
vega-embed 832,204 (6.4.0, 6.4.3, 7.3.0). GPT-2's whole report has 53 kB. What is drawn is stacked
bars and stacked areas; as boxes in the page their text wraps on a phone, takes the reader's font size and colours,
prints, and is read aloud, which an SVG that a library scales does not. vega also compiles its expressions with
`Function`, unless its interpreter is added, and the page's policy forbids that. What a library would add, zooming and
panning, these charts do not need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfcount.reports.html.audit import audit_page
    from hfcount.reports.html.count import count_page
    from hfcount.reports.html.formula import formula_page
    from hfcount.reports.html.memory import memory_page
    from hfcount.reports.html.tables import comparison_page, explanation_page

_HOMES = {
    "audit_page": "audit",
    "comparison_page": "tables",
    "count_page": "count",
    "explanation_page": "tables",
    "formula_page": "formula",
    "memory_page": "memory",
}

__all__ = ["audit_page", "comparison_page", "count_page", "explanation_page", "formula_page", "memory_page"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"hfcount.reports.html.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hfcount.reports.html' has no attribute {name!r}")
