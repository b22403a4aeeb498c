"""How answers look: terminal, JSON, CSV, Markdown, HTML, figures. Nothing here computes a count.

A format's module is imported when it is asked for, so that JSON does not wait for the terminal's tables.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfcount.reports import csv, document, environments, html, markdown, terminal

__all__ = ["csv", "document", "environments", "html", "markdown", "terminal"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"hfcount.reports.{name}")
    raise AttributeError(f"module 'hfcount.reports' has no attribute {name!r}")
