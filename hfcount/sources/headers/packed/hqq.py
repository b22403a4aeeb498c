"""Weights quantized by HQQ, as `HQQLinear.state_dict` stores them (hqq/core/quantize.py, hqq/core/bitpack.py).

`W_q` holds the codes in rows of groups: along axis 1 a group is a row, along axis 0 a column. Rows are packed upon
each other: with 8 bits one to a byte, 4 bits 2, 2 bits 4, 1 bit 8, with 3 bits 10 to a word of I32, where the rows are
filled up to a multiple of ten; `view_as_float` shows the same bytes as BF16 or the like. Beside it `scale` and `zero`,
one for each group, and the settings as small tensors, `shape` among them: a value, which is not read. So:

    axis 1   scale [groups, 1]   W_q [groups / per item, size]   n = groups · size: all in the shapes
    axis 0   scale [1, groups]   W_q [size / per item, groups]   n = groups · size: the size from the settings, or
                                                                 the rows times what their bits say
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import Settings, integer, mapping
from hfcount.sources.headers.packed.table import Table

PER_ITEM = {8: 1, 4: 2, 3: 10, 2: 4, 1: 8}
"""Rows of codes to a row of items, by bits; 5 and 6 bits are packed as 8."""

ITEM_BYTES = {8: 1, 4: 1, 3: 4, 2: 1, 1: 1}

_PARTS = (
    *("W_q", "scale", "zero", "nbits", "group_size", "shape", "axis", "packing", "unpack_view_dtype", "view_as_float"),
    *("quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config"),
    *("channel_wise", "optimize", "round_zero"),
)


class HQQ:
    """1 to 8 bits, in groups along either axis."""

    methods: ClassVar[frozenset[str]] = frozenset({"hqq"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        stated = mapping(mapping(settings.get("quant_config")).get("weight_quant_params"))
        for before, codes in table.named("W_q"):
            scale, bias = table.get(before + "scale"), table.get(before + "bias")
            if scale is None or len(codes.shape) != 2 or not codes.elements or not scale.elements:
                continue
            elements, bits, exact = _unpacked(codes, scale, stated)
            outputs = bias.elements if bias is not None else 0
            shape = (outputs, elements // outputs) if outputs and elements % outputs == 0 else ()
            label = f"int{bits} (hqq)" if bits else "hqq"
            parts = [before + part for part in _PARTS]
            table.claim(before + "weight", parts, dtype=label, shape=shape, parameters=elements, exact=exact)
            kinds.append("hqq")
        return kinds


def _unpacked(codes: StoredTensor, scale: StoredTensor, stated: Settings) -> tuple[int, int | None, bool]:
    """The elements, the bits (None where they cannot be told), and whether the elements are certain."""
    rows, groups = codes.shape[0], scale.elements
    bits, size = integer(stated, "nbits"), integer(stated, "group_size")
    if scale.shape[-1:] == (1,):
        fitting = [each for each in _possible(codes.dtype) if -(-groups // PER_ITEM[each]) == rows]
        if fitting:
            found = bits if bits in fitting else fitting[0]
            return groups * (codes.nbytes // rows // ITEM_BYTES[found]), found, len(fitting) == 1 or found == bits
    elif size is not None:
        return groups * size, bits, True
    known = bits if bits in PER_ITEM else 3 if codes.dtype == "I32" else None
    per_item, item_bytes = PER_ITEM[known or 4], ITEM_BYTES[known or 4]
    return codes.nbytes // item_bytes * per_item, known, known is not None and known != 3


def _possible(dtype: str) -> tuple[int, ...]:
    """The bits that are packed in this element type; a view as floats hides it."""
    return {"U8": (8, 4, 2, 1), "I32": (3,)}.get(dtype, (8, 4, 3, 2, 1))
