"""On a real cluster of two worker processes, one of them killed on the way, the rows are those of a local run."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from audited_stand_ins import audit, difficult, findings_of, recorded

from hfcount.auditing.dask_run import IN_FLIGHT, run_on_dask
from hfcount.auditing.partitions import partitions
from hfcount.auditing.running import run
from hfcount.auditing.stores import COLUMNS, MemoryStore, open_store, read_rows
from hfcount.auditing.targets import Target
from hfcount.errors import BadInput, OfflineError

NAMES = [f"owner/model-{number}" for number in range(60)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as found:
        yield found


def targets(names: list[str] = NAMES) -> Iterator[Target]:
    return (Target(id=name) for name in names)


def rows_in(path: Path) -> list[tuple[Any, ...]]:
    rows = (tuple(row[name] for name in COLUMNS) for row in read_rows(path))
    return sorted(rows, key=lambda row: row[:2])


def worker_processes(cluster: Any) -> list[int]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_a_worker_killed_on_the_way_loses_and_repeats_nothing(cluster: Any, tmp_path: Path) -> None:
    record, output, local = tmp_path / "record", tmp_path / "dask.jsonl", tmp_path / "local.jsonl"
    victim, *_ = worker_processes(cluster)
    killed = threading.Event()

    def kill_one() -> None:
        while not record.exists() or len(record.read_text().splitlines()) < 15:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill_one, daemon=True).start()
    slow = partial(recorded, record=str(record), seconds=0.03)
    with open_store(output, run="1+a") as store:
        outcome = run_on_dask(targets(), slow, store, scheduler=cluster.scheduler_address, size=7)
    assert killed.is_set()
    assert victim not in worker_processes(cluster)
    assert outcome.audited == len(NAMES)
    with open_store(local, run="1+a") as store:
        run(targets(), audit, store, workers=1)
    assert rows_in(output) == rows_in(local)
    assert len(rows_in(output)) == sum(len(findings_of(name)) for name in NAMES)


def test_gone_on_from_a_local_run_and_back(cluster: Any, tmp_path: Path) -> None:
    output = tmp_path / "findings.sqlite"
    address = cluster.scheduler_address
    with open_store(output) as store:
        run(targets(NAMES[:20]), audit, store, workers=0)
    with open_store(output, resume=True) as store:
        outcome = run_on_dask(targets(NAMES[:40]), audit, store, scheduler=address)
    assert (outcome.audited, outcome.skipped) == (20, 20)
    with open_store(output, resume=True) as store:
        assert run(targets(), audit, store, workers=0).skipped == 40
    assert len(rows_in(output)) == sum(len(findings_of(name)) for name in NAMES)


def test_a_bad_model_costs_no_worker(cluster: Any) -> None:
    before = worker_processes(cluster)
    store = MemoryStore()
    names = ["good-1", "killed-1", "hangs-1", "good-2", "raises-1"]
    run_on_dask(targets(names), difficult, store, scheduler=cluster.scheduler_address, seconds=2, size=2)
    kinds = {row["target"]: row["kind"] for row in store.rows() if row["verdict"] == "error" and "-" in row["target"]}
    assert store.done == set(names)
    assert {"killed-1": "crash", "hangs-1": "time limit", "raises-1": "internal"}.items() <= kinds.items()
    assert sorted(worker_processes(cluster)) == sorted(before)


def test_a_model_that_costs_workers_is_one_finding(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the partition that Dask gives up all other models are audited."""
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    store = MemoryStore()
    names = ["good-1", "orphans-1", "good-2"]
    outcome = run_on_dask(targets(names), difficult, store, scheduler=cluster.scheduler_address, size=3)
    assert outcome.audited == 3
    rows = list(store.rows())
    assert [row["kind"] for row in rows if row["target"] == "orphans-1"] == ["crash"]
    assert len(rows) == 1 + len(findings_of("good-1")) + len(findings_of("good-2"))


def test_few_partitions_are_on_their_way(cluster: Any) -> None:
    asked, most, store = 0, 0, MemoryStore()

    def endless() -> Iterator[Target]:
        nonlocal asked, most
        for asked in itertools.count(1):
            most = max(most, asked - len(store.done))
            if asked > 200:
                return
            yield Target(id=f"model-{asked}")

    run_on_dask(endless(), audit, store, scheduler=cluster.scheduler_address, size=4)
    assert len(store.done) == 200
    assert most <= 4 * IN_FLIGHT * 2 + 1


def test_partitions_are_taken_as_they_are_asked_for() -> None:
    endless = (Target(id=str(number)) for number in itertools.count())
    found = list(itertools.islice(partitions(endless, 3), 2))
    assert [[each.id for each in one.targets] for one in found] == [["0", "1", "2"], ["3", "4", "5"]]
    assert next(endless).id == "6"
    assert [len(one.targets) for one in partitions(targets(NAMES[:7]), 3)] == [3, 3, 1]


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcount.auditing.dask_run.CONNECT_SECONDS", 1.0)
    with pytest.raises(OfflineError, match="no Dask scheduler answers"):
        run_on_dask(targets(), audit, MemoryStore(), scheduler="tcp://127.0.0.1:9")
    with pytest.raises(BadInput, match="no address of a Dask scheduler"):
        run_on_dask(targets(), audit, MemoryStore(), scheduler="carrier-pigeon://x")


def test_the_command_gives_the_same_rows_on_a_cluster(cluster: Any, tmp_path: Path) -> None:
    """The audit itself, of the Mini-GPTs' cards, as it is typed."""
    from hfcount.cli.app import run as typed

    cards = str(Path("model_cards", "hfcount").absolute())
    local, spread = tmp_path / "local.jsonl", tmp_path / "spread.sqlite"
    assert typed(["audit", cards, "-q", "--output", str(local)]) == 0
    assert typed(["audit", cards, "-q", "--output", str(spread), "--scheduler", cluster.scheduler_address]) == 0
    assert len(rows_in(local)) > 50
    assert rows_in(spread) == rows_in(local)
