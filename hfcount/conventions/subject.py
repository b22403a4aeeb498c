"""What the conventions count on: a model's rows, its totals and its config, with the sums that they need."""

from __future__ import annotations

import dataclasses
from typing import Any

from hfcount.classes import text_config
from hfcount.parts import Part, Sizes, numel_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model as its conventions see it.

    Attributes:
        parts: the rows of its inventory, or of its closed form.
        sizes: its totals.
        config: the transformers config, or an object that answers for the same fields.
        model: its name.
    """

    parts: tuple[Part, ...]
    sizes: Sizes
    config: Any
    model: str

    def part(self, *components: str) -> int:
        """Parameters in the named components."""
        return numel_of(self.parts, *components)

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
    def biases(self) -> tuple[Part, ...]:
        """The rows that are added and not multiplied: biases, norms' shifts included."""
        return tuple(part for part in self.parts if part.name.endswith("bias"))

    @property
    def vocabulary_rows(self) -> tuple[int, int]:
        """(rows of the token embedding, parameters that one row of vocabulary costs), an untied LM head included.

        (0, 0) where the model has no token embedding of two dimensions, or several of different sizes.
        """
        tokens = [part for part in self.parts if part.component == "token_embedding" and len(part.shape) == 2]
        if sum(part.times for part in tokens) != 1:
            return 0, 0
        rows, width = tokens[0].shape
        head = [part for part in self.parts if part.component == "lm_head" and rows in part.shape]
        return rows, width + sum(part.numel // rows for part in head)
