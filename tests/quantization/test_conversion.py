"""What transformers converts, and what the whole model then weighs: small models saved, and loaded for real."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from tiny_models import CONFIGS, dtype_name, kept_in_fp32, load, real_bytes, save, skeleton
from transformers import PreTrainedModel

from hfcount.budget.buckets import loaded_dtypes
from hfcount.budget.recipes import BYTES
from hfcount.errors import UnsoundForm
from hfcount.inventory import inventory
from hfcount.quantization import Quantized, Scheme, quantize
from hfcount.quantization.conversion import converted_modules, quantization_config

MODULE: Any = sys.modules["hfcount.quantization.quantize"]  # the function of that name hides it

SCHEMES = {
    "nf4": Scheme(),
    "nf4-double": Scheme(double=True),
    "fp4": Scheme(kind="fp4"),
    "int8": Scheme(kind="int8"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(kind, tmp_path_factory.mktemp(kind)) for kind in CONFIGS}


def quantized(model: str | Path, scheme: Scheme) -> Quantized:
    """Of a folder or a card."""
    build = functools.partial(skeleton, model)
    return quantize(build, inventory(build()), scheme)


def loaded(kind: str, folder: Path, scheme: Scheme, dtype: torch.dtype) -> PreTrainedModel:
    return load(kind, folder, quantization_config=quantization_config(scheme), device_map="cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=dtype_name)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_loaded_model_to_the_byte(kind: str, scheme: Scheme, dtype: torch.dtype, folders: dict[str, Path]) -> None:
    model = loaded(kind, folders[kind], scheme, dtype)
    real = {name for name, each in model.named_modules() if isinstance(each, (Linear4bit, Linear8bitLt))}
    build = functools.partial(skeleton, folders[kind])
    table = inventory(build())
    found = quantize(build, table, scheme)
    assert set(found.modules) == real

    dtypes = loaded_dtypes(table, dtype_name(dtype), kept=kept_in_fp32(build(), dtype), explicit="float32")
    plain = table["numel"] * [BYTES[each] for each in dtypes]
    ours = dict(zip(table["name"], found.bytes.where(found.rows, plain), strict=True))
    theirs = {name: real_bytes(parameter) for name, parameter in model.named_parameters()}
    wrong = {name: (ours.get(name), theirs.get(name)) for name in ours | theirs if ours.get(name) != theirs.get(name)}
    assert not wrong, f"(closed form, loaded): {wrong}"
    assert sum(ours.values()) == sum(theirs.values())
    assert found.stored.total == found.bytes.sum() == sum(theirs[f"{module}.weight"] for module in real)


def test_what_stays(folders: dict[str, Path]) -> None:
    """LM heads, what a class keeps in fp32, and fused experts; which and why is transformers' own business."""
    modules = {kind: converted_modules(skeleton(folder), Scheme()) for kind, folder in folders.items()}
    assert {kind: len(found) for kind, found in modules.items()} == {
        "mini-gpt": 2 * 6,  # q, k, v, o, fc1, fc2
        "gpt2": 2 * 4,  # transposed Conv1D: c_attn, c_proj, c_fc, c_proj
        "llama": 2 * 7,
        "t5": 2 * (4 + 2) + 2 * (4 + 4 + 2),  # q, k, v, o twice in the decoder, wi_0 and wi_1; not wo
        "mixtral": 2 * 4,  # attention; the router is a plain parameter, the experts are two fused ones
    }
    everything = [name for found in modules.values() for name in found]
    assert not [name for name in everything if name.endswith(("lm_head", ".wo", "gate", "experts"))]
    assert [name for name in modules["t5"] if name.endswith(".wi_0")]


@pytest.mark.parametrize("storage_bytes", [2, 4])
def test_storage_in_wider_elements(storage_bytes: int, folders: dict[str, Path]) -> None:
    """bnb_4bit_quant_storage, on a model whose matrices all fill whole elements of it."""
    scheme = Scheme(storage_bytes=storage_bytes)
    model = loaded("gpt2", folders["gpt2"], scheme, torch.bfloat16)
    found = quantized(folders["gpt2"], scheme)
    weights = [each.weight for each in model.modules() if isinstance(each, Linear4bit)]
    assert {each.dtype.itemsize for each in weights} == {storage_bytes}
    assert found.stored.total == sum(map(real_bytes, weights))


def test_fused_experts_stay_and_are_told(folders: dict[str, Path]) -> None:
    found = quantized(folders["mixtral"], Scheme())
    assert found.fused == 2 * 3 * 3 * 48 * 55  # layers, experts, gate, up and down
    assert quantized(folders["llama"], Scheme()).fused == 0


def test_conv1d_scales_follow_the_outputs(folders: dict[str, Path]) -> None:
    """A Conv1D holds inputs x outputs; LLM.int8() has a scale for each output: 4·(3d + d + 4d + d) a layer."""
    found = quantized(folders["gpt2"], Scheme(kind="int8"))
    assert found.stored.absmax == 2 * 4 * 9 * 36
    assert found.stored.packed == 2 * 12 * 36 * 36


def test_mixtral_8x7b() -> None:
    """32 layers: 4 attention matrices each are converted; 8 experts of 3 · 4096 · 14336 each are not."""
    found = quantized("card:mixtral-8x7b", Scheme())
    assert len(found.modules) == 128
    assert found.fused == 45_097_156_608 == 32 * 8 * 3 * 4096 * 14336
    weights = 32 * (2 * 4096**2 + 2 * 4096 * 1024)
    assert (found.stored.packed, found.stored.absmax) == (weights // 2, weights // 16)
    assert found.stored.tables == 128 * 64


def test_gpt2() -> None:
    found = quantized("card:gpt2", Scheme(double=True))
    assert len(found.modules) == 48
    assert not any("wte" in name or "wpe" in name or "lm_head" in name for name in found.modules)
    weights = 12 * 12 * 768**2
    assert (found.stored.packed, found.stored.absmax) == (weights // 2, weights // 64)
    assert found.stored.nested == weights // 64 // 256 * 4 + 48 * 4
    assert found.stored.tables == 48 * (64 + 1024)


def test_the_backend_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    version = bitsandbytes.__version__
    monkeypatch.setattr(MODULE, "device", lambda: "cpu")
    assert quantized(folders["llama"], Scheme()).backend == (
        f"closed form, equal to what bitsandbytes {version} stores on the CPU for every distinct shape"
    )
    # An embedding of 32,000 is no Linear; 4096 x 4096 is beyond the CPU's limit, 1024 x 4096 is at it.
    assert quantized("card:mixtral-8x7b", Scheme()).backend.endswith("on the CPU for 1 of 2 distinct shapes")
    monkeypatch.setattr(MODULE, "measured", lambda *_: None)
    assert quantized(folders["llama"], Scheme()).backend.startswith("closed form alone: ")
    assert MODULE.confirmed([], Scheme()) == "nothing is quantized"


def test_other_bytes_than_bitsandbytes_are_an_unsound_form(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = MODULE.measured

    def one_more(shape: tuple[int, ...], scheme: Scheme, where: str) -> object:
        real = right(shape, scheme, where)
        return dataclasses.replace(real, absmax=real.absmax + 1) if shape == (24, 48) else real

    monkeypatch.setattr(MODULE, "measured", one_more)
    with pytest.raises(UnsoundForm) as caught:
        quantized(folders["llama"], Scheme())
    said = str(caught.value)
    assert said.startswith("nf4 of a 24 x 48 matrix: the closed form has Stored(packed=576, absmax=72")
    assert "stores Stored(packed=576, absmax=73" in said


def test_the_config_is_what_transformers_is_asked_for() -> None:
    config = quantization_config(Scheme(kind="fp4", double=True, storage_bytes=2))
    assert config.quantization_method() == "fp4"
    assert config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_quant_storage == torch.bfloat16
    assert quantization_config(Scheme(kind="int8")).quantization_method() == "llm_int8"
