"""What the conventions count on: a model's table, its totals and its config, with the sums that they need."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hfcount.classes import text_config

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedConfig

    from hfcount.inventory import Sizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model as its conventions see it: the inventory, its totals, its config and its name."""

    table: pd.DataFrame
    sizes: Sizes
    config: PreTrainedConfig
    model: str

    def part(self, *components: str) -> int:
        """Parameters in the named components."""
        return int(self.table.loc[self.table["component"].isin(components), "numel"].sum())

    def size(self, *names: str) -> int | None:
        """The first of the config's (or its text config's) integer fields of these names; None if it has none."""
        for holder in (text_config(self.config), self.config):
            for name in names:
                value: Any = getattr(holder, name, None)
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
        return None

    @property
    def layers(self) -> int | None:
        return self.size("num_hidden_layers")

    @property
    def hidden(self) -> int | None:
        return self.size("hidden_size")

    @property
    def biases(self) -> pd.DataFrame:
        """The rows that are added and not multiplied: biases, norms' shifts included."""
        return self.table[self.table["name"].str.endswith("bias")]

    @property
    def vocabulary_rows(self) -> tuple[int, int]:
        """(rows of the token embedding, parameters that one row of vocabulary costs), an untied LM head included.

        (0, 0) where the model has no token embedding of two dimensions, or several of different sizes.
        """
        tokens = self.table[(self.table["component"] == "token_embedding") & self.table["shape"].map(len).eq(2)]
        if len(tokens) != 1:
            return 0, 0
        rows, width = tokens["shape"].iloc[0]
        head = self.table[(self.table["component"] == "lm_head") & self.table["shape"].map(lambda s: rows in s)]
        return int(rows), int(width) + sum(int(numel) // int(rows) for numel in head["numel"])
