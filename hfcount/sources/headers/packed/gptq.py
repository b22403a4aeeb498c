"""Weights in the layout of GPTQ (AutoGPTQ, GPTQModel, and AutoRound where it exports so).

From GPTQModel, gptqmodel/nn_modules/qlinear/__init__.py (`_register_gptq_buffers`), for in x out with b bits and
words of w bits (I32 unless `pack_dtype` says otherwise):

    qweight [in / w · b, out]     packed along the inputs; three bits run over the words' borders, 32 in 3 words
    qzeros  [groups, out / w · b]
    scales  [groups, out]
    g_idx   [in]                  the group of each input

These shapes tell all: g_idx the inputs, qweight's rows the bits; without g_idx, qzeros' columns tell the bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import WORD_BITS, Settings, integer
from hfcount.sources.headers.packed.table import Table

BITS = (2, 3, 4, 5, 6, 7, 8)


class GPTQ:
    """2 to 8 bits, with groups in any order."""

    methods: ClassVar[frozenset[str]] = frozenset({"gptq", "auto-round", "autoround", "intel/auto-round"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for before, qweight in table.named("qweight"):
            scales = table.get(before + "scales")
            if scales is None or not _fits(qweight, scales):
                continue
            found = _inputs_and_bits(qweight, table.get(before + "g_idx"), table.get(before + "qzeros"), settings)
            if found is None:
                continue
            inputs, bits = found
            shape = (*qweight.shape[:-2], qweight.shape[-1], inputs)
            parts = [before + part for part in ("qweight", "qzeros", "scales", "g_idx")]
            table.claim(before + "weight", parts, dtype=f"int{bits} (gptq)", shape=shape)
            kinds.append("gptq")
        return kinds


def _fits(qweight: StoredTensor, scales: StoredTensor) -> bool:
    """Whether both have a column for every output."""
    return (
        qweight.dtype in WORD_BITS
        and len(qweight.shape) == len(scales.shape) >= 2
        and qweight.shape[-1] == scales.shape[-1] > 0
    )


def _inputs_and_bits(
    qweight: StoredTensor, g_idx: StoredTensor | None, qzeros: StoredTensor | None, settings: Settings
) -> tuple[int, int] | None:
    """The inputs and the bits of each weight, from the first of the witnesses that agrees with qweight's rows."""
    word, outputs = WORD_BITS[qweight.dtype], qweight.shape[-1]
    packed = word * qweight.shape[-2]
    if g_idx is not None and g_idx.shape and g_idx.shape[-1] and _bits(packed, g_idx.shape[-1]):
        return g_idx.shape[-1], packed // g_idx.shape[-1]
    bits = _bits(word * qzeros.shape[-1], outputs) if qzeros is not None and qzeros.shape else None
    bits = bits or integer(settings, "bits")
    return (packed // bits, bits) if bits in BITS and packed % bits == 0 else None


def _bits(packed: int, elements: int) -> int | None:
    """Bits per element, if that is a number of them that exists."""
    bits, rest = divmod(packed, elements)
    return bits if not rest and bits in BITS else None
