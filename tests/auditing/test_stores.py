"""A store has each model's findings once and whole, whatever happened to the process that wrote it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from audited_stand_ins import findings_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfcount.auditing.finding import FIELDS, Finding
from hfcount.auditing.stores import COLUMNS, MemoryStore, open_store, read_rows, run_stamp
from hfcount.errors import BadInput

SUFFIXES = (".jsonl", ".sqlite", ".parquet")
NAMES = [f"owner/model-{number}" for number in range(12)]


def expected(names: list[str] = NAMES) -> list[tuple[object, ...]]:
    """(target, nth, of, the finding's fields) of each row, in order."""
    rows = []
    for name in sorted(names):
        found = findings_of(name)
        for nth, finding in enumerate(found, start=1):
            rows.append((name, nth, len(found), *finding.to_dict().values()))
    return rows


def stored(path: Path) -> list[tuple[object, ...]]:
    return sorted(
        (tuple(row[name] for name in ("target", "nth", "of", *FIELDS)) for row in read_rows(path)),
        key=lambda row: row[:2],
    )


def fill(path: Path, names: list[str] = NAMES, *, resume: bool = False, run: str = "1+a") -> list[str]:
    with open_store(path, resume=resume, run=run) as store:
        for name in names:
            store.add(name, findings_of(name))
        return store.notes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_stored_is_read_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"findings{suffix}"
    fill(path)
    assert stored(path) == expected()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        fill(tmp_path / f"findings{suffix}")
    frames = {
        ".jsonl": pd.read_json(tmp_path / "findings.jsonl", lines=True),
        ".sqlite": pd.read_sql("SELECT * FROM findings", sqlite3.connect(tmp_path / "findings.sqlite")),
        ".parquet": pd.read_parquet(tmp_path / "findings.parquet"),
    }
    for frame in frames.values():
        assert tuple(frame.columns) == COLUMNS
        rows = frame.sort_values(["target", "nth"])
        assert rows["expected"].tolist() == [row[COLUMNS.index("expected")] for row in expected()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_model_is_stored_once(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"findings{suffix}"
    fill(path, NAMES + NAMES[:3])
    fill(path, NAMES, resume=True)
    assert stored(path) == expected()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_there_is_not_written_over(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"findings{suffix}"
    fill(path)
    with pytest.raises(BadInput, match=r"--resume"):
        open_store(path)
    assert stored(path) == expected()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_resumed_run_with_other_options_says_so(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"findings{suffix}"
    now, other = run_stamp({"headers": True}), run_stamp({"headers": False})
    assert fill(path, NAMES[:4], run=now) == []
    assert fill(path, NAMES[:6], resume=True, run=now) == []
    assert "with other options" in fill(path, NAMES[:8], resume=True, run=other)[0]
    assert "was begun by hfcount 0.0.1" in fill(_copy_by(path, "0.0.1+a"), resume=True, run=now)[0]
    assert {row["run"] for row in read_rows(path)} == {now, other}


def _copy_by(path: Path, run: str) -> Path:
    other = path.with_stem("other")
    fill(other, NAMES[:2], run=run)
    return other


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_runs_do_not_write_at_once(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"findings{suffix}"
    with open_store(path) as store:
        store.add(NAMES[0], findings_of(NAMES[0]))
        with pytest.raises(BadInput, match="another audit is writing"):
            open_store(path, resume=True)
        for name in NAMES[1:]:
            store.add(name, findings_of(name))
    assert stored(path) == expected()


FOREIGN = {".jsonl": b'{"my": "rows"}\n', ".sqlite": b"my bytes, no database" * 99, ".parquet": b"PAR1 my bytes"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_somebody_else_is_left_alone(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    for data in (FOREIGN[suffix], FOREIGN[suffix].rstrip(b"\n")):
        path.write_bytes(data)
        with pytest.raises(BadInput, match="name another --output"):
            open_store(path, resume=True)
        assert path.read_bytes() == data


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(BadInput, match="without a table of findings"):
        open_store(path, resume=True)


def test_places_where_nothing_can_be_stored(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.jsonl, \.sqlite, \.db, \.parquet"):
        open_store(tmp_path / "findings.txt")
    with pytest.raises(BadInput, match="does not exist"):
        open_store(tmp_path / "no" / "findings.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        open_store(tmp_path / "folder.jsonl")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(data=st.data())
def test_cut_anywhere_it_is_gone_on_from(suffix: str, tmp_path: Path, data: st.DataObject) -> None:
    """A file that a killed process left is what it wrote up to some byte; of Parquet that is the journal."""
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / f"findings{suffix}"
    if suffix == ".parquet":
        fill(path, NAMES[:3])
    written = _written(folder)
    place = data.draw(st.integers(0, len(written)))
    (path if suffix == ".jsonl" else folder / "findings.parquet.unfinished").write_bytes(written[:place])
    assert set(stored(path)) <= set(expected())
    fill(path, resume=True)
    assert stored(path) == expected()


def _written(folder: Path) -> bytes:
    whole = folder.parent / "whole.jsonl"
    if not whole.exists():
        fill(whole, NAMES[3:])
    return whole.read_bytes()


def test_killed_between_the_file_and_the_end_of_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "findings.parquet"
    fill(path)
    fill(tmp_path / "journal.jsonl", NAMES[4:])
    (tmp_path / "journal.jsonl").rename(tmp_path / "findings.parquet.unfinished")
    (tmp_path / f".findings.parquet.{os.getpid()}.part").write_bytes(b"half a file")
    assert stored(path) == expected()
    fill(path, [*NAMES, "owner/new"], resume=True)
    assert stored(path) == expected([*NAMES, "owner/new"])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with pq.ParquetFile(path) as file:
        assert file.metadata.num_rows == len(expected([*NAMES, "owner/new"]))


def test_a_journal_alone_is_not_written_over(tmp_path: Path) -> None:
    fill(tmp_path / "journal.jsonl")
    (tmp_path / "journal.jsonl").rename(tmp_path / "findings.parquet.unfinished")
    with pytest.raises(BadInput, match="--resume"):
        open_store(tmp_path / "findings.parquet")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ""])
def test_strange_findings_are_the_same_everywhere(suffix: str, tmp_path: Path) -> None:
    """Figures beyond 64 bits, half characters, line breaks, a token: what a format cannot hold is said."""
    finding = Finding(
        model="m\ud800",
        claim="10^40\x00\n",
        kind="total",
        source="README.md\u2028",
        verdict="mismatch",
        expected=-(2**63) + 1,
        delta=10**40,
        explanation="with hf_abcdefghijABCDEFGHIJ0123456789 in it",
    )
    store = MemoryStore() if not suffix else open_store(tmp_path / f"findings{suffix}")
    with store:
        store.add("m", [finding])
        store.close()
        rows = list(store.rows() if not suffix else read_rows(store.path))
    assert len(rows) == 1
    row = rows[0]
    assert row["model"] == "m\\ud800"
    assert (row["claim"], row["source"]) == ("10^40\x00\n", "README.md\u2028")
    assert (row["expected"], row["delta"], row["convention"]) == (-(2**63) + 1, None, None)
    assert row["explanation"] == "with hf_*** in it; delta is beyond 64 bits and left out"
