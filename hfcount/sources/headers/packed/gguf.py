"""GGUF: an element type of the tensor itself, so its shape is what it stands for (ggml/docs/gguf.md).

Names stay llama.cpp's ("blk.0.attn_q.weight"); `model_names` says which of the model's they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import Header
from hfcount.sources.headers.packed.format import Settings
from hfcount.sources.headers.packed.table import Table

MAX_BLOCKS = 1_000
TABLES = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})
"""What llama.cpp stores of the rotary embedding; transformers computes it from the config."""


class GGUF:
    """Every tensor of a GGUF file. Tables of the rotary embedding are no parameters of the model."""

    methods: ClassVar[frozenset[str]] = frozenset({"gguf"})

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for tensor in table:
            is_table = tensor.name.removesuffix(".weight").rpartition(".")[2] in TABLES
            table.claim(
                tensor.name,
                [tensor.name],
                dtype=tensor.dtype,
                shape=tensor.shape,
                parameters=0 if is_table else None,
                role="state" if is_table else "weight",
            )
            kinds.append(f"gguf {tensor.dtype}")
        return kinds


def model_names(header: Header, names: Iterable[str]) -> dict[str, str]:
    """GGUF's name to the model's, for those of `names` (the model's) that GGUF has under one name.

    From the table of the `gguf` package for the file's `general.architecture`; {} without the package, for an
    architecture that it does not know, or for a header that names none. What one side has in several tensors and the
    other in one, as experts that are fused, has no partner here.
    """
    try:
        from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    except ImportError:
        return {}
    architecture = header.metadata.get("general.architecture")
    blocks = header.metadata.get(f"{architecture}.block_count")
    arch = next((arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture), None)
    if arch is None or not isinstance(blocks, int) or not 0 <= blocks <= MAX_BLOCKS:
        return {}
    known = get_tensor_name_map(arch, blocks)
    stored = {tensor.name for tensor in header.tensors}
    found: dict[str, str] = {}
    for name in names:
        there = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if there in stored:
            found.setdefault(there, name)
    return found
