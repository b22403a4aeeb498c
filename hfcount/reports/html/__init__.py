"""Answers as pages to share: each one HTML file that holds all it needs and asks the network for nothing.

    count.py, memory.py, formula.py, audit.py, tables.py     an answer -> what its page shows
    bars.py, curves.py                                       what its charts show: names, figures, colours
    charts/                                                  the charts' specs, and what draws them in the page
    page.py                                                  jinja2, escaping, the page's policy
    templates/                                               the pages, their style and their script
    vega/                                                    the library that draws (scripts/vendor_vega.py)

Why vega: a chart library must stand inside each file for it to open from disk. Minified, in bytes: plotly.js 4,834,409
(4.1.2), its basic bundle 1,191,749 (4.1.1), vega with vega-lite and vega-embed 832,204 (6.4.0, 6.4.3, 7.3.0); vega
alone, which draws specs of its own language, 521,123, and its interpreter, without which the page's policy would
have to allow `eval`, 9,084. Its SVG takes the page's own colours (`currentColor`), light, dark and on paper.
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
