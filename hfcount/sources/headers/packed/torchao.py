"""Weights that are torchao's tensor subclasses, flattened for safetensors (torchao/prototype/safetensors/).

`a.weight` becomes `a._weight_qdata`, `a._weight_scale` and the like, and the file's metadata has under "a.weight" a
JSON text: the subclass (`_type`), its attributes (`_data`, with the shape where it cannot be told from the parts) and
the names of its parts (`_tensor_data_names`). Without `shape` the codes have the weight's own shape, save where two
values of four bits share a byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import FLOAT8, Settings, mapping
from hfcount.sources.headers.packed.table import Table

MAX_TEXT = 100_000
MAX_DIMENSIONS = 8
_LABELS = {"Int4": "int4", "Int8": "int8", "Intx": "int8", "Float8": "float8", "MX": "mx", "NVFP4": "nvfp4"}
_PARTS = (
    *("scale", "zero_point", "scale_and_zero", "per_tensor_scale", "act_per_tensor_scale", "act_pre_scale"),
    *("act_quant_scale", "act_quant_zero_point"),
)


class TorchAO:
    """Float8, int8, int4, MX and NVFP4 tensors."""

    methods: ClassVar[frozenset[str]] = frozenset({"torchao"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for start, codes in table.ending("_qdata"):
            module, _, own = start.rpartition(".")
            if not own.startswith("_"):
                continue
            name = f"{module}.{own[1:]}" if module else own[1:]
            described = _described(metadata.get(name))
            kind = str(described.get("_type", ""))
            shape, exact = _shape(codes, mapping(described.get("_data")), kind)
            label = next((label for start_of, label in _LABELS.items() if kind.startswith(start_of)), codes.dtype)
            listed = described.get("_tensor_data_names")
            parts = [f"{start}_{part}" for part in (*_PARTS, *(listed if isinstance(listed, list) else ()))]
            elements = math.prod(shape)
            table.claim(
                name, [codes.name, *parts], dtype=f"{label} (torchao)", shape=shape, parameters=elements, exact=exact
            )
            kinds.append(f"torchao {kind}".strip())
        return kinds


def _described(text: Any) -> Mapping[str, Any]:
    """The JSON text of one tensor's metadata; {} for anything else."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return {}
    try:
        return mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _shape(codes: StoredTensor, attributes: Mapping[str, Any], kind: str) -> tuple[tuple[int, ...], bool]:
    """The weight's shape, and whether it is certain."""
    shape = attributes.get("shape")
    if isinstance(shape, list) and _fits(shape, codes):
        return tuple(shape), True
    four_bits = kind.startswith("NVFP4") or "float4" in str(attributes.get("elem_dtype"))
    if four_bits and codes.dtype == "U8" and codes.shape:
        return (*codes.shape[:-1], 2 * codes.shape[-1]), True
    return codes.shape, codes.dtype in FLOAT8 or codes.dtype == "I8"


def _fits(shape: list[Any], codes: StoredTensor) -> bool:
    """Whether it is a shape whose elements have from one to sixteen bits each in the codes."""
    if not 0 < len(shape) <= MAX_DIMENSIONS or not all(isinstance(size, int) and 0 <= size < 2**63 for size in shape):
        return False
    return codes.nbytes <= 2 * math.prod(shape) and math.prod(shape) <= 8 * codes.nbytes
