"""The inventory summed by component, layer, module or parameter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Grouping = Literal["component", "layer", "module", "parameter"]
GROUPINGS: tuple[str, ...] = ("component", "layer", "module", "parameter")

OUTSIDE = "outside the layers"


def breakdown(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Rows `name, parameters, share` of the inventory grouped `by`, in the model's order; they add up to the total.

    A layer goes by its path ("transformer.h.0"), so that an encoder's and a decoder's are told apart.
    """
    labels = {
        "component": table["component"],
        "layer": table["name"].map(layer_path),
        "module": table["module"],
        "parameter": table["name"],
    }[by]
    sums = table.groupby(labels.rename("name"), sort=False)["numel"].sum()
    total = int(table["numel"].sum())
    rows = sums.rename("parameters").reset_index()
    rows["share"] = rows["parameters"] / total if total else 0.0
    assert int(rows["parameters"].sum()) == total
    return rows


def layer_path(name: str) -> str:
    """The path of the outermost numbered layer that the parameter called `name` sits in.

    >>> layer_path("transformer.h.11.mlp.c_fc.weight")
    'transformer.h.11'
    >>> layer_path("transformer.wte.weight")
    'outside the layers'
    """
    found = re.match(r"(.*?\.\d+)(?=\.)", name)
    return found.group(1) if found else OUTSIDE


def component_by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Parameters by layer path (rows, in the model's order) and component (columns); zeros where there are none."""
    grid = table.assign(path=table["name"].map(layer_path)).pivot_table(
        index="path", columns="component", values="numel", aggfunc="sum", fill_value=0, sort=False
    )
    return grid.astype("int64")
