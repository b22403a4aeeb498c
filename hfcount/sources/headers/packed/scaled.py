"""Weights that keep their shape, an element each, in eight bits, with scales beside them.

FP8 with block scales (DeepSeek-V3: `weight_scale_inv`, 128 x 128 to a scale; transformers/integrations/
finegrained_fp8.py), per channel or tensor (`weight_scale`: FBGEMM, ModelOpt), compressed-tensors' int-, float- and
naive-quantized and MXFP8. Where the codes are bytes of less than eight bits, `microscaled` has the shape.

A scale is named by its weight: `NAME_scale`, `NAME_scale_inv`, where NAME is mostly "weight", of fused experts
"gate_up_proj"; DeepSeek's own files have `scale` beside `weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import EXPONENTS, FLOAT8, Settings, method
from hfcount.sources.headers.packed.microscaled import microscaled
from hfcount.sources.headers.packed.table import Table

OF_WEIGHT = ("scale_inv", "scale", "scale_2", "zero_point", "global_scale", "activation_scale", "shape", "g_idx")
"""What stands behind the weight's own name and "_"."""

OF_MODULE = (
    *("scale", "input_scale", "input_zero_point", "input_global_scale", "input_scale_ub", "activation_scale"),
    *("output_scale", "output_zero_point", "pre_quant_scale"),
)
"""What stands beside it in its module."""


class Scaled:
    """FP8 and INT8; FP4 and FP6 in bytes."""

    methods: ClassVar[frozenset[str]] = frozenset(
        {"fp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "nvfp4", "mxfp8", "quark"}
    )

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        stated = method(settings)
        for name, scale in _scales(table):
            codes = table.get(name)
            if codes is None:
                continue
            found = microscaled(codes, scale) if _may_be_packed(codes, scale) else None
            kind, shape = found or (_kind(codes, scale), codes.shape)
            if not kind:
                continue
            table.claim(name, parts_of(name), dtype=codes.dtype if found is None else kind, shape=shape)
            kinds.append(f"compressed-tensors {kind}" if stated == "compressed-tensors" else kind)
        return kinds


def parts_of(name: str) -> list[str]:
    """All names that may belong to the weight of this name."""
    module = name.rpartition(".")[0]
    before = f"{module}." if module else ""
    own = OF_MODULE if name.rpartition(".")[2] == "weight" else ()
    return [name, *(f"{name}_{part}" for part in OF_WEIGHT), *(before + part for part in own)]


def _scales(table: Table) -> Iterator[tuple[str, StoredTensor]]:
    """Every scale with the name of the weight that it would belong to."""
    yield from table.ending("_scale_inv")
    yield from table.ending("_scale")
    for before, scale in table.named("scale"):
        yield before + "weight", scale


def _may_be_packed(codes: StoredTensor, scale: StoredTensor) -> bool:
    """Whether the codes are bytes that no INT8 weight would be: U8, or I8 under powers of two."""
    return codes.dtype == "U8" or (codes.dtype == "I8" and scale.dtype in EXPONENTS - {"U8"})


def _kind(codes: StoredTensor, scale: StoredTensor) -> str:
    """What an element of eight bits is called with such scales; "" for what is none."""
    if codes.dtype == "I8":
        return "int8"
    if codes.dtype not in FLOAT8:
        return ""
    if scale.elements == 1 or len(scale.shape) < 2 or len(codes.shape) != len(scale.shape):
        return "fp8"
    if scale.dtype in EXPONENTS and codes.shape[-1] == 32 * scale.shape[-1]:
        return "mxfp8"
    by_block = scale.shape[-1] > 1 or 1 < scale.shape[-2] != codes.shape[-2]
    return "fp8 with block scales" if by_block else "fp8"
