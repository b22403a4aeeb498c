"""Whatever a header and a config say, unpacking counts every stored tensor once and does not raise."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from packed_cases import BYTES, assert_sums, header

from hfcount.sources.headers.unpacking import unpack

MODULES = ("", "a.", "model.layers.0.q_proj.", "a.weight.")
PARTS = (
    *("weight", "bias", "absmax", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4", "SCB"),
    *("qweight", "qzeros", "scales", "g_idx", "scaled_zeros", "biases", "W_q", "scale", "zero", "shape", "meta"),
    *("weight_packed", "weight_scale", "weight_shape", "weight_g_idx", "scale_packed", "weight_scale_inv"),
    *("gate_up_proj_blocks", "gate_up_proj_scales", "gate_up_proj", "gate_up_proj_scale_inv", "compressed", "bitmask"),
    *("_weight_qdata", "_weight_scale", "input_scale", "k_scale", "_qdata", "_packed", "_scale", "_blocks", "_scales"),
)
NAMES = st.builds(str.__add__, st.sampled_from(MODULES), st.sampled_from(PARTS))
SIZES = st.one_of(st.integers(0, 9), st.sampled_from((16, 32, 64, 96, 128, 256, 4096, 2**40)))
TENSORS = st.dictionaries(
    NAMES,
    st.tuples(st.sampled_from(sorted(BYTES)), st.lists(SIZES, max_size=4).map(tuple)),
    max_size=14,
)
METHODS = ("bitsandbytes", "gptq", "awq", "hqq", "torchao", "mlx", "metal", "bitnet", "compressed-tensors", "fp8", "x")
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "quant_method": st.sampled_from(METHODS) | JUNK,
        "bits": st.integers(-1, 40) | JUNK,
        "group_size": st.integers(-1, 256) | JUNK,
        "quant_config": st.fixed_dictionaries({"weight_quant_params": st.fixed_dictionaries({"nbits": JUNK})}) | JUNK,
        "config_groups": st.dictionaries(
            st.just("g"),
            st.fixed_dictionaries(
                {"weights": st.fixed_dictionaries({"num_bits": st.integers(0, 9), "group_size": st.integers(0, 130)})}
            )
            | JUNK,
        )
        | JUNK,
    },
)
CONFIGS = st.none() | st.fixed_dictionaries({"quantization_config": SETTINGS | JUNK}) | st.just({"text_config": 3})
METADATA = st.dictionaries(
    st.sampled_from(("a.weight", "weight", "general.architecture")),
    st.sampled_from(("{}", "[]", '{"_type": 3, "_data": {"shape": [1, -1]}}', '{"_data": {"shape": [2]}}', "{" * 9)),
    max_size=2,
)


@settings(max_examples=400, deadline=None)
@given(tensors=TENSORS, config=CONFIGS, metadata=METADATA)
def test_every_stored_tensor_is_counted_once(
    tensors: dict[str, tuple[str, tuple[int, ...]]], config: dict[str, Any] | None, metadata: dict[str, str]
) -> None:
    checkpoint = unpack(header(tensors, metadata), config)
    assert_sums(checkpoint)
    assert all(entry.parameters >= 0 and entry.stored for entry in checkpoint.entries)
    assert checkpoint.exact or checkpoint.notes


@settings(max_examples=100, deadline=None)
@given(
    out=st.integers(1, 64).map(lambda n: 32 * n),
    inputs=st.integers(1, 64).map(lambda n: 128 * n),
    bits=st.sampled_from((2, 3, 4, 8)),
    group=st.sampled_from((32, 64, 128)),
    order=st.booleans(),
)
def test_gptq_of_any_size(out: int, inputs: int, bits: int, group: int, order: bool) -> None:
    tensors = {
        "a.qweight": ("I32", (inputs // 32 * bits, out)),
        "a.qzeros": ("I32", (inputs // group, out // 32 * bits)),
        "a.scales": ("F16", (inputs // group, out)),
    }
    if order:
        tensors["a.g_idx"] = ("I32", (inputs,))
    (entry,) = unpack(header(tensors)).entries
    assert (entry.shape, entry.exact, entry.dtype) == ((out, inputs), True, f"int{bits} (gptq)")
