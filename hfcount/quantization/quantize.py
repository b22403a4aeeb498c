"""What a model's weights take when transformers loads it with bitsandbytes: row by row, and in all."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from hfcount.errors import UnsoundForm
from hfcount.quantization.conversion import converted_modules, converted_rows
from hfcount.quantization.measured import device, measured
from hfcount.quantization.storage import Scheme, Stored, stored
from hfcount.quiet import quiet_bitsandbytes

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantized:
    """A model's inventory under a scheme.

    Attributes:
        scheme: how it is quantized.
        modules: the paths of the layers that transformers converts.
        rows: for each row of the inventory whether it is quantized.
        bytes: for each row its bytes if it is, statistics and tables included; else 0.
        stored: the bytes of the quantized rows, term by term.
        fused: elements of 3-D parameters (experts) that stay unquantized.
        backend: where the figures come from, in words.
    """

    scheme: Scheme
    modules: tuple[str, ...]
    rows: pd.Series
    bytes: pd.Series
    stored: Stored
    fused: int
    backend: str


def quantize(build: Callable[[], PreTrainedModel], table: pd.DataFrame, scheme: Scheme) -> Quantized:
    """What becomes of the inventory `table` under `scheme`; `build` gives a fresh skeleton of the same model.

    The closed form gives every figure; it is held against bitsandbytes' own for each distinct shape that can be
    quantized for real on this machine. Raises UnsoundForm where the two differ.
    """
    modules = converted_modules(build(), scheme)
    rows = converted_rows(table, modules)
    shapes = [as_linear(shape, owner) for shape, owner in zip(table["shape"], table["module_class"], strict=True)]
    each = [stored(shape, scheme) if chosen else Stored() for shape, chosen in zip(shapes, rows, strict=True)]
    distinct = {shape for shape, chosen in zip(shapes, rows, strict=True) if chosen}
    fused = table.loc[(table["expert"] > 0) & (table["shape"].map(len) > 2) & ~rows, "numel"].sum()
    return Quantized(
        scheme=scheme,
        modules=modules,
        rows=rows,
        bytes=table["numel"].where(rows, 0) * 0 + [one.total for one in each],
        stored=functools.reduce(lambda total, one: total + one, each, Stored()),
        fused=int(fused),
        backend=confirmed(sorted(distinct), scheme),
    )


def as_linear(shape: tuple[int, ...], module_class: str) -> tuple[int, ...]:
    """`shape` as outputs x inputs: transformers transposes a Conv1D before it is quantized."""
    return shape[::-1] if module_class == "Conv1D" else shape


def confirmed(shapes: list[tuple[int, ...]], scheme: Scheme) -> str:
    """Where the bytes of `shapes` come from; UnsoundForm where bitsandbytes stores something else."""
    if not shapes:
        return "nothing is quantized"
    where, held = device(), 0
    for shape in shapes:
        real = measured(shape, scheme, where)
        if real is None:
            continue
        held += 1
        if real != stored(shape, scheme):
            raise UnsoundForm(
                f"{scheme.kind} of a {' x '.join(map(str, shape))} matrix: the closed form has "
                f"{stored(shape, scheme)}, bitsandbytes on {where} stores {real}"
            )
    name = {"cpu": "CPU", "cuda": "GPU"}[where]
    if not held:
        return f"closed form alone: no matrix is small enough, or of a kind, to be quantized on the {name} here"
    with quiet_bitsandbytes():
        import bitsandbytes
    checked = "every distinct shape" if held == len(shapes) else f"{held} of {len(shapes)} distinct shapes"
    return f"closed form, equal to what bitsandbytes {bitsandbytes.__version__} stores on the {name} for {checked}"
