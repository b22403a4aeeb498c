"""Does it fit: the verdict, and the largest batch, sequence and rank, each held against the peak itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hfcount
from hfcount.budget.gpus import GIB, gpu, gpus
from hfcount.fitting import DOES_NOT_FIT, FITS, TIGHT, Fit, fits, largest, smallest, stretched_memory


@given(st.integers(1, 1000), st.integers(0, 10**6), st.integers(0, 1000), st.integers(1, 5000), st.integers(1, 6000))
def test_the_search_finds_the_largest(slope: int, room: int, offset: int, most: int, start: int) -> None:
    found = largest(lambda n: offset + slope * n <= room, most, start=start)
    assert found == max([0, *(n for n in range(1, most + 1) if offset + slope * n <= room)])


def test_every_gpu_with_its_verdict() -> None:
    found = hfcount.memory("llama-7b", seq=512, regimes=["full", "qlora"], gradient_checkpointing=True)
    answers = fits(found)
    assert len(answers) == 2 * len(gpus())
    for each in answers:
        least, most = each.reserve_bytes
        assert 0 < least < most
        left = each.gpu.total_bytes - each.needs_bytes
        assert each.verdict == (FITS if left >= most else TIGHT if left >= least else DOES_NOT_FIT)
    by_name = {(each.gpu.name, each.regime): each.verdict for each in answers}
    assert by_name["A100-80GB", "full"] == DOES_NOT_FIT  # 6.7 B x 16 bytes are 100 GiB
    assert by_name["B300", "full"] == FITS
    assert by_name["T4", "qlora r=8"] == FITS


def test_between_the_ends_of_the_reserve_it_is_tight() -> None:
    """A T4 has 15,360 MiB; 240 MiB and 4 % are taken at least, 1,400 MiB and 35 % at most."""
    t4 = gpu("t4")

    def verdict(peak: int) -> str:
        reserve = (240 * 2**20 + round(0.04 * peak), 1400 * 2**20 + round(0.35 * peak))
        return Fit(gpu=t4, regime="full", needs_bytes=peak, reserve_bytes=reserve).verdict

    assert [verdict(mib * 2**20) for mib in (10_340, 10_341, 14_538, 14_539)] == [FITS, TIGHT, TIGHT, DOES_NOT_FIT]


def test_the_smallest_card() -> None:
    """6,738,415,616 parameters take 16 bytes each in full; in NF4 they leave room on 12 GB."""
    found = hfcount.memory("llama-7b", seq=512, regimes=["full", "qlora"], gradient_checkpointing=True)
    answers = fits(found)
    full, packed = smallest(answers)
    assert full.gpu.total_bytes > 16 * 6_738_415_616
    assert full.verdict == FITS
    assert packed.gpu.nominal_gb <= 12
    for each in (full, packed):
        smaller = [one for one in answers if one.regime == each.regime and one.gpu.total_mib < each.gpu.total_mib]
        assert not any(one.verdict == FITS for one in smaller if one.gpu.vendor == "NVIDIA")
    (none,) = smallest(fits(hfcount.memory("llama-65b", seq=512, regimes=["full"])))
    assert not none.fits
    assert none.gpu == max((each for each in gpus() if each.capability), key=lambda each: each.total_mib)


@pytest.mark.parametrize("regime", ["full", "lora", "qlora"])
def test_what_fits_fits_and_one_more_does_not(regime: str) -> None:
    """The largest batch is confirmed by the step of that many rows, and refuted by the step of one more."""
    how = {"precision": "mixed-fp16", "gradient_checkpointing": True}
    card = gpu("t4")
    found, (fit,) = stretched_memory("gpt2", [card], regimes=[regime], lora_r=[8], seq=256, **how)  # type: ignore[arg-type]

    def fits_with(**changed: object) -> bool:
        asked = {"lora_r": [8], "batch": 1, "seq": 256, **how, **changed}
        again = hfcount.memory("gpt2", regimes=[regime], capability="7.5", curves=True, **asked)  # type: ignore[arg-type]
        (one,) = fits(again, [card])
        return one.verdict == fit.verdict

    assert fit.batch is not None
    assert fits_with(batch=fit.batch)
    assert not fits_with(batch=fit.batch + 1)
    assert fit.seq == 1024  # the model's positions
    if regime == "full":
        assert fit.r is None
    else:
        assert fit.r == 768  # the narrower side of its matrices
    assert found.budgets[0].total_bytes == fit.needs_bytes


def test_what_would_make_it_fit() -> None:
    """GPT-2 takes 2 GiB of master copy and moments; with fewer rows, or layers run twice, 16 rows fit on 8 GB."""
    _, (fit,) = stretched_memory("gpt2", [gpu("8GB")], regimes=["full"], batch=8, seq=1024)
    assert fit.verdict == DOES_NOT_FIT
    changes = {each.change: each.needs_bytes for each in fit.changes}
    assert "--batch 4" in changes or "--batch 2" in changes
    assert "--gradient-checkpointing" in changes
    least = fit.reserve_bytes[0]
    assert all(needs < fit.offers_bytes < fit.needs_bytes + least for needs in changes.values())
    again = hfcount.memory("gpt2", regimes=["full"], batch=8, seq=1024, gradient_checkpointing=True)
    assert changes["--gradient-checkpointing"] == again.full.total_bytes


def test_where_nothing_fits() -> None:
    _, (fit,) = stretched_memory("llama-65b", [gpu("t4")], regimes=["full"], seq=128)
    assert (fit.fits, fit.batch, fit.seq) == (False, 0, 0)


def test_a_headroom_stands_for_the_whole_reserve() -> None:
    found = hfcount.memory("gpt2", regimes=["full"])
    (fit,) = fits(found, [gpu("t4")], headroom="25%")
    assert fit.reserve_bytes == (round(gpu("t4").total_bytes / 4),) * 2
    assert fit.verdict != TIGHT
    assert fit.needs_bytes > GIB
