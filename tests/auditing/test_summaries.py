"""The summary of rows, held to counts by pandas; what a progress line says."""

from __future__ import annotations

import itertools
from collections import Counter

import pandas as pd
import pytest
from audited_stand_ins import findings_of
from hypothesis import given
from hypothesis import strategies as st

from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.auditing.progress import rate_text, shown, verdict_line
from hfcount.auditing.stores import MemoryStore
from hfcount.auditing.summary import summarize


def store_of(number: int) -> MemoryStore:
    store = MemoryStore()
    for name in (f"model-{place}" for place in range(number)):
        store.add(name, findings_of(name))
    return store


def test_the_same_as_pandas_says() -> None:
    store = store_of(200)
    frame, found = pd.DataFrame(store.rows()), summarize(store.rows(), largest=5)
    assert found.models == frame["target"].nunique() == 200
    assert dict(found.verdicts) == {verdict: int((frame["verdict"] == verdict).sum()) for verdict in VERDICTS}
    assert found.to_dict() == {"models": 200, **found.verdicts}
    off = (frame["delta"].abs() / frame["expected"])[frame["verdict"] == "mismatch"].sort_values(ascending=False)
    assert [abs(row["delta"]) / row["expected"] for row in found.largest] == off.head(5).tolist()
    assert found.verdict_frame().to_numpy().sum() == len(frame) == sum(found.verdicts.values())
    assert found.off_frame().to_numpy().sum() == int((frame["delta"] != 0).sum())


@given(st.integers(1, 10**15), st.integers(-(10**18), 10**18))
def test_the_decade_holds_the_difference(expected: int, delta: int) -> None:
    finding = Finding(
        model="m", claim="1M", kind="total", source="", verdict="mismatch", expected=expected, delta=delta
    )
    store = MemoryStore()
    store.add("m", [finding])
    found = summarize(store.rows())
    if delta == 0:
        assert not found.off
        return
    ((verdict, decade),) = found.off
    assert verdict == "mismatch"
    assert 10.0 ** (decade - 1) * (1 - 1e-9) <= abs(delta) / expected <= 10.0**decade * (1 + 1e-9)


def test_rows_are_read_one_after_the_other() -> None:
    row = {"target": "m", "nth": 1, "kind": "total", "verdict": "ok", "expected": 1, "delta": 0, "convention": None}
    assert summarize(itertools.repeat(row, 50_000)).models == 50_000


def test_nothing_is_a_summary_too() -> None:
    found = summarize([])
    assert found.models == 0
    assert found.verdict_frame().empty
    assert found.off_frame().empty


def test_a_line_of_verdicts() -> None:
    assert verdict_line(Counter(mismatch=1, ok=1200)) == "1,200 ok, 1 mismatch"
    assert [rate_text(each) for each in (None, 0.2, 31.4, 2000.0)] == ["", "12/min", "31/s", "2,000/s"]


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(3) as watcher:
        watcher.advance(findings_of("a"))
    assert capsys.readouterr() == ("", "")
    assert watcher.verdicts.total() == len(findings_of("a"))


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with shown(2) as watcher:
        watcher.advance(findings_of("a"))
        watcher.advance(findings_of("b"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err
    assert verdict_line(watcher.verdicts).split(",")[0] in err
