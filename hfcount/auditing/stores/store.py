"""What every store of findings can do; each format says how."""

from __future__ import annotations

import abc
import contextlib
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
        done: the targets that are in it. One that its source gave no answer for is taken out when the file is opened,
            so that it is asked for again.
        num_rows: that are in it.
        notes: what a reader should know, a line each.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self.done: set[str] = set()
        self.num_rows = 0
        self.notes: list[str] = []

    def add(self, target: str, findings: Sequence[Finding]) -> bool:
        """Store all findings about `target`; False, and nothing is stored, where they are there already.

        Raises BadInput where the file cannot be written.
        """
        if target in self.done or not findings:
            return False
        rows = rows_of(target, findings, self.run)
        self._write(rows)
        self.done.add(target)
        self.num_rows += len(rows)
        return True

    @property
    def saved(self) -> str:
        """What has been stored, as a part of a sentence."""
        return f"{len(self.done):,} models ({self.num_rows:,} rows)"

    def check(self, num_rows: int) -> None:
        """Raise BadInput where the file that was closed has another number of rows than were stored."""
        if num_rows != self.num_rows:
            raise BadInput(
                f"{self.path}: has {num_rows:,} rows, and {self.saved} were stored: something else wrote to it or "
                "replaced it; audit again into another --output"
            )

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
        try:
            self.close()
        except BadInput:
            if error is None:  # else what went wrong first says more
                raise


def cannot_write(path: Path, error: Exception, saved: str = "what is in it") -> BadInput:
    """The error for a file that cannot be opened or written; `saved` is what it has."""
    reason = getattr(error, "strerror", None) or error
    return BadInput(f"{path}: cannot be written ({reason}); {saved} can be gone on from with --resume")


def check_in_place(path: Path, descriptor: int, saved: str) -> os.stat_result:
    """What `descriptor` is now; BadInput where it is not the file at `path` any more."""
    held = os.fstat(descriptor)
    try:
        there = path.stat()
    except OSError:
        raise BadInput(
            f"{path}: is gone, and with it {saved} that were stored; put it back and go on with --resume, or audit "
            "again"
        ) from None
    if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
        raise BadInput(
            f"{path}: another file took its place, and {saved} that were stored are not in it; put the file of the "
            "audit back and go on with --resume, or name another --output"
        )
    return held


def was_cut(path: Path, saved: str) -> BadInput:
    """The error for a file that others changed while it was written."""
    return BadInput(
        f"{path}: something else changed it while the audit wrote to it, after {saved} had been stored; audit again "
        "into another --output"
    )


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on disk too; systems that cannot open a folder go without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
