"""Findings as JSON lines.

A model's rows are appended by one write and are on disk when it returns. Each says which of how many it is, so that a
tail that a killed process left is known for what it is, and cut off before the next model is written.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfcount.auditing.stores.rows import COLUMNS, NUMBERS, is_passing
from hfcount.auditing.stores.store import Store, cannot_write, check_in_place, hold, sync_folder, was_cut
from hfcount.errors import BadInput

_OPENING = b'{"target": '


class JsonlStore(Store):
    """A file of JSON lines, one a finding. What is there already is gone on from."""

    def __init__(self, path: Path, run: str = "") -> None:
        super().__init__(path, run)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        hold(self._file, path)
        self._open = True
        try:
            self._end = self._recover()
            sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise cannot_write(path, error) from error
        except BaseException:
            self.close()
            raise

    def _recover(self) -> int:
        """Where the last whole model ends; what is behind it is cut off. BadInput for a file that is none of ours."""
        end, last, passing = 0, None, False
        for rows, place in _groups(self.path):
            end, last = place, rows[-1]["run"]
            if any(map(is_passing, rows)):
                passing = True
                continue
            self.done.add(rows[0]["target"])
            self.num_rows += len(rows)
        self._compare(last)
        if passing:
            return self._without_passing()
        os.ftruncate(self._file, end)
        return end

    def _without_passing(self) -> int:
        """Replace the file by one without the models that are asked for again, in one step; where it ends."""
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        new = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        try:
            os.fchmod(new, os.fstat(self._file).st_mode & 0o7777)
            with open(new, "wb", closefd=False) as file:
                for rows, _ in _groups(self.path):
                    if not any(map(is_passing, rows)):
                        file.write(_encoded(rows))
            os.fsync(new)
            hold(new, partial)
            partial.replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(new)
            partial.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = new
        return os.fstat(new).st_size

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if check_in_place(self.path, self._file, self.saved).st_size != self._end:
            raise was_cut(self.path, self.saved)
        data = _encoded(rows)
        try:
            left = memoryview(data)
            while left:  # a write may be short where the disk is all but full
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next run cuts off what is no whole model
                os.ftruncate(self._file, self._end)
            raise cannot_write(self.path, error, self.saved) from error
        self._end += len(data)

    def rows(self) -> Iterator[dict[str, Any]]:
        return read_jsonl(self.path)

    def check_in_place(self) -> None:
        """Raise BadInput where the file is gone or was replaced."""
        check_in_place(self.path, self._file, self.saved)

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._file)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of all whole models in the file; BadInput where it is none of ours."""
    for rows, _ in _groups(path):
        yield from rows


def _groups(path: Path) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """(rows, where they end) for each model that is whole; BadInput where one is torn before the last."""
    held: list[dict[str, Any]] = []
    for number, row, end in _lines(path):
        if row["nth"] != len(held) + 1 or (held and row["target"] != held[0]["target"]):
            raise BadInput(f"{path}: line {number} belongs to a model that is not whole; name another --output")
        held.append(row)
        if row["nth"] == row["of"]:
            yield held, end
            held = []


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any], int]]:
    """(number, row, where it ends); a last line that is cut off is no row."""
    end = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                end += len(line)
                row = _row(line)
                if row is not None:
                    yield number, row, end
                elif line.endswith(b"\n") or not line.startswith(_OPENING[: len(line)]):
                    raise BadInput(f"{path}: line {number} is no finding of an audit; name another --output")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error}); name another --output") from error


def _encoded(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows)


def _row(line: bytes) -> dict[str, Any] | None:
    """The finding that a line is; None for what is none."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or tuple(row) != COLUMNS:
        return None
    kinds = ((row[name], int if name in NUMBERS else str) for name in COLUMNS)
    return row if all(value is None or isinstance(value, kind) for value, kind in kinds) else None
