"""Any number of models: a few in flight, and none that ends the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from audited_stand_ins import audit, difficult, findings_of, recorded

from hfcount.auditing.finding import Finding
from hfcount.auditing.running import run
from hfcount.auditing.stores import MemoryStore
from hfcount.auditing.targets import Target
from hfcount.auditing.worker import WorkerError
from hfcount.errors import BadInput


def targets(names: list[str]) -> list[Target]:
    return [Target(id=name) for name in names]


def found(store: MemoryStore) -> dict[str, list[tuple[str, str]]]:
    """target -> (verdict, explanation) of its findings."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for row in store.rows():
        rows.setdefault(row["target"], []).append((row["verdict"], row["explanation"]))
    return rows


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_each_model_once(workers: int) -> None:
    names = [f"model-{number}" for number in range(40)]
    store = MemoryStore()
    store.add("model-7", findings_of("model-7"))
    outcome = run(targets(names + names[::-1]), audit, store, workers=workers)
    assert found(store) == {
        name: [(each.verdict, each.explanation) for each in findings_of(name)] for name in sorted(names)
    }
    assert (outcome.audited, outcome.skipped, outcome.stopped) == (39, 41, False)
    assert outcome.verdicts.total() == sum(len(findings_of(name)) for name in names if name != "model-7")


FATES = {
    "hangs": ("error", "took more than 3 s and was given up"),
    "killed": ("error", "the process that audited it died (signal SIGKILL, as for want of memory)"),
    "leaves": ("error", "the process that audited it died (exit code 3)"),
    "raises": ("error", "RuntimeError: a fault of two lines"),
    "refuses": ("error", "config.json: no config"),
    "silent": ("unverifiable", "nothing is claimed"),
}


def test_a_model_that_is_bad_in_any_way_is_one_finding() -> None:
    """Good models before, between and after; all bad ones in one run, twice each, so that every worker is replaced."""
    names = [f"{fate}-{turn}" for turn in range(2) for fate in (*FATES, "good", "talks", "recurses")]
    store = MemoryStore()
    outcome = run(targets(names), difficult, store, workers=2, seconds=3)
    rows = found(store)
    assert outcome.audited == len(names)
    for name in names:
        fate = name.split("-")[0]
        if fate in FATES:
            assert rows[name] == [FATES[fate]], name
        elif fate == "recurses":
            assert rows[name][0][1].startswith("RecursionError")
        else:
            assert rows[name] == [(each.verdict, each.explanation) for each in findings_of(name)]


def test_a_row_with_a_fault_needs_no_process() -> None:
    store = MemoryStore()
    run([Target(id="rows.csv row 3", fault="rows.csv row 3: no id")], difficult, store, workers=1)
    assert found(store) == {"rows.csv row 3": [("error", "rows.csv row 3: no id")]}


class Counting(MemoryStore):
    """A slow store that knows how many targets were asked for before their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.most = 0

    def targets(self, number: int) -> Iterator[Target]:
        for place in range(number):
            self.asked += 1
            yield Target(id=f"model-{place}", card="x" * 1000)

    def add(self, target: str, findings: tuple[Finding, ...]) -> bool:
        self.most = max(self.most, self.asked - len(self.done))
        time.sleep(0.001)
        return super().add(target, findings)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_few_are_in_flight(workers: int) -> None:
    store = Counting()
    run(store.targets(300), audit, store, workers=workers)
    assert len(store.done) == 300
    assert store.most <= 2 * workers + 1  # one at work and one found for each, and the one that is being stored


def test_processes_work_at_the_same_time(tmp_path: Path) -> None:
    record = tmp_path / "record"
    slow = partial(recorded, record=str(record), seconds=0.2)
    run(targets([f"model-{number}" for number in range(8)]), slow, MemoryStore(), workers=4)
    assert len({line.split()[0] for line in record.read_text().splitlines()}) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_a_source_that_fails_ends_the_run_when_what_was_taken_is_stored(workers: int) -> None:
    def failing() -> Iterator[Target]:
        yield from targets(["a", "b", "c"])
        raise BadInput("crawl.parquet: cannot be read after row 3")

    store = MemoryStore()
    with pytest.raises(BadInput, match="after row 3"):
        run(failing(), audit, store, workers=workers)
    assert store.done == {"a", "b", "c"}


def test_a_store_that_is_full_ends_the_run() -> None:
    class Full(MemoryStore):
        def _write(self, rows: list[dict[str, object]]) -> None:
            raise BadInput("findings.jsonl: cannot be written (No space left on device)")

    before = threading.active_count()
    with pytest.raises(BadInput, match="No space left"):
        run(targets([f"model-{number}" for number in range(50)]), audit, Full(), workers=2)
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.05)
    assert threading.active_count() <= before


class Unloadable:
    """Can be pickled, and not be made again."""

    def __call__(self, target: Target) -> tuple[Finding, ...]:
        return ()

    def __reduce__(self) -> tuple[object, ...]:
        return (int, ("no number",))


def test_processes_that_cannot_start_end_the_run() -> None:
    with pytest.raises(WorkerError, match=r"could not be started \(ValueError: invalid literal.*--workers 0"):
        run(targets(["a"]), Unloadable(), MemoryStore(), workers=2)
