"""The ledger against cases that are counted by hand, and against torch's own tracker of memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from hfcount.deadline import TimeIsUp
from hfcount.simulation.ledger import Ledger, named_modules
from hfcount.simulation.peak import BUCKETS, curve, entries_of, largest, peaks


@pytest.fixture(autouse=True)
def _without_chance() -> Iterator[None]:
    """What only cycles hold goes before a test, not within it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sizes(ledger: Ledger) -> list[int]:
    return ledger.table()["bytes"].tolist()


def test_a_tensor_is_born_and_freed():
    with Ledger() as ledger:
        made = torch.zeros(10)
        kept = torch.ones(5, dtype=torch.float64)
        del made
        last = torch.zeros(3)
    table = ledger.table()
    assert table["bytes"].tolist() == [40, 40, 12]
    assert table["born"].tolist() == [1, 2, 3]
    assert table["died"].isna().tolist() == [False, True, True]
    assert table["died"][0] == 2  # after the second operation, before the third
    assert table["dtype"].tolist() == ["float32", "float64", "float32"]
    assert kept.numel() + last.numel() == 8


def test_views_in_place_and_detached_tensors_are_no_storages_of_their_own():
    with Ledger() as ledger:
        made = torch.zeros(4, 6)
        same = [made.t(), made[1:], made.view(-1), made.detach(), made.expand(2, 4, 6), made.add_(1).mul_(2)]
    assert sizes(ledger) == [4 * 6 * 4]
    assert len(same) == 6


def test_a_storage_that_two_share_lives_as_long_as_either():
    with Ledger() as ledger:
        whole = torch.zeros(8)
        part = whole[:2]
        del whole
        torch.zeros(1)
        assert ledger.entries[0].died is None
        del part
        torch.zeros(1)
    assert ledger.entries[0].died == 3  # the view was the second operation, the zero between them the third


def test_only_what_is_made_counts_a_whole_storage():
    whole = torch.zeros(100)
    with Ledger() as ledger:
        whole[:1].clone()
        ledger.declare([("whole", whole[:1])], "inputs")
    assert sizes(ledger) == [400, 4]  # the view's storage is all of it, though it was there before
    assert ledger.entries[0].kind == "inputs"


def test_what_autograd_keeps_is_seen_below_it():
    weight = torch.ones(3, requires_grad=True)
    with Ledger() as ledger:
        ledger.phase = "forward"
        loss = (weight.exp() * 2).sum()
        ledger.phase = "backward"
        loss.backward()
        ledger.declare([("weight", weight.grad)], "gradients")
    table = entries_of(ledger)
    lines = curve(ledger, table)
    # exp is kept for its own derivative; the product with 2 needs nothing and goes when the sum is there.
    assert table.loc[table["bucket"] == "activations", "name"].tolist() == ["aten.exp.default", "aten.sum.default"]
    assert int(lines.iloc[-1]["gradients"]) == 12
    assert all(lines[list(BUCKETS)].to_numpy().ravel() >= 0)


def test_the_moment_of_the_peak_and_what_is_alive_then():
    with Ledger() as ledger:
        ledger.phase = "forward"
        small = torch.zeros(10)
        large = torch.zeros(1000)
        ledger.phase = "step"
        del large
        after = torch.zeros(20)
    table = entries_of(ledger)
    lines = curve(ledger, table)
    found = peaks(lines)
    assert found["forward"].bytes == 4040
    # What was freed between two operations still counts in the moment of the earlier one.
    assert found["step"].bytes == 40 + 80
    assert [row["bytes"] for row in largest(lines, table, count=1)] == [4000]
    assert small.numel() + after.numel() == 30


def test_modules_are_named_by_their_path_in_both_directions():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with Ledger() as ledger, named_modules(ledger, model):
        ledger.phase = "forward"
        loss = model(torch.zeros(3, 4)).sum()
        ledger.phase = "backward"
        loss.backward()
    table = ledger.table()
    forward, backward = (table[table["phase"] == phase] for phase in ("forward", "backward"))
    assert {"0", "1", "2"} <= set(forward["module"])
    assert {"0", "2"} <= set(backward["module"])
    assert ledger.modules == [""]
    assert not model[0]._forward_hooks


def test_what_a_kernel_unpacks_for_itself_passes_by():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    packed, state = bitsandbytes.functional.quantize_4bit(torch.randn(64, 32), quant_type="nf4")
    given = torch.randn(3, 32)
    with Ledger() as ledger:
        torch.ops.bitsandbytes.gemm_4bit.default(given, packed, [64, 32], state.absmax, 64, "nf4", None)
    passing = [each for each in ledger.entries if each.name == "bitsandbytes.gemm_4bit.default"]
    assert [(each.bytes, each.kind) for each in passing] == [(64 * 32 * 4, "temporary"), (3 * 64 * 4, "")]
    assert passing[0].born == passing[0].died


def test_time_is_up_between_modules():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with Ledger(seconds=1e-9) as ledger, named_modules(ledger, model):
        torch.zeros(1)  # torch does not survive an exception within some operations
        with pytest.raises(TimeIsUp, match="past its time limit"):
            model(torch.zeros(1, 4))
        with pytest.raises(TimeIsUp):
            ledger.check_time()
    with Ledger(seconds=60) as ledger, named_modules(ledger, model):
        model(torch.zeros(1, 4))
    assert len(ledger.entries) > 1


def _small() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 10)), torch.randn(8, 32)


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, given: torch.Tensor, tracker: Any = None) -> None:
    for _ in range(2):
        if tracker is not None:
            tracker.reset_mod_stats()
        loss = model(given).square().mean()
        loss.backward()
        del loss
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("foreach", [False, True])
def test_the_same_peak_as_torchs_own_tracker(foreach: bool):
    """torch.distributed._tools.mem_tracker follows storages in another way: by modules, and rounds as an allocator."""
    tracker_module = pytest.importorskip("torch.distributed._tools.mem_tracker")
    model, given = _small()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach)
    tracker = tracker_module.MemTracker()
    tracker.track_external(model, optimizer, given)
    with tracker:
        _steps(model, optimizer, given, tracker)
    theirs = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]

    model, given = _small()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach)
    with Ledger() as ledger:
        ledger.phase = "step"
        ledger.declare(model.named_parameters(), "weights")
        ledger.declare([("input", given)], "inputs")
        _steps(model, optimizer, given)
    mine = peaks(curve(ledger, entries_of(ledger)))["step"].bytes
    assert mine == theirs
