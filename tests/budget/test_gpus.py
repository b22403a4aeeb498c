"""The data file of GPUs, and the sizes that people type."""

from __future__ import annotations

import pytest

from hfcount.budget.gpus import GIB, gpu, gpus, reserve_bytes
from hfcount.errors import BadInput


def test_an_alias_belongs_to_one_gpu() -> None:
    names = [alias for each in gpus() for alias in {each.name.lower(), *each.aliases}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("each", gpus(), ids=lambda each: each.name)
def test_the_driver_shows_about_what_is_sold(each) -> None:  # type: ignore[no-untyped-def]
    """GDDR6 with ECC on shows 15/16 of it, and vendors mean 10^9 or 2^30 by GB as they please."""
    if each.vendor == "Apple":  # Metal's limit is two thirds of the memory or more
        assert 0.66 * each.nominal_gb * 2**30 <= each.total_bytes <= 0.95 * each.nominal_gb * 2**30
    else:
        assert 0.92 * each.nominal_gb * 2**30 <= each.total_bytes <= 1.025 * each.nominal_gb * 2**30
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
    with pytest.raises(BadInput, match=r"'abacus' is not known: `hfcount list gpus` has all names"):
        gpu("abacus")


def test_headroom() -> None:
    assert reserve_bytes(None, 10 * GIB, 0) == (240 * 2**20, 1400 * 2**20)
    assert reserve_bytes("800MiB", 10 * GIB, GIB) == (800 * 2**20,) * 2
    assert reserve_bytes("2.5 GB", 10 * GIB, GIB) == (2_500_000_000,) * 2
    assert reserve_bytes("5%", 10 * GIB, GIB) == (GIB // 2,) * 2
    with pytest.raises(BadInput, match="leaves nothing of"):
        reserve_bytes("10GiB", 10 * GIB, GIB)
    with pytest.raises(BadInput, match=r"as in 1.5GiB, 800MiB or 5%"):
        reserve_bytes("much", 10 * GIB, GIB)


def test_a_size_is_a_card_too() -> None:
    assert gpu("24GiB").total_mib == 24 * 1024
    sold = [each.total_mib for each in gpus() if each.nominal_gb == 24 and each.vendor == "NVIDIA"]
    assert gpu("24 gb").total_mib == min(sold)
    assert gpu("24G") == gpu("24GB")
    assert gpu("7GB").total_bytes <= 7 * 10**9  # no card is sold with so much


def test_this_machines_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    import torch

    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="torch sees no GPU"):
            gpu("auto")
    found = types.SimpleNamespace(name="Tesla T4", total_memory=15_843_721_216, major=7, minor=5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert (gpu("auto").total_mib, gpu("auto").capability, gpu("auto").bf16) == (15_109, "7.5", False)


@pytest.mark.parametrize(
    ("name", "capability"),  # from NVIDIA's table of CUDA GPUs
    [("t4", "7.5"), ("a100-80gb", "8.0"), ("rtx 3090", "8.6"), ("l4", "8.9"), ("h100-80gb", "9.0"), ("b200", "10.0"),
     ("rtx 5090", "12.0")],
)  # fmt: skip
def test_what_a_card_can_do(name: str, capability: str) -> None:
    assert gpu(name).capability == capability


def test_bf16_begins_with_ampere() -> None:
    for each in gpus():
        if each.vendor == "NVIDIA":
            assert each.bf16 == (float(each.capability) >= 8), each.name


def test_several_of_one() -> None:
    assert (gpu("8 x H100").count, gpu("8xh100").name) == (8, f"8x{gpu('h100').name}")
    assert gpu("8xh100").total_mib == gpu("h100").total_mib
    assert gpu("1x4090") == gpu("4090")
    for typed in ("0x4090", "2x", "x4090"):
        with pytest.raises(BadInput):
            gpu(typed)
