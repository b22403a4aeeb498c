"""MXFP4 as gpt-oss stores it (transformers/integrations/mxfp4.py, `convert_moe_packed_tensors`).

`NAME_blocks` (U8) is [..., rows, groups, 16]: 32 values of four bits to a group, two a byte; `NAME_scales` (U8) is
[..., rows, groups], a power of two for each group (OCP Microscaling Formats 1.0, section 5.2). The experts' weights
have one dimension before these, and unpacked they are turned: blocks of [E, out, in / 32, 16] are [E, in, out] in the
class, as gpt-oss multiplies from the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.packed.format import EXPONENTS, Settings
from hfcount.sources.headers.packed.table import Table


class MXFP4:
    """Blocks and scales beside each other."""

    methods: ClassVar[frozenset[str]] = frozenset({"mxfp4"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for name, blocks in table.ending("_blocks"):
            scales = table.get(f"{name}_scales")
            if scales is None or blocks.dtype != "U8" or scales.dtype not in EXPONENTS:
                continue
            if len(blocks.shape) < 3 or blocks.shape[:-1] != scales.shape:
                continue
            *before, rows, groups, packed = blocks.shape
            width = 2 * groups * packed
            shape = (*before, width, rows) if before else (rows, width)
            table.claim(name, [blocks.name, scales.name], dtype="mxfp4", shape=shape)
            kinds.append("mxfp4")
        return kinds
