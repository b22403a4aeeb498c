"""Where findings are kept as they come: a file whose suffix says its format, a row a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfcount.auditing.stores.jsonl import JsonlStore, read_jsonl
from hfcount.auditing.stores.memory import MemoryStore
from hfcount.auditing.stores.parquet import ParquetStore, journal_of, read_parquet
from hfcount.auditing.stores.rows import COLUMNS, run_stamp
from hfcount.auditing.stores.sqlite import SqliteStore, read_sqlite
from hfcount.auditing.stores.store import Store
from hfcount.errors import BadInput

__all__ = ["COLUMNS", "SUFFIXES", "MemoryStore", "Store", "open_store", "read_rows", "run_stamp"]

_FORMATS: dict[str, tuple[Callable[[Path, str], Store], Callable[[Path], Iterator[dict[str, Any]]]]] = {
    ".jsonl": (JsonlStore, read_jsonl),
    ".sqlite": (SqliteStore, read_sqlite),
    ".db": (SqliteStore, read_sqlite),
    ".parquet": (ParquetStore, read_parquet),
}
SUFFIXES = tuple(_FORMATS)


def open_store(path: Path, *, resume: bool = False, run: str = "") -> Store:
    """The store at `path`, in the format of its suffix; `run` is what `run_stamp` gives.

    `resume`: go on from what is there, if anything is. Without it BadInput for a file that is there: findings of
    two audits would mix. BadInput also where the file is none of ours or cannot be written.
    """
    opener, _ = _format(path)
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise BadInput(f"{path}: the folder {path.parent} does not exist; create it first")
    if not resume and (path.exists() or (opener is ParquetStore and journal_of(path).exists())):
        raise BadInput(f"{path}: is there already; go on from it with --resume, or name another --output")
    return opener(path, run)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows in the store at `path`, those of a target together, a few in memory at a time."""
    _, reader = _format(path)
    return reader(path)


def _format(path: Path) -> Any:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise BadInput(f"{path}: findings are kept in {', '.join(SUFFIXES)}; name the output with one of these")
    return found
