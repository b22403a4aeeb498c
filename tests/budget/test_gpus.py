"""The data file of GPUs, and the sizes that people type."""

from __future__ import annotations

import pytest

from hfcount.budget.gpus import GIB, gpu, gpus, headroom_bytes
from hfcount.errors import BadInput


def test_an_alias_belongs_to_one_gpu() -> None:
    names = [alias for each in gpus() for alias in {each.name.lower(), *each.aliases}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("each", gpus(), ids=lambda each: each.name)
def test_the_driver_shows_about_what_is_sold(each) -> None:  # type: ignore[no-untyped-def]
    """GDDR6 with ECC on shows 15/16 of it, and vendors mean 10^9 or 2^30 by GB as they please."""
    assert 0.93 * each.nominal_gb * 2**30 <= each.total_bytes <= 1.003 * each.nominal_gb * 2**30
    assert each.source
    assert str(each.nominal_gb) in each.datasheet


@pytest.mark.parametrize(
    ("typed", "name"), [("RTX 4090", "RTX-4090"), ("4090", "RTX-4090"), ("a100_80gb", "A100-80GB"), ("T4", "T4")]
)
def test_names_as_people_type_them(typed: str, name: str) -> None:
    assert gpu(typed).name == name


def test_an_unknown_gpu_brings_near_names() -> None:
    with pytest.raises(BadInput, match=r"'4091' is not known: did you mean 4090"):
        gpu("4091")
    with pytest.raises(BadInput, match=r"'abacus' is not known: one of .*T4"):
        gpu("abacus")


def test_headroom() -> None:
    assert headroom_bytes(None, 10 * GIB) == GIB
    assert headroom_bytes("800MiB", 10 * GIB) == 800 * 2**20
    assert headroom_bytes("2.5 GB", 10 * GIB) == 2_500_000_000
    assert headroom_bytes("5%", 10 * GIB) == GIB // 2
    with pytest.raises(BadInput, match="leaves nothing of"):
        headroom_bytes("10GiB", 10 * GIB)
    with pytest.raises(BadInput, match=r"as in 1.5GiB, 800MiB or 5%"):
        headroom_bytes("much", 10 * GIB)
