"""A store that is deleted, replaced or cut while an audit writes to it ends the audit at the next model."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from audited_stand_ins import findings_of

from hfcount.auditing.stores import open_store, read_rows
from hfcount.auditing.stores.jsonl import JsonlStore
from hfcount.errors import BadInput

SUFFIXES = (".jsonl", ".sqlite", ".parquet")
STORED = ("lab/0", "lab/1", "lab/2")
ROWS = sum(len(findings_of(name)) for name in STORED)


def written(path: Path) -> Path:
    """The file that grows: of Parquet the journal."""
    return path.with_name(f"{path.name}.unfinished") if path.suffix == ".parquet" else path


def delete(path: Path) -> None:
    written(path).unlink()


def rename(path: Path) -> None:
    written(path).rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy(written(path), other)
    other.replace(written(path))


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def cut(path: Path) -> None:
    os.truncate(written(path), 10)


def _fill(path: Path, spoil: Callable[[], object], *, resume: bool = False) -> None:
    """Store some models, and one more after what `spoil` does."""
    with open_store(path, resume=resume) as store:
        for name in STORED:
            store.add(name, findings_of(name))
        spoil()
        store.add("lab/3", findings_of("lab/3"))


@pytest.mark.parametrize("spoil", [delete, rename, replace, remove_folder, cut])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_noticed_with_the_next_model(suffix: str, spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "folder" / f"findings{suffix}"
    path.parent.mkdir()
    with pytest.raises(BadInput) as caught:
        _fill(path, lambda: spoil(path))
    said = str(caught.value)
    assert said.startswith(str(path)), said
    assert f"3 models ({ROWS} rows)" in said or (suffix == ".sqlite" and spoil is cut), said
    assert "audit" in said or "--resume" in said
    assert "\n" not in said


def test_a_log_of_sqlite_that_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "findings.sqlite"
    with pytest.raises(BadInput, match="something else changed it"):
        _fill(path, Path(f"{path}-wal").unlink)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_hand_in_the_finished_file_is_noticed(suffix: str, tmp_path: Path) -> None:
    """The rows are counted again when the run ends."""
    path, other = tmp_path / f"findings{suffix}", tmp_path / f"other{suffix}"
    for place, names in ((path, STORED), (other, STORED[:2])):
        with open_store(place) as store:
            for name in names:
                store.add(name, findings_of(name))
    with open_store(path, resume=True) as store:
        pass
    store.check(sum(1 for _ in read_rows(path)))
    other.replace(path)
    with pytest.raises(BadInput, match=rf"3 models \({ROWS} rows\) were stored"):
        store.check(sum(1 for _ in read_rows(path)))


def test_a_parquet_file_that_vanishes_keeps_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "findings.parquet"
    with open_store(path) as store:
        store.add("lab/9", findings_of("lab/9"))
    with pytest.raises(BadInput, match=r"5 models .* were stored"):
        _fill(path, path.unlink, resume=True)
    assert {row["target"] for row in read_rows(path)} == {*STORED, "lab/3"}
    assert written(path).exists()


def test_a_full_disk_says_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "findings.jsonl"
    real = os.write

    def fill_disk() -> None:
        monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:7]) and _full())

    with pytest.raises(BadInput, match=r"No space left on device\); 3 models"):
        _fill(path, fill_disk)
    monkeypatch.undo()
    assert {row["target"] for row in read_rows(path)} == set(STORED)


def _full() -> int:
    raise OSError(28, "No space left on device")


def test_each_model_is_on_disk_when_it_counts_as_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), real(file))[1])
    with JsonlStore(tmp_path / "findings.jsonl") as store:
        for name in STORED:
            store.add(name, findings_of(name))
            assert synced[-1] == store.path.stat().st_size
    with open_store(tmp_path / "findings.sqlite") as other:
        level = other._connection.execute("PRAGMA synchronous").fetchone()[0]  # type: ignore[attr-defined]
    assert level == 2, "FULL: https://www.sqlite.org/pragma.html#pragma_synchronous"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_database_with_zeroed_pages_is_one_line(place: int, tmp_path: Path) -> None:
    path = tmp_path / "findings.sqlite"
    with open_store(path) as store:
        for number in range(200):
            store.add(f"lab/{number}", findings_of(f"lab/{number}"))
    with sqlite3.connect(path) as connection:
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek(place * page)
        file.write(bytes(page))
    before = path.read_bytes()
    with pytest.raises(BadInput, match="name another --output"):
        open_store(path, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("spoiled", [b"\0" * 64 + b"\n", b"\xff\xfe{\n", b'{"target": ["a"]}\n'])
def test_a_line_that_is_spoiled_in_the_midst(spoiled: bytes, tmp_path: Path) -> None:
    path = tmp_path / "findings.jsonl"
    with open_store(path) as store:
        for name in STORED:
            store.add(name, findings_of(name))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], spoiled, *lines[1:]]))
    with pytest.raises(BadInput, match="line 2"):
        open_store(path, resume=True)


@pytest.mark.parametrize("place", [0, -200])
def test_a_parquet_file_that_is_spoiled(place: int, tmp_path: Path) -> None:
    path = tmp_path / "findings.parquet"
    with open_store(path) as store:
        store.add("lab/0", findings_of("lab/0"))
    data = bytearray(path.read_bytes())
    data[place : place + 150 or None] = bytes(150)
    path.write_bytes(data)
    with pytest.raises(BadInput, match="name another --output"):
        open_store(path, resume=True)
