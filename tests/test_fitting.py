"""Does it fit: the margin, and the largest batch, sequence and rank, each held against the budget itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hfcount
from hfcount.budget.gpus import GIB, gpu, gpus
from hfcount.fitting import fits, largest, smallest, stretched_memory


@given(st.integers(1, 1000), st.integers(0, 10**6), st.integers(0, 1000), st.integers(1, 5000))
def test_the_search_finds_the_largest(slope: int, room: int, offset: int, most: int) -> None:
    found = largest(lambda n: offset + slope * n, room, most)
    assert found == max([0, *(n for n in range(1, most + 1) if offset + slope * n <= room)])


def test_every_gpu_with_its_margin() -> None:
    found = hfcount.memory("llama-7b", seq=512, regimes=["full", "qlora"], gradient_checkpointing=True)
    answers = fits(found)
    assert len(answers) == 2 * len(gpus())
    for each in answers:
        assert each.offered_bytes == each.gpu.total_bytes - GIB
        assert each.margin_bytes == each.offered_bytes - each.needed_bytes
        assert each.fits == (each.margin_bytes >= 0)
    by_name = {(each.gpu.name, each.regime): each.fits for each in answers}
    assert not by_name["A100-80GB", "full"]  # 6.7 B x 16 bytes are 100 GiB
    assert by_name["H200", "full"]
    assert by_name["T4", "qlora r=8"]


def test_the_smallest_card() -> None:
    """6,738,415,616 parameters take 16 bytes each in full; in NF4 they leave room on 8 GB."""
    found = hfcount.memory("llama-7b", seq=512, regimes=["full", "qlora"], gradient_checkpointing=True)
    answers = fits(found)
    full, packed = smallest(answers)
    assert full.gpu.total_bytes > 16 * 6_738_415_616
    assert full.fits
    assert packed.gpu.nominal_gb <= 8
    for each in (full, packed):
        smaller = [one for one in answers if one.regime == each.regime and one.gpu.total_mib < each.gpu.total_mib]
        assert not any(one.fits for one in smaller if one.gpu.vendor == "NVIDIA")
    (none,) = smallest(fits(hfcount.memory("llama-65b", seq=512, regimes=["full"])))
    assert not none.fits
    assert none.gpu == max((each for each in gpus() if each.capability), key=lambda each: each.total_mib)


@pytest.mark.parametrize("regime", ["full", "lora", "qlora"])
def test_what_fits_fits_and_one_more_does_not(regime: str) -> None:
    how = {"precision": "mixed-fp16", "gradient_checkpointing": True}
    card = gpu("t4")
    found, (fit,) = stretched_memory("gpt2", [card], regimes=[regime], lora_r=[8], seq=256, **how)  # type: ignore[arg-type]

    def needed(**changed: object) -> int:
        asked = {"lora_r": [8], "batch": 1, "seq": 256, **how, **changed}
        (budget,) = hfcount.memory("gpt2", regimes=[regime], **asked).budgets  # type: ignore[arg-type]
        return (budget.total_bytes or 0) + budget.buffers_bytes

    assert fit.batch is not None
    assert needed(batch=fit.batch) <= fit.offered_bytes < needed(batch=fit.batch + 1)
    assert fit.seq == 1024  # the model's positions
    if regime == "full":
        assert fit.r is None
    else:
        assert fit.r == 768  # the narrower side of its matrices
    assert found.budgets[0].total_bytes == needed()


def test_where_nothing_fits() -> None:
    _, (fit,) = stretched_memory("llama-65b", [gpu("t4")], regimes=["full"], seq=128)
    assert (fit.fits, fit.batch, fit.seq) == (False, 0, 0)


def test_headroom_is_taken_off() -> None:
    found = hfcount.memory("gpt2", regimes=["full"])
    (fit,) = fits(found, [gpu("t4")], headroom="25%")
    assert fit.offered_bytes == gpu("t4").total_bytes - round(gpu("t4").total_bytes / 4)
