"""Findings in a SQLite database: a table `findings`, a model's rows in one transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfcount.auditing.stores.rows import COLUMNS, NUMBERS
from hfcount.auditing.stores.store import Store, cannot_write, check_in_place, hold, was_cut
from hfcount.errors import PASSING_KINDS, BadInput, one_line

_TYPES = ", ".join(f"{name} {'INTEGER' if name in NUMBERS else 'TEXT'}" for name in COLUMNS)
_CREATE = f"CREATE TABLE IF NOT EXISTS findings ({_TYPES}, PRIMARY KEY (target, nth)) WITHOUT ROWID"
_INSERT = f"INSERT INTO findings ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_FORGET = (
    "DELETE FROM findings WHERE target IN "
    f"(SELECT target FROM findings WHERE verdict = 'error' AND kind IN ({', '.join('?' * len(PASSING_KINDS))}))"
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM findings ORDER BY target, nth"


class SqliteStore(Store):
    """A database. What is there already is gone on from; others may read it while it grows (write-ahead log)."""

    def __init__(self, path: Path, run: str = "") -> None:
        super().__init__(path, run)
        try:
            # Closing a descriptor of the file would drop SQLite's own locks: it stays open until the connection ends.
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        hold(self._lock, path)
        self._open = True
        try:
            self._connection = _connect(path)
        except BaseException:
            os.close(self._lock)
            raise
        try:
            self._go_on()
        except sqlite3.Error as error:
            self.close()
            raise _broken(path, error) from error
        self._log = 0
        self._size = os.fstat(self._lock).st_size

    def _go_on(self) -> None:
        """Take stock of the table, and take out of it the models that are asked for again."""
        connection = self._connection
        runs = [run for (run,) in connection.execute("SELECT DISTINCT run FROM findings")]
        self._compare(next((each for each in runs if each != self.run), None))
        with connection:
            connection.execute(_FORGET, PASSING_KINDS)
        self.done.update(target for (target,) in connection.execute("SELECT DISTINCT target FROM findings"))
        self.num_rows = connection.execute("SELECT COUNT(*) FROM findings").fetchone()[0]

    def _check_in_place(self) -> None:
        """Raise BadInput where the database or its log is gone, was replaced or cut."""
        size = check_in_place(self.path, self._lock, self.saved).st_size
        try:
            log = Path(f"{self.path}-wal").stat().st_ino
        except OSError:
            log = 0
        if size < self._size or log != (self._log or log):
            raise was_cut(self.path, self.saved)
        self._size, self._log = size, log

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self._check_in_place()
        try:
            with self._connection:  # one transaction, taken back where anything goes wrong
                self._connection.executemany(_INSERT, [tuple(row.values()) for row in rows])
        except sqlite3.Error as error:
            raise cannot_write(self.path, error, self.saved) from error
        self._check_in_place()

    def rows(self) -> Iterator[dict[str, Any]]:
        return _rows(self._connection)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._connection.execute("PRAGMA journal_mode=DELETE")  # one file is left, and no log beside it
        except sqlite3.Error:
            pass  # somebody reads it: the log stays, and belongs to it
        finally:
            self._connection.close()
            os.close(self._lock)


def read_sqlite(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of the database; BadInput where it is none of ours."""
    connection = _connect(path, create=False)
    try:
        yield from _rows(connection)
    except sqlite3.Error as error:
        raise _broken(path, error) from error
    finally:
        connection.close()


def _rows(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    for values in connection.execute(_SELECT):
        yield dict(zip(COLUMNS, values, strict=True))


def _broken(path: Path, error: sqlite3.Error) -> BadInput:
    return BadInput(f"{path}: not a database that can be used ({one_line(error)}); name another --output")


def _connect(path: Path, *, create: bool = True) -> sqlite3.Connection:
    """A connection to a database whose table is ours, or was just made; BadInput where it is another."""
    if not create and not path.exists():
        raise BadInput(f"{path}: is gone; audit again")
    try:
        connection = sqlite3.connect(path, timeout=30)
    except sqlite3.Error as error:
        raise _broken(path, error) from error
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if create and not tables:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_CREATE)
        found = tuple(row[1] for row in connection.execute("PRAGMA table_info(findings)"))
        if found != COLUMNS:
            raise BadInput(f"{path}: a database without a table of findings; name another --output")
        if create:
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # a model that is stored is on disk
    except sqlite3.Error as error:
        connection.close()
        raise _broken(path, error) from error
    except BadInput:
        connection.close()
        raise
    return connection
