"""Rotary embeddings as each class writes them: what they give and keep is asked of its own function, on a few numbers.

The classes differ in whether they turn a part of a head, cast back to the type that came in, lay heads out anew
(torch.cat does), or repeat the cosines for themselves: all of this decides what is kept.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hfcount.budget.activations.flows.known import Tables
from hfcount.budget.activations.layers import Part
from hfcount.budget.activations.tape import Tape, Value

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turning:
    """What turning does.

    Attributes:
        dtype: of what it gives.
        by_heads: whether what it gives lies head after head in memory.
        tables: whether it keeps the cosines and sines that all layers share.
        own: the numbers a position of each table that it makes and keeps for itself.
    """

    dtype: str
    by_heads: bool
    tables: bool
    own: tuple[int, ...]


def turned(
    tape: Tape, query: Value, key: Value, tables: Tables, part: Part, *, head: int, size: int
) -> tuple[Value, Value]:
    """Queries and keys turned by their positions, `size` of the `head` numbers of each."""
    found = _turning(type(part.module).__module__, head, size, query.dtype, tables[0].dtype)
    if query.grad or key.grad:
        if found.tables:
            tape.save(*tables)
        tape.save(*(tape.new(("s", str(numbers)), tables[0].dtype, grad=False) for numbers in found.own))
    new = (tape.new(each.size, found.dtype, grad=each.grad) for each in (query, key))
    first, second = (dataclasses.replace(each, by_heads=found.by_heads) for each in new)
    return first, second


POSITIONS = 3


@functools.cache
def _turning(module: str, head: int, size: int, dtype: str, table: str) -> Turning:
    """Runs `apply_rotary_pos_emb` of this module; KeyError where it keeps what cannot be told."""
    import torch

    function = getattr(sys.modules[module], "apply_rotary_pos_emb", None)
    if function is None:
        raise KeyError(f"how {module} turns queries")
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    query, key = (torch.zeros(2, POSITIONS, 5, head, dtype=getattr(torch, dtype), requires_grad=True) for _ in "qk")
    tables = tuple(torch.zeros(1, POSITIONS, size, dtype=getattr(torch, table)) for _ in range(2))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = _applied(function, query.transpose(1, 2), key.transpose(1, 2), tables)
    shared = {each.untyped_storage()._cdata for each in tables}
    own = [storage.nbytes() // tables[0].element_size() for place, storage in saved.items() if place not in shared]
    if any(numbers % POSITIONS or numbers > POSITIONS * head for numbers in own):
        raise KeyError(f"what apply_rotary_pos_emb of {module} keeps")
    return Turning(
        dtype=str(result.dtype).removeprefix("torch."),
        by_heads=result.shape[-1] < head or not result.transpose(1, 2).is_contiguous(),
        tables=bool(shared & set(saved)),
        own=tuple(numbers // POSITIONS for numbers in own),
    )


def _applied(function: Callable[..., Any], query: torch.Tensor, key: torch.Tensor, tables: Any) -> torch.Tensor:
    """The turned queries. Where the function turns whole tensors, it is given the part to turn; the rest is put
    beside it afterwards, which lays the heads out anew."""
    part = tables[0].shape[-1]
    for arguments in (
        (query, key, *tables),
        (query, key, tables),
        (query[..., :part], key[..., :part], *tables),
    ):
        try:
            return function(*arguments)[0]  # type: ignore[no-any-return]
        except (TypeError, RuntimeError):
            continue
    raise KeyError(f"how {function.__module__} turns queries")
