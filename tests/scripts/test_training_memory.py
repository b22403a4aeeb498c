"""Steps that are run for real on the CPU take what the simulation says; so do those that were recorded."""

from __future__ import annotations

import collections
import functools
import json
import re
from typing import Any

import pytest
from conftest import load_script

cells = load_script("memory_cells")
live_bytes = load_script("live_bytes")
measuring = load_script("measure_training_memory")
reporting = load_script("report_training_memory")

Cell = cells.Cell
SAMPLE = (
    Cell(model="gpt2", recipe="fp32"),
    Cell(model="gpt2", regime="lora", checkpointing="yes", batch=4),
    Cell(model="llama", regime="qlora", seq=64),
    Cell(model="llama", regime="lora", checkpointing="reentrant", batch=4, seq=64),
    Cell(model="mini-gpt", recipe="bf16", optimizer="adamw-8bit"),
    Cell(model="mini-gpt", recipe="fp32", optimizer="adafactor", checkpointing="yes"),
    Cell(model="mixtral", recipe="megatron-bf16", accumulation=2),
    Cell(model="qwen3", checkpointing="yes", seq=64),
    Cell(model="opt", recipe="autocast-bf16", attention="eager", batch=1, seq=48),
    Cell(model="bert", regime="lora", recipe="bf16"),
    Cell(model="t5", recipe="fp32"),
    Cell(model="vit", recipe="fp32"),
)
RECORD = reporting.latest(measuring.load(measuring.FOLDER / "cpu.jsonl"))


@functools.cache
def measured(cell: Any) -> dict[str, Any]:
    return measuring.measure(cell)


def recorded(cell: Any) -> dict[str, Any]:
    return next(line for line in RECORD if Cell(**line["cell"]) == cell)


@pytest.mark.parametrize("cell", SAMPLE, ids=str)
def test_a_real_step_takes_what_is_simulated(cell: Any) -> None:
    line = {**measured(cell), "device": "cpu"}
    found = reporting.held(line, depth=cell in SAMPLE[:2])
    assert found.phases == line["phases"]
    assert found.peak == line["peak_bytes"]
    assert found.shallow == (found.peak if cell in SAMPLE[:2] else None)


@pytest.mark.pinned
@pytest.mark.parametrize("cell", SAMPLE, ids=str)
def test_the_record_says_what_is_measured_now(cell: Any) -> None:
    now, then = measured(cell), recorded(cell)
    for figure in ("peak_bytes", "phase", "buckets", "phases", "highest"):
        assert now[figure] == then[figure], figure


@pytest.mark.parametrize("cell", SAMPLE[:4], ids=str)
def test_the_allocator_hands_out_little_more_than_the_tensors(cell: Any) -> None:
    line = measured(cell)
    for phase, tensors in line["phases"].items():
        own = line["allocator"][phase]["allocated"] - tensors
        assert 0 <= own <= 100_000, f"{phase}: {own:,} bytes beside {tensors:,} of tensors"


def test_the_allocator_is_counted_by_phase() -> None:
    import torch

    counts = live_bytes.CpuAllocator()
    with counts:
        counts.enter("forward")
        kept = torch.empty(1000, dtype=torch.uint8)
        counts.enter("backward")
        passing = torch.empty(3000, dtype=torch.uint8)
        del passing
        counts.enter("step")
        del kept
    assert {phase: peak["allocated"] for phase, peak in counts.peaks().items()} == {
        "forward": 1000, "backward": 4000, "step": 1000,
    }  # fmt: skip


def test_the_record_is_the_whole_grid_and_wide_enough() -> None:
    there = [Cell(**line["cell"]) for line in RECORD]
    assert set(there) == set(cells.grid())
    assert len(there) >= 80
    assert len({each.model for each in there}) >= 12
    kinds = collections.Counter((each.regime, each.checkpointing) for each in there)
    for regime in ("full", "lora", "qlora"):
        assert min(kinds[regime, "no"], kinds[regime, "yes"]) >= 12, regime
    assert all(
        {"torch", "transformers", "peft", "bitsandbytes", "hfcount"} <= set(line["versions"]) for line in RECORD
    )


def test_no_cell_stands_in_the_grid_twice() -> None:
    counted = collections.Counter(cells.grid())
    assert [cell for cell, count in counted.items() if count > 1] == []


def test_the_page_says_how_many() -> None:
    page = reporting.PAGE.read_text(encoding="utf-8")
    found = re.search(r"\*\*(\d+) of (\d+) cells within 1 %\*\*, (\d+) models", page)
    assert found is not None
    models = {line["cell"]["model"] for line in RECORD}
    assert tuple(map(int, found.groups())) == (len(RECORD), len(RECORD), len(models))


def test_a_cell_that_is_there_is_not_measured_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def quickly(cell: Any, device: str) -> dict[str, Any]:
        calls.append(cell)
        return {**recorded(cell)}

    monkeypatch.setattr(measuring, "measure", quickly)
    path = tmp_path / "cpu.jsonl"
    for again, expected in ((False, 2), (False, 2), (True, 4)):
        assert measuring.sweep(SAMPLE[:2], path, device="cpu", again=again) == 0
        assert len(calls) == len(path.read_text().splitlines()) == expected
    assert len(reporting.latest(map(json.loads, path.read_text().splitlines()))) == 2


def test_a_cell_beyond_the_tolerance_is_told() -> None:
    line = {**recorded(SAMPLE[0]), "device": "cpu"}
    fine = reporting.Held(line=line, peak=line["peak_bytes"], phases=line["phases"], shallow=None)
    off = reporting.Held(line=line, peak=fine.peak, phases=line["phases"], shallow=round(1.02 * fine.peak))
    assert fine.worst == 0
    assert off.worst == pytest.approx(0.02, abs=1e-4)
    assert "| **all** | 2 | 1 | 2 |" in reporting.table([fine, off])
    assert reporting.differing([fine]) == "- none"
    assert f"extrapolated +{off.shallow - fine.peak:,}" in reporting.differing([off])


def test_fewer_cells_are_the_first_of_each_model() -> None:
    found = measuring.wanted(["gpt2", "t5"], 3)
    assert [each.model for each in found] == ["gpt2", "gpt2", "t5"]
