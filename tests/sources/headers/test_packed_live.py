"""Packed weights made here and now by the installed transformers and bitsandbytes, and unpacked from their headers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from packed_cases import assert_sums, header, parameters

from hfcount.sources.headers import Checkpoint, Header, StoredTensor
from hfcount.sources.headers.unpacking import unpack

TORCH_DTYPES = {
    "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float32": "F32",
    "torch.bfloat16": "BF16",
    "torch.uint8": "U8",
}


def header_of_file(path: Path) -> Header:
    """A safetensors header, read by hand."""
    data = path.read_bytes()
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = table.pop("__metadata__", {})
    rows = (
        StoredTensor(name, row["dtype"], tuple(row["shape"]), row["data_offsets"][1] - row["data_offsets"][0])
        for name, row in table.items()
    )
    return Header(format="safetensors", tensors=tuple(rows), metadata=metadata)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """A small Llama on disk, and the shapes of its weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 131}
    config = LlamaConfig(
        num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, attention_bias=True, **sizes
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    path = tmp_path_factory.mktemp("llama")
    model.save_pretrained(path)
    return path, {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("options", "packing"),
    [
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes nf4"),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
            "bitsandbytes nf4",
        ),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "bitsandbytes fp4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}, "bitsandbytes fp4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "float32"}, "bitsandbytes fp4"),
        ({"load_in_8bit": True}, "bitsandbytes int8"),
    ],
)
@pytest.mark.parametrize("with_config", [True, False])
def test_bitsandbytes(
    options: dict[str, Any],
    packing: str,
    with_config: bool,
    llama: tuple[Path, dict[str, tuple[int, ...]]],
    tmp_path: Path,
) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    path, real = llama
    model = AutoModelForCausalLM.from_pretrained(path, quantization_config=BitsAndBytesConfig(**options))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) if with_config else None
    checkpoint = unpack(header_of_file(tmp_path / "model.safetensors"), config)
    assert checkpoint.packing == packing
    assert checkpoint.exact
    assert parameters(checkpoint) == {name: math.prod(shape) for name, shape in real.items()}
    known = {entry.name: entry.shape for entry in checkpoint.entries if entry.shape}
    assert known == {name: real[name] for name in known}
    hidden = {name for name in real if "mlp" in name} if "load_in_4bit" in options else set()
    assert set(real) - set(known) == hidden, "attention has biases, which tell the shapes"
    assert_sums(checkpoint)


@pytest.mark.parametrize("shape", [(33, 31), (1, 63), (7, 9), (64, 64), (64, 31), (24, 64)])
@pytest.mark.parametrize("storage", ["uint8", "bfloat16", "float32"])
@pytest.mark.parametrize("side", [None, 0, 1])
def test_two_elements_share_a_byte(shape: tuple[int, int], storage: str, side: int | None) -> None:
    """What the last item lacks a header does not say: certain is only what a norm's width makes so."""
    import torch
    from bitsandbytes.functional import quantize_4bit

    packed, state = quantize_4bit(torch.ones(shape), quant_type="nf4", quant_storage=getattr(torch, storage))
    dtype, item = {"uint8": ("U8", 1), "bfloat16": ("BF16", 2), "float32": ("F32", 4)}[storage]
    tensors = {"a.weight": (dtype, tuple(packed.shape)), "a.weight.absmax": ("F32", tuple(state.absmax.shape))}
    if side is not None:
        tensors["norm.weight"] = ("F32", (shape[side],))
    entry = unpack(header(tensors)).entries[0]
    assert entry.parameters - math.prod(shape) in range(2 * item)
    assert entry.exact is (side is not None and shape[side] % (2 * item) == 0)
    assert entry.parameters == math.prod(shape) or not entry.exact


@pytest.mark.parametrize("outputs", [3, 31, 64])
def test_a_bias_tells_the_shape(outputs: int) -> None:
    import torch
    from bitsandbytes.functional import quantize_4bit

    packed, state = quantize_4bit(torch.ones(outputs, 31), quant_type="nf4")
    tensors = {
        "a.weight": ("U8", tuple(packed.shape)),
        "a.weight.absmax": ("F32", tuple(state.absmax.shape)),
        "a.bias": ("F32", (outputs,)),
    }
    entry = unpack(header(tensors)).entries[0]
    assert (entry.shape, entry.parameters, entry.exact) == ((outputs, 31), outputs * 31, True)


def unpacked(tensors: dict[str, Any], config: dict[str, Any] | None = None) -> Checkpoint:
    """The checkpoint of these torch tensors."""
    facts = {name: (TORCH_DTYPES[str(value.dtype)], tuple(value.shape)) for name, value in tensors.items()}
    return unpack(header(facts), config)


@pytest.mark.parametrize("shape", [(256, 384), (256, 128), (3, 256, 128)])
def test_fp8_with_block_scales(shape: tuple[int, ...]) -> None:
    """By the operation with which transformers quantizes on loading."""
    import torch
    from transformers import FineGrainedFP8Config
    from transformers.integrations.finegrained_fp8 import Fp8Quantize

    class Quantizer:
        quantization_config = FineGrainedFP8Config()

    name = "experts.gate_up_proj" if len(shape) == 3 else "q_proj.weight"
    checkpoint = unpacked(Fp8Quantize(Quantizer()).convert({name: torch.randn(shape)}))
    assert [(entry.name, entry.shape, entry.exact) for entry in checkpoint.entries] == [(name, shape, True)]
    assert checkpoint.packing == "fp8 with block scales"
    assert_sums(checkpoint)


@pytest.mark.parametrize(("rows", "inputs"), [(128, 64), (96, 2880)])
def test_mxfp4_as_gpt_oss_unpacks_it(rows: int, inputs: int) -> None:
    import torch
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    blocks = torch.zeros(2, rows, inputs // 32, 16, dtype=torch.uint8)
    scales = torch.zeros(2, rows, inputs // 32, dtype=torch.uint8)
    real = convert_moe_packed_tensors(blocks, scales)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    checkpoint = unpacked({f"{name}_blocks": blocks, f"{name}_scales": scales})
    assert [(entry.name, entry.shape) for entry in checkpoint.entries] == [(name, tuple(real.shape))]
    assert checkpoint.exact
    assert checkpoint.packing == "mxfp4"


def test_bitnet_as_transformers_packs_it() -> None:
    import torch
    from transformers.integrations.bitnet import pack_weights

    packed = pack_weights(torch.zeros(64, 48))
    tensors = {"q_proj.weight": packed, "q_proj.weight_scale": torch.ones(1, dtype=torch.bfloat16)}
    stated = unpacked(tensors, {"quantization_config": {"quant_method": "bitnet"}})
    assert [(entry.name, entry.shape, entry.exact) for entry in stated.entries] == [("q_proj.weight", (64, 48), True)]
    silent = unpacked(tensors)
    assert not silent.exact
    assert silent.parameters == packed.numel() + 1
