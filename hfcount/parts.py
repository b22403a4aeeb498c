"""The inventory in plain Python: its rows and its totals, without pandas.

What is worked out from an inventory, the conventions and the breakdowns, reads these rows, so that it works as well
on the rows of a closed form, where no model was built and one row stands for the same parameter of all layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One parameter of an inventory, or all parameters of one kind of a closed form.

    Attributes:
        name: its name; of a kind, with `*` for the number of the layer.
        shape: the sizes of one.
        component: one of hfcount's component names.
        numel: elements of all `times`.
        active: how many of them one token touches.
        expert: how many routed experts share its pool, 0 for what is no routed expert.
        layer: the index in its stack of layers; None outside, and for a kind, which has no single one.
        times: how many parameters it stands for: 1 in an inventory.
        kind: the form's expression for `times`, which tells kinds of layers apart; "" in an inventory.
    """

    name: str
    shape: tuple[int, ...]
    component: str
    numel: int
    active: int
    expert: int = 0
    layer: int | None = None
    times: int = 1
    kind: str = ""

    @property
    def layered(self) -> bool:
        """Whether it is inside a stack of layers."""
        return self.layer is not None or "*" in self.name

    @property
    def module(self) -> str:
        """The path of the module that owns it."""
        return self.name.rpartition(".")[0]


def parts_of(table: pd.DataFrame) -> tuple[Part, ...]:
    """The rows of the inventory `table`, in its order."""
    layers = zip(table["layer"].tolist(), table["layer"].isna().tolist(), strict=True)
    columns = ("name", "shape", "component", "numel", "active", "expert")
    rows = zip(*(table[column].tolist() for column in columns), layers, strict=True)
    return tuple(
        Part(
            name=name,
            shape=shape,
            component=component,
            numel=numel,
            active=active,
            expert=expert,
            layer=None if missing else layer,
        )
        for name, shape, component, numel, active, expert, (layer, missing) in rows
    )


def numel_of(parts: Iterable[Part], *components: str) -> int:
    """Elements of the parts in the named components."""
    return sum(part.numel for part in parts if part.component in components)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """The totals of an inventory, in parameters. `embedding + lm_head + non_embedding = total`.

    Attributes:
        total: every distinct parameter once.
        embedding: token and position embeddings.
        lm_head: the LM head where its matrix is a parameter of its own, else 0.
        non_embedding: the rest.
        active: what one token touches: the total less the experts that are not chosen.
        untied: the total with a tied LM head counted as a matrix of its own.
        buffers: elements of all buffers, which are not parameters.
        stored_buffers: those of them that a checkpoint stores.
    """

    total: int
    embedding: int
    lm_head: int
    non_embedding: int
    active: int
    untied: int
    buffers: int
    stored_buffers: int

    def __post_init__(self) -> None:
        assert self.embedding + self.lm_head + self.non_embedding == self.total
