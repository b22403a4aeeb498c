"""Weights quantized by bitsandbytes, as its modules save them (bitsandbytes/nn/modules.py, functional.py).

Four bits: `weight` is flat, [n, 1], two elements a byte, in whatever element type `bnb_4bit_quant_storage` names;
beside it `weight.absmax`, `weight.quant_map`, with double quantization `weight.nested_absmax` and
`weight.nested_quant_map`, and `weight.quant_state.bitsandbytes__nf4` (or fp4): a JSON text as bytes, which holds the
shape. That is a value, and
values are not read, so the shape is known only where a bias tells the number of outputs; the elements are known to
the last byte, see `_unpacked`.

Eight bits: `weight` keeps its shape in I8; beside it `SCB`, a scale for every output, and `weight_format`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import FLOATS, Settings
from hfcount.sources.headers.packed.table import Table

_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
_STATE = "quant_state.bitsandbytes__"


class BitsAndBytes4Bit:
    """NF4 and FP4."""

    methods: ClassVar[frozenset[str]] = frozenset({"bitsandbytes"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        common = _common(table)
        kinds = []
        for before, _ in table.named("absmax"):
            weight = table.get(before.removesuffix("."))
            if weight is not None:
                kinds.append(self._claim(table, weight, common))
        return kinds

    def _claim(self, table: Table, weight: StoredTensor, common: int) -> str:
        name = weight.name
        kind = next((kind for kind in ("nf4", "fp4") if table.get(f"{name}.{_STATE}{kind}")), "4-bit")
        shape, elements, exact = _unpacked(weight, table.get(name.removesuffix("weight") + "bias"), common)
        parts = [name, *(f"{name}.{part}" for part in (*_PARTS, f"{_STATE}nf4", f"{_STATE}fp4"))]
        table.claim(name, parts, dtype=kind, shape=shape, parameters=elements, exact=exact)
        return f"bitsandbytes {kind}"


class BitsAndBytes8Bit:
    """LLM.int8()."""

    methods: ClassVar[frozenset[str]] = frozenset({"bitsandbytes"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for before, _ in table.named("SCB"):
            weight = table.get(before + "weight")
            if weight is None:
                continue
            parts = [before + part for part in ("weight", "SCB", "weight_format")]
            table.claim(weight.name, parts, dtype="int8 (bitsandbytes)", shape=weight.shape)
            kinds.append("bitsandbytes int8")
        return kinds


def _unpacked(weight: StoredTensor, bias: StoredTensor | None, common: int) -> tuple[tuple[int, ...], int, bool]:
    """The shape (() where it cannot be told), the elements, and whether these are certain.

    1. The last item of s bytes may be padded: n is in (2·bytes - 2·s, 2·bytes].
    2. Where a bias gives the outputs, n is their multiple, and the only one there as soon as they are 2·s or more.
    3. Else n is taken to fill its bytes. It does if one side of the matrix is a multiple of 2·s, and that is held to
       be certain where the widths of all plain weights are: the vectors that a matrix reads or writes are theirs.
    """
    most = 2 * weight.nbytes
    padding = 2 * (weight.nbytes // weight.elements) if weight.elements else 1
    outputs = bias.elements if bias is not None and len(bias.shape) == 1 else 0
    if outputs and most % outputs < padding:
        inputs = most // outputs
        return (outputs, inputs), outputs * inputs, most % outputs + outputs >= padding
    return (), most, common > 0 and common % padding == 0


def _common(table: Table) -> int:
    """What the last sizes of the plain matrices and vectors (embeddings, norms, heads) have in common as a divisor; 0
    where there are none."""
    widths = {
        tensor.shape[-1]
        for before, tensor in table.named("weight")
        if len(tensor.shape) in (1, 2) and tensor.dtype in FLOATS and table.get(f"{before}weight.absmax") is None
    }
    return math.gcd(*widths)
