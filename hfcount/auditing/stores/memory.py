"""Findings that are kept in memory: what a run without a file has, and is printed when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfcount.auditing.stores.store import Store


class MemoryStore(Store):
    """Rows in a list."""

    def __init__(self, run: str = "") -> None:
        super().__init__(Path(), run)
        self._rows: list[dict[str, Any]] = []

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self._rows += rows

    def rows(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def close(self) -> None:
        """Nothing is open."""
