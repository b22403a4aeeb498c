"""The class's side of the join: its distinct parameters by all their names, and its buffers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hfcount.auditing.stored.known import vocabularies

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """A distinct parameter of the class.

    Attributes:
        names: all its names; the first is the one that its row in the inventory goes by.
        shape: its sizes.
        numel: their product.
    """

    names: tuple[str, ...]
    shape: Shape
    numel: int

    @property
    def name(self) -> str:
        return self.names[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """What the class builds.

    Attributes:
        parameters: in the order of the inventory.
        by_name: each of them by each of its names.
        buffers: the shape of every buffer, stored or not.
        stored: the names of the class's state dict: parameters by all their names, and the buffers that are stored.
        prefix: of the base model.
        vocabularies: every vocabulary size of its config.
        num_hidden_layers: of the text model; None where the config does not say.
    """

    parameters: tuple[Parameter, ...]
    by_name: dict[str, Parameter]
    buffers: dict[str, Shape]
    stored: frozenset[str]
    prefix: str
    vocabularies: frozenset[int]
    num_hidden_layers: int | None

    @classmethod
    def of(cls, model: PreTrainedModel, table: pd.DataFrame) -> Built:
        """That of `model`, a skeleton, whose inventory is `table`."""
        columns = zip(*(table[column].tolist() for column in ("name", "aliases", "shape", "numel")), strict=True)
        parameters = tuple(Parameter((name, *aliases), shape, numel) for name, aliases, shape, numel in columns)
        return cls(
            parameters=parameters,
            by_name={name: parameter for parameter in parameters for name in parameter.names},
            buffers={name: tuple(buffer.shape) for name, buffer in model.named_buffers(remove_duplicate=False)},
            stored=frozenset(model.state_dict()),
            prefix=model.base_model_prefix,
            vocabularies=vocabularies(model.config.to_dict()),
            num_hidden_layers=_num_hidden_layers(model),
        )

    @property
    def total(self) -> int:
        """Parameters, each once."""
        return sum(parameter.numel for parameter in self.parameters)

    def buffer_shape(self, name: str) -> Shape | None:
        """The shape of the buffer of that name, with or without the prefix of the base model; None without one."""
        names = (name, f"{self.prefix}.{name}", name.removeprefix(f"{self.prefix}."))
        return next((self.buffers[each] for each in names if each in self.buffers), None)


def _num_hidden_layers(model: PreTrainedModel) -> int | None:
    try:
        layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    except ValueError:  # a config with several text models
        return None
    return layers if isinstance(layers, int) else None
