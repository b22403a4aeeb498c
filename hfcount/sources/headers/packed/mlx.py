"""Weights in MLX's affine quantization and its floating-point modes (mlx.core.quantize, mlx.nn.QuantizedLinear).

`weight` (U32) is [..., out, in · b / 32]: the codes of a row run through its words without a gap, 3, 5 and 6 bits over
their borders; `scales` and, in the affine mode, `biases` are [..., out, in / group]. transformers' Metal quantization
is the same with `qbiases` for `biases`. So in · b = 32 · words, and in = group · scales: bits and group are in the
config's `quantization`, for single layers under their names; without them their product alone is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import EXPONENTS, Settings, integer, mapping
from hfcount.sources.headers.packed.table import Table

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (64, 32, 128)
"""The groups of the affine mode, the default first."""

FLOATING = {(32, 4): "mxfp4", (16, 4): "nvfp4", (32, 8): "mxfp8"}
"""The modes whose scales are bytes and that have no biases, by group and bits."""


class MLX:
    """2 to 8 bits."""

    methods: ClassVar[frozenset[str]] = frozenset({"metal", "mlx"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for before, scales in table.named("scales"):
            weight = table.get(before + "weight")
            if weight is None or weight.dtype != "U32" or not scales.shape or weight.shape[:-1] != scales.shape[:-1]:
                continue
            affine = table.get(before + "biases") or table.get(before + "qbiases")
            own = mapping(settings.get(before.removesuffix("."))) or settings
            found = _group_and_bits(weight, scales, own, affine=affine is not None)
            if found is None:
                continue
            group, bits, exact = found
            shape = (*weight.shape[:-1], 32 * weight.shape[-1] // bits)
            mode = "" if affine is not None else FLOATING.get((group, bits), "")
            parts = [before + part for part in ("weight", "scales", "biases", "qbiases")]
            table.claim(weight.name, parts, dtype=mode or f"int{bits} (mlx)", shape=shape, exact=exact)
            kinds.append(f"mlx {mode}".strip())
        return kinds


def _group_and_bits(
    weight: StoredTensor, scales: StoredTensor, settings: Settings, *, affine: bool
) -> tuple[int, int, bool] | None:
    """The group and the bits whose product the shapes tell, and whether that is certain."""
    words, groups = weight.shape[-1], scales.shape[-1]
    if not groups or 32 * words % groups:
        return None
    product = 32 * words // groups
    group, bits = integer(settings, "group_size"), integer(settings, "bits")
    known = bits in BITS if affine else (group, bits) in FLOATING
    if group and bits and known and group * bits == product and 32 * words % bits == 0:
        return group, bits, True
    if affine:
        fitting = [(group, product // group) for group in GROUPS if product % group == 0 and product // group in BITS]
    else:
        fitting = [pair for pair in FLOATING if pair[0] * pair[1] == product and scales.dtype in EXPONENTS]
    return (*fitting[0], len(fitting) == 1) if fitting else None
