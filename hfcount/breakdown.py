"""The inventory summed by component, layer, module or parameter."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from hfcount.parts import Part

if TYPE_CHECKING:
    import pandas as pd

Grouping = Literal["component", "layer", "module", "parameter"]
GROUPINGS: tuple[str, ...] = ("component", "layer", "module", "parameter")

OUTSIDE = "outside the layers"


@dataclasses.dataclass(frozen=True)
class Group:
    """The parameters that go by one name, and their share of the total."""

    name: str
    parameters: int
    share: float


def breakdown(parts: Iterable[Part], by: str) -> list[Group]:
    """The rows of an inventory grouped `by`, in the model's order; their parameters add up to the total.

    A layer goes by its path ("transformer.h.0"), so that an encoder's and a decoder's are told apart.
    """
    name_of = {
        "component": lambda part: part.component,
        "layer": lambda part: layer_path(part.name),
        "module": lambda part: part.module,
        "parameter": lambda part: part.name,
    }[by]
    sums: dict[str, int] = {}
    for part in parts:
        name = name_of(part)
        sums[name] = sums.get(name, 0) + part.numel
    total = sum(sums.values())
    return [Group(name, parameters, parameters / total if total else 0.0) for name, parameters in sums.items()]


def layer_path(name: str) -> str:
    """The path of the outermost numbered layer that the parameter called `name` sits in.

    >>> layer_path("transformer.h.11.mlp.c_fc.weight")
    'transformer.h.11'
    >>> layer_path("transformer.wte.weight")
    'outside the layers'
    """
    found = re.match(r"(.*?\.\d+)(?=\.)", name)
    return found.group(1) if found else OUTSIDE


def component_by_layer(parts: Iterable[Part]) -> pd.DataFrame:
    """Parameters by layer path (rows, in the model's order) and component (columns); zeros where there are none."""
    import pandas as pd

    rows = [(layer_path(part.name), part.component, part.numel) for part in parts]
    grid = pd.DataFrame(rows, columns=["path", "component", "numel"]).pivot_table(
        index="path", columns="component", values="numel", aggfunc="sum", fill_value=0, sort=False
    )
    return grid.astype("int64")
