"""Weights packed by compressed-tensors (its `format`), in its module layout. What keeps a weight's shape, int-, float-
and naive-quantized and MXFP8, is in `scaled`.

pack-quantized (compressors/pack_quantized): `weight_packed` (I32) [out, ceil(in · b / 32)], packed along the inputs;
`weight_shape` holds the shape as a value, which is not read; `weight_scale` [out, groups], with zero points
`weight_zero_point` [ceil(out · b / 32), groups], with activation order `weight_g_idx` [in]. The inputs are told by
g_idx, or are groups times the config's group size; with one scale a row they are known to the last word alone, and
the sizes of the model's other weights decide. In older releases a value of 3, 5, 6 or 7 bits did not run over a word's
border.

marlin-24 (until 0.10, compressors/sparse_quantized_compressors/marlin_24.py): half of the weights are zero and left
out; `meta` (I16) is [in / 32, 2·out] and tells both.

sparse-bitmask and sparse-24-bitmask (until 0.10, compressors/sparse_compressors): `compressed` holds what is not zero,
`bitmask` (U8) [out, ceil(in / 8)] a bit for each; of 2:4 sparsity `compressed` is [out, in / 2].
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import Settings, integer, mapping
from hfcount.sources.headers.packed.microscaled import microscaled
from hfcount.sources.headers.packed.scaled import parts_of
from hfcount.sources.headers.packed.table import Table

GROUPS = (128, 64, 32)
"""Groups in use; 128 is that of the presets for packed weights (quantization/quant_scheme.py)."""

_METHODS = frozenset({"compressed-tensors"})


class PackQuantized:
    """`weight_packed`: integers in words; FP4 and FP6 in bytes; Marlin's 2:4."""

    methods: ClassVar[frozenset[str]] = _METHODS

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        sizes, schemes = _sizes(table), list(_schemes(settings))
        for name, packed in table.ending("_packed"):
            if name.endswith("scale") or len(packed.shape) < 2:
                continue
            found = (
                _marlin(table, name, packed)
                or _floats(table, name, packed)
                or _words(table, name, packed, schemes, sizes)
            )
            if found is None:
                continue
            kind, label, shape, exact = found
            module = name.removesuffix("weight")
            parts = [packed.name, *parts_of(name), *(module + part for part in ("scale_packed", "meta"))]
            table.claim(name, parts, dtype=label, shape=shape, exact=exact)
            kinds.append(f"compressed-tensors {kind}")
        return kinds


class SparseBitmask:
    """`compressed` and `bitmask`."""

    methods: ClassVar[frozenset[str]] = _METHODS

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        kinds = []
        for before, bitmask in table.named("bitmask"):
            values = table.get(before + "compressed")
            if values is None or bitmask.dtype != "U8" or len(bitmask.shape) != 2:
                continue
            rows, width = bitmask.shape
            semi = len(values.shape) == 2 and values.shape[0] == rows and -(-2 * values.shape[1] // 8) == width
            inputs = 2 * values.shape[1] if semi else 8 * width
            own = [before + part for part in ("compressed", "bitmask", "shape", "row_offsets")]
            parts = [*own, *parts_of(before + "weight")]
            table.claim(before + "weight", parts, dtype=values.dtype, shape=(rows, inputs), exact=semi)
            kinds.append(f"compressed-tensors sparse-{'24-' if semi else ''}bitmask")
        return kinds


Scheme = tuple[int, int | None]
"""The bits and the group; None where a row has one scale."""

Found = tuple[str, str, tuple[int, ...], bool]
"""The format, the dtype's label, the shape, whether it is certain."""


def _marlin(table: Table, name: str, packed: StoredTensor) -> Found | None:
    meta = table.get(name.removesuffix("weight") + "meta")
    if meta is None or len(meta.shape) != 2 or meta.shape[1] % 2:
        return None
    inputs, outputs = 32 * meta.shape[0], meta.shape[1] // 2
    kept = inputs * outputs // 2
    bits = 32 * packed.elements // kept if kept else 0
    return ("marlin-24", f"int{bits}, 2:4", (outputs, inputs), True) if bits in (4, 8) else None


def _floats(table: Table, name: str, packed: StoredTensor) -> Found | None:
    scale = table.get(f"{name}_scale")
    found = microscaled(packed, scale) if scale is not None and packed.dtype == "U8" else None
    return (f"{found[0]}-pack-quantized", *found, True) if found else None


def _words(table: Table, name: str, packed: StoredTensor, schemes: list[Scheme], sizes: list[int]) -> Found | None:
    """Integers in words. A reading is bits and inputs; the config's groups give readings, without them the scales do.

    It is certain where all readings that fit the words agree on the inputs.
    """
    scale, g_idx = table.get(f"{name}_scale"), table.get(f"{name}_g_idx")
    if packed.dtype != "I32" or scale is None or not packed.elements:
        return None
    words = packed.shape[-1]
    groups = scale.shape[-1] if len(scale.shape) == len(packed.shape) else 1
    readings = []
    for bits, group in schemes or _guesses(words, groups):
        stated = g_idx.elements if g_idx is not None else groups * group if group else None
        fitting = [stated] if stated else _among(sizes, words, bits)
        readings += [(bits, inputs) for inputs in fitting if inputs in _inputs(words, bits)]
    if not readings and schemes:
        bits = schemes[0][0]
        return "pack-quantized", f"int{bits}", (*packed.shape[:-1], 32 * words // bits), False
    if not readings:
        return None
    bits, inputs = readings[0]
    certain = len({inputs for _, inputs in readings}) == 1
    return "pack-quantized", f"int{bits}", (*packed.shape[:-1], inputs), certain


def _inputs(words: int, bits: int) -> range:
    """The inputs that so many words hold, with values over the words' borders or, as it was before, without."""
    return range(32 // bits * (words - 1) + 1, 32 * words // bits + 1)


def _among(sizes: list[int], words: int, bits: int) -> list[int]:
    """The sizes of the model's other weights that the words could hold, two at most: what one reads, another
    writes."""
    inputs = _inputs(words, bits)
    start = bisect.bisect_left(sizes, inputs.start)
    return [size for size in sizes[start : start + 2] if size in inputs]


def _sizes(table: Table) -> list[int]:
    """The outputs of packed weights and the last sizes of the plain ones, in order."""
    packed = {tensor.shape[-2] for _, tensor in table.ending("_packed") if len(tensor.shape) > 1}
    plain = {tensor.shape[-1] for _, tensor in table.named("weight") if len(tensor.shape) in (1, 2)}
    return sorted(packed | plain)


def _schemes(settings: Settings) -> Iterator[Scheme]:
    """The bits and the group of weights in each of the config's groups."""
    for group in mapping(settings.get("config_groups")).values():
        weights = mapping(mapping(group).get("weights"))
        bits = integer(weights, "num_bits")
        if bits is not None and bits <= 8:
            yield bits, integer(weights, "group_size")


def _guesses(words: int, groups: int) -> Iterator[Scheme]:
    """Bits and groups in use that fit the words and scales."""
    for group in GROUPS:
        bits, rest = divmod(32 * words, group * groups) if groups > 1 else (0, 1)
        if not rest and 2 <= bits <= 8:
            yield bits, group
    if groups <= 1:
        yield from ((4, None), (8, None))
