"""What every store of findings can do; each format says how."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hfcount.auditing.finding import Finding
from hfcount.auditing.stores.rows import difference, rows_of
from hfcount.errors import BadInput


class Store(abc.ABC):
    """Findings on their way to a file, one row each, all of a model's at once or none.

    A context manager: leaving it closes the file. Only the process and thread that opened it writes.

    Attributes:
        path: the file.
        run: what the column `run` says of rows that are added.
        done: the targets that are in it.
        notes: what a reader should know, a line each.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self.done: set[str] = set()
        self.notes: list[str] = []

    def add(self, target: str, findings: Sequence[Finding]) -> bool:
        """Store all findings about `target`; False, and nothing is stored, where they are there already.

        Raises BadInput where the file cannot be written.
        """
        if target in self.done or not findings:
            return False
        self._write(rows_of(target, findings, self.run))
        self.done.add(target)
        return True

    @abc.abstractmethod
    def _write(self, rows: list[dict[str, Any]]) -> None:
        """Store the rows of one target, so that a process that is killed leaves all of them or none."""

    @abc.abstractmethod
    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, those of a target together, as dicts by COLUMNS; a few are in memory at a time."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish the file; again does nothing."""

    def _compare(self, before: str | None) -> None:
        """Note where the rows that are there were found in another way."""
        line = difference(before, self.run) if before else None
        if line:
            self.notes.append(f"{self.path.name} {line}")

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def cannot_write(path: Path, error: Exception) -> BadInput:
    reason = getattr(error, "strerror", None) or error
    return BadInput(f"{path}: cannot be written ({reason}); what is in it can be gone on from with --resume")


def hold(descriptor: int, path: Path) -> None:
    """Take the file for this process alone, for as long as it is open; BadInput where another run has it.

    The lock is the kernel's, so a process that is killed leaves none. Systems without flock go without.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BadInput(f"{path}: another audit is writing to it; wait for it or name another --output") from error
    except OSError:  # a file system that has no locks
        return
