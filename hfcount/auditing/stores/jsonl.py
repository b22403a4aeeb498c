"""Findings as JSON lines.

A model's rows are appended by one write. Each says which of how many it is, so that a tail that a killed process
left is known for what it is, and cut off before the next model is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfcount.auditing.stores.rows import COLUMNS
from hfcount.auditing.stores.store import Store, cannot_write, hold
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
        except BaseException:
            self.close()
            raise

    def _recover(self) -> int:
        """Where the last whole model ends; what is behind it is cut off. BadInput for a file that is none of ours."""
        end, last = 0, None
        for target, row, place in _groups(self.path):
            self.done.add(target)
            end, last = place, row["run"]
        os.ftruncate(self._file, end)
        self._compare(last)
        return end

    def _write(self, rows: list[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows)
        try:
            left = memoryview(data)
            while left:  # a write may be short where the disk is all but full
                left = left[os.write(self._file, left) :]
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise cannot_write(self.path, error) from error
        self._end += len(data)

    def rows(self) -> Iterator[dict[str, Any]]:
        return read_jsonl(self.path)

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._file)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of all whole models in the file; BadInput where it is none of ours."""
    held: list[dict[str, Any]] = []
    for row, _ in _lines(path):
        held.append(row)
        if row["nth"] == row["of"]:
            yield from held
            held.clear()


def _groups(path: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """(target, its last row, where it ends) for each model that is whole."""
    for row, end in _lines(path):
        if row["nth"] == row["of"]:
            yield row["target"], row, end


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """(row, where it ends); a last line that is cut off is no row."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            end += len(line)
            row = _row(line)
            if row is not None:
                yield row, end
            elif line.endswith(b"\n") or not line.startswith(_OPENING[: len(line)]):
                raise BadInput(f"{path}: line {number} is no finding of an audit; name another --output")


def _row(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and tuple(row) == COLUMNS else None
