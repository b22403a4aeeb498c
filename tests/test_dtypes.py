"""The tables of element types against torch, the safetensors library and the gguf package."""

from __future__ import annotations

import pytest
import torch

from hfcount.dtypes import BITS, GGUF_TYPES, TORCH_NAMES, TORCH_STORAGES, bits, torch_name

TORCH_DTYPES = sorted({str(value) for value in vars(torch).values() if isinstance(value, torch.dtype)})
HALF_BYTES = {"torch.quint4x2": 4, "torch.quint2x4": 2}


@pytest.mark.parametrize("name", TORCH_DTYPES)
def test_every_dtype_of_torch_has_its_bits(name: str) -> None:
    dtype = getattr(torch, name.removeprefix("torch."))
    ours = torch_name(name)
    assert ours is not None
    assert bits(ours) == HALF_BYTES.get(name, 8 * dtype.itemsize)


def test_names_of_torch_are_those_that_the_library_writes() -> None:
    safetensors_torch = pytest.importorskip("safetensors.torch")
    for theirs, dtype in safetensors_torch._TYPES.items():
        assert torch_name(str(dtype)) == theirs


@pytest.mark.parametrize("storage", sorted({kind.__name__ for kind in torch._storage_classes} - {"TypedStorage"}))
def test_every_storage_class_has_the_type_of_its_elements(storage: str) -> None:
    ours = TORCH_STORAGES[storage]
    if storage == "UntypedStorage":
        assert ours == "U8"
    else:
        assert ours == torch_name(str(torch.storage._storage_type_to_dtype_map()[storage]))


def test_what_nobody_knows_has_no_bits() -> None:
    assert bits("F3") is None
    assert torch_name("float3") is None
    assert set(TORCH_NAMES.values()) <= set(BITS)


def test_the_types_of_gguf_are_those_of_the_package() -> None:
    constants = pytest.importorskip("gguf.constants")
    theirs = {int(kind): (kind.name, *constants.GGML_QUANT_SIZES[kind]) for kind in constants.GGMLQuantizationType}
    ours = {number: (kind.name, kind.block, kind.nbytes) for number, kind in GGUF_TYPES.items()}
    shared = theirs.keys() & ours.keys()
    assert {number: theirs[number] for number in shared} == {number: ours[number] for number in shared}
    assert len(shared) >= 31, "the types of gguf 0.17 at least"
    assert not theirs.keys() - ours.keys(), "types that are new in the package"


def test_bits_of_a_weight_are_the_published_ones() -> None:
    """llama.cpp's table of quantizations: Q4_K 4.5, Q6_K 6.5625, Q8_0 8.5, MXFP4 4.25 bits a weight."""
    published = {"Q4_K": 4.5, "Q6_K": 6.5625, "Q8_0": 8.5, "MXFP4": 4.25, "Q2_K": 2.625, "IQ2_XXS": 2.0625}
    assert {kind.name: kind.bits for kind in GGUF_TYPES.values() if kind.name in published} == published
