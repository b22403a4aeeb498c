"""A run that is killed, at any moment and again and again, and started again ends as one that was never disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from audited_stand_ins import findings_of

from hfcount.auditing.finding import FIELDS
from hfcount.auditing.stores import read_rows

NAMES = [f"owner/model-{number}" for number in range(120)]
WORKERS = 2
PATIENCE = 120.0

PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from audited_stand_ins import recorded
from hfcount.auditing.running import run
from hfcount.auditing.stores import open_store
from hfcount.auditing.targets import Target

output, record, workers, number, seconds = sys.argv[1:]
targets = (Target(id=f"owner/model-{place}") for place in range(int(number)))
audit = partial(recorded, record=record, seconds=float(seconds))
with open_store(Path(output), resume=True) as store:
    outcome = run(targets, audit, store, workers=int(workers))
print(outcome.audited, outcome.skipped, outcome.stopped, flush=True)
"""


def started(output: Path, record: Path, *, seconds: float = 0.01) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    arguments = [str(output), str(record), str(WORKERS), str(len(NAMES)), str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def audits(record: Path) -> list[tuple[int, str]]:
    """(process, model) of each audit that was begun."""
    lines = record.read_text().splitlines() if record.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines if len(line.split()) == 2]


def wait_for(record: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Until so many audits were begun, or the process has ended."""
    end = time.monotonic() + PATIENCE
    while len(audits(record)) < number and process.poll() is None:
        assert time.monotonic() < end, "the run does not go on"
        time.sleep(0.002)


def stored(path: Path) -> list[tuple[object, ...]]:
    rows = (tuple(row[name] for name in ("target", "nth", "of", *FIELDS)) for row in read_rows(path))
    return sorted(rows, key=lambda row: row[:2])


def expected(names: list[str]) -> list[tuple[object, ...]]:
    return [
        (name, nth, len(findings_of(name)), *finding.to_dict().values())
        for name in sorted(names)
        for nth, finding in enumerate(findings_of(name), start=1)
    ]


def gone(process: int) -> bool:
    """Whether the process has ended, waited for or not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False
    return state == "Z"


def all_gone(record: Path) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if all(gone(process) for process, _ in audits(record)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("suffix", [".jsonl", ".sqlite", ".parquet"])
def test_killed_at_any_moment(suffix: str, seed: int, tmp_path: Path) -> None:
    output, record, draw = tmp_path / f"findings{suffix}", tmp_path / "record", random.Random(f"{suffix}{seed}")
    kills = 0
    for _ in range(3):
        process = started(output, record)
        wait_for(record, len(audits(record)) + draw.randint(1, 30), process)
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        rows = stored(output) if output.exists() or list(tmp_path.glob("*.unfinished")) else []
        assert rows == expected(sorted({row[0] for row in rows})), "a model is there in part"
        assert all_gone(record), "a worker outlives its parent"
    process = started(output, record, seconds=0)
    answer, errors = process.communicate(timeout=PATIENCE)
    assert not errors
    assert kills
    assert stored(output) == expected(NAMES)
    audited, skipped, stopped = answer.split()
    assert (int(audited) + int(skipped), stopped) == (len(NAMES), "False")
    # What is begun again is only what was on its way: one at work and one found for each worker, and one in hand.
    assert len(audits(record)) <= len(NAMES) + kills * (2 * WORKERS + 1)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(suffix: str, sign: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end the run at once though its models take half a minute; what is finished is stored."""
    output, record = tmp_path / f"findings{suffix}", tmp_path / "record"
    process = started(output, record)
    wait_for(record, 20, process)
    process.send_signal(sign)
    answer, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    audited, _, stopped = answer.split()
    assert stopped == "True"
    assert stored(output) == expected(sorted({str(row[0]) for row in stored(output)}))
    assert len({row[0] for row in stored(output)}) == int(audited) < len(NAMES)
    assert [each.name for each in tmp_path.iterdir() if each != record] == [output.name]
    before = len(audits(record))
    process = started(output, record, seconds=30)
    wait_for(record, before + 1, process)
    process.send_signal(sign)
    answer, _ = process.communicate(timeout=15)
    assert answer.split()[2] == "True"
    assert all_gone(record)
