"""Published layouts that nothing on a CPU packs, by their formulas; and the sums that were taken for counts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from packed_cases import assert_sums, header, parameters

from hfcount.configs import load_config
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve
from hfcount.sources.headers import Checkpoint, Entry
from hfcount.sources.headers.unpacking import unpack

LAYER = "model.layers.0.mlp.up_proj"
LLAMA = 8_030_261_248
"""Llama-3.1-8B's parameters, printed by its card as 8B and by the Hub's sidebar as 8.03B (8,030,261,248)."""

NF4_SUM, GPTQ_SUM = 4_650_159_296, 1_985_941_504
"""What one gets who adds up the stored elements of an 8B in NF4 and in GPTQ."""


def only(checkpoint: Checkpoint) -> Entry:
    assert_sums(checkpoint)
    (entry,) = checkpoint.entries
    return entry


def shapes(card: str) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a card's model, from the class built empty."""
    model = build_skeleton(load_config(resolve(card))).model
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def is_packed(name: str) -> bool:
    return "_proj." in name


def nested_nf4(name: str, shape: tuple[int, ...], blob: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """NF4 with double quantization (blocks of 64, 256 of their scales to a block)."""
    blocks = math.prod(shape) // 64
    return {
        name: ("U8", (math.prod(shape) // 2, 1)),
        f"{name}.absmax": ("U8", (blocks,)),
        f"{name}.quant_map": ("F32", (16,)),
        f"{name}.nested_absmax": ("F32", (-(-blocks // 256),)),
        f"{name}.nested_quant_map": ("F32", (256,)),
        f"{name}.quant_state.bitsandbytes__nf4": ("U8", (blob,)),
    }


def gptq(name: str, shape: tuple[int, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Four bits, groups of 128."""
    out, inputs = shape
    before = name.removesuffix("weight")
    return {
        f"{before}qweight": ("I32", (inputs // 8, out)),
        f"{before}qzeros": ("I32", (inputs // 128, out // 8)),
        f"{before}scales": ("F16", (inputs // 128, out)),
        f"{before}g_idx": ("I32", (inputs,)),
    }


@pytest.mark.parametrize("kind", ["nf4", "gptq"])
def test_the_sum_of_an_8b_and_its_parameters(kind: str) -> None:
    """The naive sums hold every tensor of the format: in NF4 scales, their scales, both code books and a state of 90
    bytes a matrix (bitsandbytes' own states have 170 or so); in GPTQ zeros, scales and group indices."""
    real = shapes("card:llama-3.1-8b")
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, shape in real.items():
        if not is_packed(name):
            tensors[name] = ("BF16", shape)
        else:
            tensors |= nested_nf4(name, shape, 90) if kind == "nf4" else gptq(name, shape)
    checkpoint = unpack(header(tensors))
    assert checkpoint.stored_elements == {"nf4": NF4_SUM, "gptq": GPTQ_SUM}[kind]
    assert checkpoint.parameters == LLAMA
    assert checkpoint.exact
    assert parameters(checkpoint) == {name: math.prod(shape) for name, shape in real.items()}
    assert_sums(checkpoint)


AWQ_LAYOUTS = {
    "gemm": {"qweight": ("I32", (512, 96)), "qzeros": ("I32", (4, 96)), "scales": ("F16", (4, 768))},
    "gemv": {"qweight": ("I32", (768, 64)), "qzeros": ("I32", (768, 1)), "scales": ("F16", (768, 8))},
    "gemv_fast": {"qweight": ("I16", (192, 512)), "scaled_zeros": ("F16", (8, 768)), "scales": ("F16", (8, 768))},
    "marlin": {"qweight": ("I32", (32, 1536)), "scales": ("F16", (4, 768))},
}
"""768 outputs, 512 inputs, groups of 128 (AutoAWQ, awq/modules/linear)."""


@pytest.mark.parametrize("layout", AWQ_LAYOUTS)
@pytest.mark.parametrize("config", [None, {"quantization_config": {"quant_method": "awq", "bits": 4}}])
def test_awq(layout: str, config: dict[str, Any] | None) -> None:
    tensors = {f"{LAYER}.{part}": facts for part, facts in AWQ_LAYOUTS[layout].items()}
    checkpoint = unpack(header(tensors), config)
    entry = only(checkpoint)
    assert (entry.name, entry.shape, entry.exact) == (f"{LAYER}.weight", (768, 512), True)
    assert (entry.dtype, checkpoint.packing) == ("int4 (awq)", f"awq {layout}")


SCALED: dict[str, tuple[dict[str, tuple[str, tuple[int, ...]]], tuple[int, ...], str]] = {
    "DeepSeek-V3": (
        {"weight": ("F8_E4M3", (1536, 7168)), "weight_scale_inv": ("F32", (12, 56))},
        (1536, 7168),
        "fp8 with block scales",
    ),
    "DeepSeek-V3, the last block shorter": (
        {"weight": ("F8_E4M3", (576, 7168)), "weight_scale_inv": ("F32", (5, 56))},
        (576, 7168),
        "fp8 with block scales",
    ),
    "DeepSeek's own names": (
        {"weight": ("F8_E4M3", (256, 512)), "scale": ("F8_E8M0", (2, 4))},
        (256, 512),
        "fp8 with block scales",
    ),
    "DeepSeek-V4's experts": ({"weight": ("I8", (256, 256)), "scale": ("F8_E8M0", (256, 16))}, (256, 512), "mxfp4"),
    "FBGEMM": ({"weight": ("F8_E4M3", (64, 32)), "weight_scale": ("F32", (64, 1))}, (64, 32), "fp8"),
    "ModelOpt FP8": (
        {"weight": ("F8_E4M3", (64, 32)), "weight_scale": ("F32", ()), "input_scale": ("F32", ())},
        (64, 32),
        "fp8",
    ),
    "ModelOpt NVFP4": (
        {
            "weight": ("U8", (64, 32)),
            "weight_scale": ("F8_E4M3", (64, 4)),
            "weight_scale_2": ("F32", ()),
            "input_scale": ("F32", ()),
        },
        (64, 64),
        "nvfp4",
    ),
    "Quark MXFP4": ({"weight": ("U8", (64, 32)), "weight_scale": ("U8", (64, 2))}, (64, 64), "mxfp4"),
}


@pytest.mark.parametrize("case", SCALED)
def test_scales_beside_the_weight(case: str) -> None:
    parts, shape, packing = SCALED[case]
    checkpoint = unpack(header({f"{LAYER}.{part}": facts for part, facts in parts.items()}))
    entry = only(checkpoint)
    assert (entry.name, entry.shape, entry.exact) == (f"{LAYER}.weight", shape, True)
    assert checkpoint.packing == packing


def test_scales_of_the_kv_cache_are_no_parameters() -> None:
    tensors = {
        f"{LAYER}.weight": ("F8_E4M3", (64, 32)),
        f"{LAYER}.weight_scale": ("F32", ()),
        "model.layers.0.self_attn.k_scale": ("F32", ()),
        "model.layers.0.self_attn.v_scale": ("F32", ()),
    }
    checkpoint = unpack(header(tensors))
    assert checkpoint.parameters == 64 * 32
    assert [entry.role for entry in checkpoint.entries] == ["weight", "scale", "scale"]
    assert_sums(checkpoint)


def test_gpt_oss_has_the_classes_shapes() -> None:
    """The released file's blocks of one layer are as the class has its experts (config of gpt-oss-20b)."""
    real = shapes("card:gpt-oss-20b")
    start = "model.layers.0.mlp.experts"
    tensors = {
        f"{start}.gate_up_proj_blocks": ("U8", (32, 5760, 90, 16)),
        f"{start}.gate_up_proj_scales": ("U8", (32, 5760, 90)),
        f"{start}.gate_up_proj_bias": ("BF16", (32, 5760)),
        f"{start}.down_proj_blocks": ("U8", (32, 2880, 90, 16)),
        f"{start}.down_proj_scales": ("U8", (32, 2880, 90)),
        f"{start}.down_proj_bias": ("BF16", (32, 2880)),
    }
    checkpoint = unpack(header(tensors))
    assert {entry.name: entry.shape for entry in checkpoint.entries} == {
        name: shape for name, shape in real.items() if name.startswith(f"{start}.")
    }
    assert checkpoint.exact


def test_torchao_metadata_that_lies_is_not_believed() -> None:
    text = json.dumps({"_type": "Int4Tensor", "_data": {"shape": [10**9, 10**9]}, "_tensor_data_names": ["qdata"]})
    checkpoint = unpack(header({"a._weight_qdata": ("I32", (64, 8))}, {"a.weight": text}))
    assert (checkpoint.parameters, checkpoint.exact) == (512, False)


UNKNOWN = {
    "AQLM": {"codes": ("I16", (64, 4, 1)), "codebooks": ("F16", (1, 256, 1, 8)), "scales": ("F16", (64, 1, 1, 1))},
    "EETQ": {"weight": ("I8", (64, 32)), "weight_scales": ("F16", (32,))},
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_packing_degrades(case: str) -> None:
    tensors = {f"{LAYER}.{part}": facts for part, facts in UNKNOWN[case].items()} | {"norm.weight": ("F32", (64,))}
    checkpoint = unpack(header(tensors), {"quantization_config": {"quant_method": case.lower()}})
    assert checkpoint.parameters == checkpoint.stored_elements
    assert not checkpoint.exact
    assert [entry.exact for entry in checkpoint.entries if entry.name == "norm.weight"] == [True]
    first = next(iter(tensors))
    assert checkpoint.notes == (
        f"1 tensor of {tensors[first][0]} may be packed in a way that is not known ({first}): stored elements are"
        " counted as parameters",
        f"the config says {case.lower()}, and no tensor is packed in a way that is known",
    )
    assert_sums(checkpoint)


def test_what_is_not_packed_stays_as_it_is() -> None:
    """Masks in bytes, positions and counters are buffers, and a tied head that is stored twice is two entries."""
    tensors = {
        "wte.weight": ("F32", (130, 64)),
        "lm_head.weight": ("F32", (130, 64)),
        "h.0.attn.bias": ("U8", (1, 1, 32, 32)),
        "h.0.attn.masked_bias": ("F32", ()),
        "embeddings.position_ids": ("I64", (1, 512)),
        "bn.num_batches_tracked": ("I64", ()),
    }
    checkpoint = unpack(header(tensors), {"model_type": "gpt2"})
    assert checkpoint.exact
    assert not checkpoint.notes
    assert checkpoint.packing == ""
    assert [(entry.name, entry.shape) for entry in checkpoint.entries] == [(n, s) for n, (_, s) in tensors.items()]
    assert checkpoint.parameters == checkpoint.stored_elements
    assert_sums(checkpoint)


def test_the_config_of_a_part_counts() -> None:
    """Models of text and images have quantization_config in text_config at times."""
    tensors = {"a.weight": ("U32", (64, 8)), "a.scales": ("F16", (64, 1)), "a.biases": ("F16", (64, 1))}
    settings = {"group_size": 128, "bits": 2}
    assert unpack(header(tensors)).exact is False
    checkpoint = unpack(header(tensors), {"text_config": {"quantization": settings}})
    assert (only(checkpoint).shape, checkpoint.exact) == ((64, 128), True)
