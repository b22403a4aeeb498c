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
    row_bytes = codes.nbytes // rows
    bits = integer(stated, "nbits")
    if scale.shape[-1:] == (1,) and groups >= rows:
        found = _bits_of(groups, rows)
        return groups * row_bytes // (4 if found == 3 else 1), bits or found, found is not None
    size = integer(stated, "group_size")
    if size is not None and groups > 1:
        return groups * size, bits, True
    per_item = PER_ITEM.get(bits or 4, 1)
    items = codes.nbytes // (4 if bits == 3 else 1)
    return items * per_item, bits, bits is not None and bits != 3


def _bits_of(groups: int, rows: int) -> int | None:
    """The bits with which so many groups are packed into so many rows."""
    return next((bits for bits, per_item in PER_ITEM.items() if -(-groups // per_item) == rows), None)
