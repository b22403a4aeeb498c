"""BitNet's ternary weights: `weight` (U8) is [out / 4, in], four of two bits to a byte along the outputs, with one
`weight_scale` (transformers/integrations/bitnet.py, `pack_weights`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.packed.format import Settings, method
from hfcount.sources.headers.packed.table import Table

PER_BYTE = 4


class BitNet:
    """Only where the config says so: the names and types alone would fit others too."""

    methods: ClassVar[frozenset[str]] = frozenset({"bitnet"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        if method(settings) not in self.methods:
            return []
        kinds = []
        for before, weight in table.named("weight"):
            if weight.dtype != "U8" or len(weight.shape) != 2:
                continue
            rows, inputs = weight.shape
            parts = [weight.name, before + "weight_scale"]
            table.claim(weight.name, parts, dtype="int2 (bitnet)", shape=(PER_BYTE * rows, inputs))
            kinds.append("bitnet")
        return kinds
