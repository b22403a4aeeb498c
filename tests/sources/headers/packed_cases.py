"""Headers for the tests of packed formats, written by hand or recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfcount.sources.headers import Checkpoint, Header, StoredTensor

RECORDED = Path(__file__).parent / "recorded"
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U32": 4, "I16": 2, "U8": 1, "I8": 1}
BYTES |= {"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "BOOL": 1}


def header(tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, Any] | None = None) -> Header:
    """A safetensors header of these names, dtypes and shapes."""
    rows = (
        StoredTensor(name, dtype, shape, math.prod(shape) * BYTES[dtype]) for name, (dtype, shape) in tensors.items()
    )
    return Header(format="safetensors", tensors=tuple(rows), metadata=metadata or {})


def parameters(checkpoint: Checkpoint) -> dict[str, int]:
    """The parameters by name, of the entries that have any."""
    return {entry.name: entry.parameters for entry in checkpoint.entries if entry.parameters}


def recorded(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def recorded_header(case: Mapping[str, Any], library: str) -> Header:
    """The header of a recorded case."""
    tensors = tuple(StoredTensor(name, row[0], tuple(row[1]), row[2]) for name, row in case["tensors"].items())
    return Header(format="gguf" if library == "gguf" else "safetensors", tensors=tensors, metadata=case["metadata"])


def assert_sums(checkpoint: Checkpoint) -> None:
    """Every stored tensor is in one entry."""
    held = [name for entry in checkpoint.entries for name in entry.stored]
    assert sorted(held) == sorted(tensor.name for tensor in checkpoint.header.tensors)
    assert sum(entry.stored_elements for entry in checkpoint.entries) == checkpoint.header.stored_elements
    assert sum(entry.nbytes for entry in checkpoint.entries) == checkpoint.header.nbytes
