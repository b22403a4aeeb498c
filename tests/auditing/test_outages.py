"""An outage is no result: what the source gave no answer for is asked again, and nothing else is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from audited_stand_ins import findings_of
from sources.hub_server import HubServer, Trouble

from hfcount.auditing.failures import failure
from hfcount.auditing.finding import Finding
from hfcount.auditing.running import run
from hfcount.auditing.stores import MemoryStore, open_store, read_rows
from hfcount.auditing.summary import summarize
from hfcount.auditing.targets import Target
from hfcount.errors import GatedError, NotFoundError, OfflineError, RateLimitedError, SourceError

MINI = (Path("model_cards") / "hfcount" / "mini-gpt" / "config.json").read_bytes()
SUFFIXES = (".jsonl", ".sqlite", ".parquet")
NAMES = [f"lab/{number}" for number in range(6)]
PASSING = {
    "lab/0": OfflineError("lab/0: no network"),
    "lab/1": OfflineError("lab/1: late", kind="timeout"),
    "lab/2": SourceError("lab/2: HTTP 503"),
    "lab/3": RateLimitedError("lab/3: too many requests"),
}
FINAL = {"lab/4": GatedError("lab/4: gated"), "lab/5": NotFoundError("lab/5: no such repository")}


def audit(target: Target, *, out: bool) -> tuple[Finding, ...]:
    """Each model is as its name says; while the source is `out` four of them get no answer."""
    error = {**FINAL, **(PASSING if out else {})}.get(target.id)
    if error is not None:
        raise error
    return findings_of(target.id)


def audited(path: Path, *, out: bool, workers: int = 0) -> int:
    with open_store(path, resume=True, run="1+a") as store:
        return run((Target(id=name) for name in NAMES), partial(audit, out=out), store, workers=workers).audited


def targets(path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(path):
        found.setdefault(row["target"], []).append(row)
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_not_reached_is_asked_again_once(suffix: str, workers: int, tmp_path: Path) -> None:
    path = tmp_path / f"findings{suffix}"
    assert audited(path, out=True, workers=workers) == 6
    assert summarize(read_rows(path)).unreached == 4
    assert audited(path, out=False) == 4, "the gated and the missing are results"
    found = targets(path)
    assert set(found) == set(NAMES)
    for name in PASSING:
        assert [row["claim"] for row in found[name]] == [each.claim for each in findings_of(name)]
    for name in FINAL:
        assert [row["verdict"] for row in found[name]] == ["error"]
    assert summarize(read_rows(path)).unreached == 0
    assert audited(path, out=True) == 0
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_outage_in_the_midst_of_a_model_is_one_too(suffix: str, tmp_path: Path) -> None:
    """A card that was read and a checkpoint that broke off: the model is asked for again, and has one set of rows."""
    path = tmp_path / f"findings{suffix}"
    half = (*findings_of("lab/0"), failure(Target(id="lab/0"), "the connection broke off", "cut"))
    with open_store(path) as store:
        store.add("lab/9", findings_of("lab/9"))
        store.add("lab/0", half)
        store.add("lab/8", findings_of("lab/8"))
    with open_store(path, resume=True) as store:
        assert store.done == {"lab/8", "lab/9"}
        store.add("lab/0", findings_of("lab/0"))
    assert {name: len(rows) for name, rows in targets(path).items()} == {
        name: len(findings_of(name)) for name in ("lab/0", "lab/8", "lab/9")
    }


def test_other_programs_see_one_set_of_rows(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        audited(tmp_path / f"findings{suffix}", out=True)
        audited(tmp_path / f"findings{suffix}", out=False)
    number = sum(len(findings_of(name)) for name in PASSING) + len(FINAL)
    assert len((tmp_path / "findings.jsonl").read_text().splitlines()) == number
    assert pq.read_table(tmp_path / "findings.parquet").num_rows == number
    with sqlite3.connect(tmp_path / "findings.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM findings").fetchone() == (number,)


def test_in_memory_they_are_counted_apart() -> None:
    store = MemoryStore()
    run((Target(id=name) for name in NAMES), partial(audit, out=True), store, workers=0)
    found = summarize(store.rows())
    assert (found.models, found.verdicts["error"], found.to_dict()["unreached"]) == (6, 6, 4)


def command(hub: HubServer, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "hfcount", "audit", *arguments, "--no-headers"]
    return subprocess.run(
        line,
        env=hub.environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


def test_a_hub_that_sends_everybody_away_for_a_day_once(tmp_path: Path) -> None:
    """The model that met the answer is asked for again; those after it were read in the same run."""
    files = {"config.json": MINI, "README.md": b"This model has 131,392 parameters.\n"}
    out = tmp_path / "found.jsonl"
    with HubServer() as hub:
        for number in range(5):
            hub.add(f"lab/{number}", files)
        hub.add("lab/1", files, troubles={"api": Trouble(fault="limited", times=1, retry_after="100000")})
        names = [f"lab/{number}" for number in range(5)]
        first = command(hub, tmp_path / "home", *names, "-o", str(out), "--format", "json")
        assert first.returncode == 3, first.stderr
        assert first.stderr.splitlines() == [
            "hfcount: 1 model could not be read (rate limit); --resume asks for them again"
        ]
        answer = json.loads(first.stdout)
        assert answer["summary"]["unreached"] == 1
        assert [row["model"] for row in answer["findings"] if row["verdict"] == "error"] == ["lab/1"]
        second = command(hub, tmp_path / "home", *names, "-o", str(out), "--resume", "-q")
        assert (second.returncode, second.stderr) == (0, "")
        assert sum("/api/models/" in path for path in hub.paths) == 6
    assert {row["verdict"] for row in read_rows(out)} == {"ok"}
    assert sorted(row["target"] for row in read_rows(out)) == names
