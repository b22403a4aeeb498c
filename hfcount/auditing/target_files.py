"""Targets from a file: text, CSV, JSONL or Parquet, of ids or of ids with what was crawled already.

A row has its id in the first of the columns `id`, `model`, `model_id`, `repo_id`, `modelId` that the file has, and
may have `config` (config.json: an object, or its text) and `card` or `readme` (the text of README.md).
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from hfcount.auditing.targets import Target, printable
from hfcount.errors import BadInput, one_line
from hfcount.sources.config_json import MAX_CONFIG_BYTES, parse_config

ID_COLUMNS = ("id", "model", "model_id", "repo_id", "modelId")
CARD_COLUMNS = ("card", "readme")

MAX_ROW_BYTES = 4 * MAX_CONFIG_BYTES
"""A row has a config and a card; one that is larger than this is something else, and passed by."""

ROWS_AT_ONCE = 256
"""Rows of a Parquet file that are in memory as Python objects."""


def file_targets(path: Path) -> Iterator[Target]:
    """The targets in `path`: CSV, JSONL or Parquet by its suffix, else text, one id a line; "-" is standard input.

    In text, `#` opens a comment and blank lines mean nothing. Raises BadInput where the file as a whole cannot be
    used; a single row that cannot is a target with a fault.
    """
    if str(path) == "-" and sys.stdin is None:
        raise BadInput("--from -: standard input is closed; give a file of ids")
    if str(path) == "-":
        return _text(sys.stdin.buffer, "standard input")
    _check(path)
    reader = _READERS.get(path.suffix.lower())
    return reader(path) if reader is not None else _from_binary(path, _text)


def number_of(path: Path) -> int | None:
    """How many rows a file has, for a progress bar; None where telling it would take reading it as a table."""
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return int(_parquet_file(path).metadata.num_rows)
    if suffix in (".csv", ".tsv") or not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


_OF_THE_SHELL = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Where a shell puts the output of a command (`--from <(...)`): a pipe that somebody writes to."""


def _check(path: Path) -> None:
    if path.exists() and not path.is_file() and not path.is_dir() and not str(path).startswith(_OF_THE_SHELL):
        raise BadInput(f"{path}: not a file, but a pipe or a device; give a file of ids, or - for standard input")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error}); give a file of ids") from error


def _from_binary(path: Path, read: Callable[[IO[bytes], str], Iterator[Target]]) -> Iterator[Target]:
    with path.open("rb") as file:
        yield from read(file, path.name)


def _text(file: IO[bytes], where: str) -> Iterator[Target]:
    for number, line in _lines(file):
        location = f"{where} line {number}"
        try:
            text = "" if line is None else line.decode("utf-8-sig")
        except UnicodeDecodeError:
            line = None
        if line is None:
            yield _faulty(location, "no line of text")
            continue
        name = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
        if name:
            yield Target(id=printable(name), location=location)


def _jsonl(path: Path) -> Iterator[Target]:
    with path.open("rb") as file:
        for number, line in _lines(file):
            location = f"{path.name} line {number}"
            if line is None:
                yield _faulty(location, f"more than {MAX_ROW_BYTES // 2**20} MiB in a row")
            elif line.strip():
                yield _of_json(line, location)


def _of_json(line: bytes, location: str) -> Target:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).split(";")[0]
        return _faulty(location, f"not valid JSON ({reason})")
    if isinstance(row, str):
        row = {"id": row}
    if not isinstance(row, dict):
        return _faulty(location, "neither a JSON object with an id nor a string")
    return _of_row(row, location)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) from 1 on; None for a line that is too long, whose rest is passed by."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) <= MAX_ROW_BYTES:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_ROW_BYTES)
        yield number, None


def _csv(path: Path) -> Iterator[Target]:
    before = csv.field_size_limit(MAX_ROW_BYTES)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            _check_columns(_header(reader, path), path)
            yield from _csv_rows(reader, path)
    finally:
        csv.field_size_limit(before)


def _header(reader: csv.DictReader[str], path: Path) -> Iterable[str]:
    try:
        return reader.fieldnames or ()
    except csv.Error as error:
        raise BadInput(f"{path}: not a CSV file ({error})") from error


def _csv_rows(reader: csv.DictReader[str], path: Path) -> Iterator[Target]:
    for number in range(1, sys.maxsize):
        location = f"{path.name} row {number}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _faulty(location, f"not a row of CSV ({error})")
            continue
        yield _of_row(row, location)


def _check_columns(columns: Iterable[str], path: Path) -> None:
    names = [str(name) for name in columns]
    if not any(name in names for name in ID_COLUMNS):
        found = f"it has {', '.join(names[:8])}" if names else "it has none"
        raise BadInput(f"{path}: no column of ids; name one of its columns {', '.join(ID_COLUMNS)} ({found})")


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BadInput(f"{path}: Parquet wants pyarrow: pip install 'hfcount[parquet]'") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a Parquet file that can be read ({one_line(error)})") from error


def _parquet(path: Path) -> Iterator[Target]:
    """Row group by row group. A column of structs has each field in each row: what is null there is left out."""
    import pyarrow

    file = _parquet_file(path)
    names = file.schema_arrow.names
    _check_columns(names, path)
    wanted = [name for name in names if name in (*ID_COLUMNS, "config", *CARD_COLUMNS)]
    number = 0
    with contextlib.closing(file):
        batches = file.iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted)
        while True:
            try:
                batch = next(batches, None)
            except (pyarrow.ArrowException, OSError) as error:
                raise BadInput(f"{path}: cannot be read after row {number:,} ({one_line(error)})") from error
            if batch is None:
                return
            for row in batch.to_pylist():
                number += 1
                if isinstance(row.get("config"), dict):
                    row["config"] = _without_nulls(row["config"])
                yield _of_row(row, f"{path.name} row {number}")


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(each) if isinstance(each, Mapping) else each
        for key, each in value.items()
        if each is not None
    }


def _of_row(row: Mapping[str, Any], location: str) -> Target:
    """The target that a row stands for."""
    name = next((row[column] for column in ID_COLUMNS if row.get(column) not in (None, "")), None)
    if not isinstance(name, str) or not name.strip():
        return _faulty(location, "no id" if name is None else "its id is no text")
    named = Target(id=printable(name.strip()), location=location)
    config, card = row.get("config"), next((row[each] for each in CARD_COLUMNS if row.get(each)), None)
    if card is not None and not isinstance(card, (str, bytes)):
        return dataclasses.replace(named, fault=f"{location}: the card is no text")
    text = card.decode("utf-8", "replace") if isinstance(card, bytes) else card
    try:
        given = _config(config, location)
    except BadInput as error:
        return dataclasses.replace(named, fault=str(error))
    return dataclasses.replace(named, config=given, card=None if text is None else printable(text))


def _config(value: Any, location: str) -> dict[str, Any] | None:
    """config.json of a row, checked as a file would be; BadInput where it is none."""
    where = f"{location}, config"
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):  # once more as text, so that the same limits hold
        value = json.dumps(value, default=str)
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace")
    if not isinstance(value, bytes):
        raise BadInput(f"{where}: neither an object nor its text")
    if len(value) > MAX_CONFIG_BYTES:
        raise BadInput(f"{where}: larger than {MAX_CONFIG_BYTES // 2**20} MiB, which no config.json is")
    return parse_config(value, where=where)


def _faulty(location: str, reason: str) -> Target:
    """What stands for a row without an id: its place is its id, so that a run that is resumed knows it again."""
    return Target(id=location, location=location, fault=f"{location}: {reason}")


_READERS: dict[str, Callable[[Path], Iterator[Target]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
    ".pq": _parquet,
}
