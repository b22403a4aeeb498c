"""Findings as one Parquet file.

A Parquet file has its table of contents at the end, so it cannot grow and be whole at any moment. Rows are kept as
they come in a journal of JSON lines beside it (findings.parquet.unfinished); when the run ends, finished or
interrupted, the journal's rows and those of the file that was there become the new file, which takes its name in one
step. After a process was killed the journal is still there, and --resume goes on from both.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfcount.auditing.stores.jsonl import JsonlStore, read_jsonl
from hfcount.auditing.stores.rows import COLUMNS, NUMBERS, is_passing
from hfcount.auditing.stores.store import Store, cannot_write, sync_folder
from hfcount.errors import BadInput

ROWS_OF_A_GROUP = 50_000


class ParquetStore(Store):
    """A Parquet file and, while rows are added, its journal. What is there already is gone on from."""

    def __init__(self, path: Path, run: str = "") -> None:
        super().__init__(path, run)
        _pyarrow(path)
        if path.exists():
            self._go_on()
        self._journal = JsonlStore(journal_of(path), run)
        in_both = self.done & self._journal.done
        self.num_rows += sum(row["target"] not in in_both for row in self._journal.rows())
        self.done |= self._journal.done
        for left in path.parent.glob(f".{path.name}.*.part"):  # by a process that was killed while it wrote
            left.unlink(missing_ok=True)
        if not self.notes:
            self.notes += [note.replace(self._journal.path.name, path.name) for note in self._journal.notes]
        self._open = True

    def _go_on(self) -> None:
        """Take stock of the file, and take out of it the models that are asked for again."""
        runs: set[str] = set()
        passing: set[str] = set()
        rows: Counter[str] = Counter()
        for row in _file_rows(self.path, ["target", "verdict", "kind", "run"]):
            rows[row["target"]] += 1
            runs.add(row["run"])
            if is_passing(row):
                passing.add(row["target"])
        self._compare(next((each for each in runs if each != self.run), None))
        self.done = set(rows) - passing
        self.num_rows = sum(rows[target] for target in self.done)
        if passing:
            whole = _file_rows(self.path, list(COLUMNS))
            _write_whole(self.path, (row for row in whole if row["target"] not in passing), self.check)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            self._journal._write(rows)
        except BadInput as error:  # the journal knows of its own models alone
            raise BadInput(str(error).replace(self._journal.saved, self.saved)) from error
        self._journal.num_rows += len(rows)
        self._journal.done.add(rows[0]["target"])

    def rows(self) -> Iterator[dict[str, Any]]:
        return read_parquet(self.path)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._journal.check_in_place()
            if self._journal.num_rows or not self.path.exists():
                _write_whole(self.path, read_parquet(self.path), self.check)
            self._journal.path.unlink()
        finally:
            self._journal.close()


def journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.unfinished")


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of the file and of its journal, if it has one; BadInput where they are none of ours.

    A process that is killed after the file took its name leaves a journal of rows that are in the file too: they
    are known by their target.
    """
    there: set[str] = set()
    journal = journal_of(path)
    if path.exists():
        for row in _file_rows(path, list(COLUMNS)):
            if journal.exists():
                there.add(row["target"])
            yield row
    if journal.exists():
        yield from (row for row in read_jsonl(journal) if row["target"] not in there)


def _file_rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    pyarrow = _pyarrow(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if tuple(file.schema_arrow.names) != COLUMNS:
                raise BadInput(f"{path}: not a table of findings; name another --output")
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{path}: not a Parquet file that can be read; name another --output") from error


def _write_whole(path: Path, rows: Iterator[dict[str, Any]], check: Callable[[int], None]) -> None:
    """Write the `rows` to `path` in one step, if their number passes the `check`."""
    pyarrow = _pyarrow(path)
    schema = pyarrow.schema([(name, pyarrow.int64() if name in NUMBERS else pyarrow.string()) for name in COLUMNS])
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    num_rows = 0
    try:
        with pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
            while group := list(itertools.islice(rows, ROWS_OF_A_GROUP)):
                writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
                num_rows += len(group)
        check(num_rows)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except (pyarrow.ArrowException, OSError) as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be gone or read-only
            partial.unlink(missing_ok=True)


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BadInput(f"{path}: Parquet wants pyarrow: pip install 'hfcount[parquet]'") from error
    return pyarrow
