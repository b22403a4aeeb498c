"""Weights in the layouts of AWQ, for in x out with 32/b to a word of I32 (AutoAWQ, awq/modules/linear/):

    gemm       qweight [in, out / 8]        qzeros [groups, out / 8]   scales [groups, out]
    gemv       qweight [out, in / 8]        qzeros [out, z]            scales [out, 8·z]     z: groups / 8, rounded up
    gemv_fast  qweight [out / 4, in] (I16)  scaled_zeros               scales [8·z, out]     four rows in a word
    marlin     qweight [in / 16, 2·out]                                scales [groups, out]

Unlike GPTQ's there is no g_idx, and gemm packs along the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import WORD_BITS, Settings
from hfcount.sources.headers.packed.table import Table

Layout = tuple[str, int, int, int]
"""The layout's name, outputs, inputs, bits."""


class AWQ:
    """Four bits as a rule; gemm's shapes would tell others."""

    methods: ClassVar[frozenset[str]] = frozenset({"awq"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for before, qweight in table.named("qweight"):
            names = [before + part for part in ("qweight", "scales", "qzeros", "scaled_zeros")]
            scales, qzeros = table.get(names[1]), table.get(names[2])
            if scales is None or table.get(before + "g_idx") is not None:
                continue
            if {len(tensor.shape) for tensor in (qweight, scales, qzeros) if tensor is not None} != {2}:
                continue
            layout = _packed_words(qweight, scales, qzeros) if qzeros else _interleaved(qweight, scales)
            if layout is None:
                continue
            kind, outputs, inputs, bits = layout
            table.claim(before + "weight", names, dtype=f"int{bits} (awq)", shape=(outputs, inputs))
            kinds.append(f"awq {kind}")
        return kinds


def _packed_words(qweight: StoredTensor, scales: StoredTensor, qzeros: StoredTensor) -> Layout | None:
    """gemm or gemv: zeros are packed as the weights are."""
    word = WORD_BITS.get(qweight.dtype)
    columns = qzeros.shape[1]
    if word is None or not columns or scales.shape[1] % columns:
        return None
    per_word = scales.shape[1] // columns
    if per_word not in (2, 4, 8, 16) or word % per_word:
        return None
    bits = word // per_word
    if qweight.shape[1] == columns and scales.shape[0] == qzeros.shape[0]:
        return "gemm", scales.shape[1], qweight.shape[0], bits
    if qweight.shape[0] == scales.shape[0] == qzeros.shape[0]:
        return "gemv", qweight.shape[0], qweight.shape[1] * per_word, bits
    return None


def _interleaved(qweight: StoredTensor, scales: StoredTensor) -> Layout | None:
    """gemv_fast or marlin: no packed zeros."""
    rows, columns = qweight.shape
    outputs = scales.shape[1]
    if qweight.dtype == "I16" and outputs == 4 * rows:
        return "gemv_fast", outputs, columns, 4
    if qweight.dtype == "I32" and columns == 2 * outputs:
        return "marlin", outputs, 16 * rows, 4
    return None
