"""What the layers of a model consist of, read off its skeleton: the input of the dataflows in flows/."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.code import called_by
from hfcount.budget.activations.norms import norm_kind
from hfcount.budget.activations.operations import ACTIVATIONS, Matrix
from hfcount.budget.activations.tape import Size, Storage, Tape, Value

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Norm:
    """A norm of a kind that norms.py tells apart; `dtype` and `shape` of its scale, None and () without one."""

    kind: str
    dtype: str | None
    trained: bool
    shape: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What trains and in which types, for every parameter by its name in the base model.

    Attributes:
        dtypes: what each parameter is kept in; None for what bitsandbytes holds.
        trained: whether each trains.
        ranks: the rank of the adapter on a module, by its path.
        wrapped: the names of fused parameters that PEFT wraps directly, with their ranks.
        adapter: what adapters are kept in.
        rank: the rank asked, what the symbol r stands for.
    """

    dtypes: Mapping[str, str | None]
    trained: Mapping[str, bool]
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    wrapped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    adapter: str = "float32"
    rank: int = 0

    def rank_symbol(self, rank: int) -> str:
        """An adapter's rank in symbols: "r", "2r" for two matrices fused into one, else the number."""
        times, rest = divmod(rank, self.rank)
        return f"{times}r" if not rest else str(rank)


@dataclasses.dataclass(frozen=True)
class Part:
    """A module with the path that it has in the model, and what trains."""

    model: PreTrainedModel
    path: str
    training: Training

    @property
    def module(self) -> nn.Module:
        return self.model.get_submodule(self.path)

    def __getitem__(self, name: str) -> Part:
        return Part(self.model, f"{self.path}.{name}" if self.path else name, self.training)

    def has(self, *names: str) -> bool:
        """Whether the module has children, or children's children, of all these names."""
        try:
            return all(self[name].module is not None for name in names)
        except AttributeError:
            return False

    @property
    def layer(self) -> int:
        """The number of the layer that this is a part of."""
        return int(next(each for each in self.path.split(".") if each.isdigit()))

    @property
    def written_here(self) -> bool:
        """Whether the class is one of transformers' or this package's own, not code that came with a checkpoint."""
        return type(self.module).__module__.startswith(("transformers.models.", "hfcount.minigpt."))

    @property
    def shape(self) -> tuple[int, int]:
        """The outputs and inputs of a linear layer: GPT-2's keeps its weight the other way round."""
        rows, columns = self.own("weight").shape
        return (columns, rows) if type(self.module).__name__ == "Conv1D" else (rows, columns)

    def own(self, name: str) -> torch.nn.Parameter:
        """The parameter called `name`."""
        return self.module.get_parameter(name)

    def consists(self, has: tuple[str, ...], may: tuple[str, ...] = ()) -> bool:
        """Whether the module's children and parameters are all of `has` and none but these and `may`."""
        module = self.module
        there = {name for name, _ in module.named_children()}
        there |= {name for name, _ in module.named_parameters(recurse=False)}
        return there.issuperset(has) and there.issubset((*has, *may))

    def check_calls(self, allowed: frozenset[str]) -> None:
        """KeyError where the class's code calls something besides the module's own parts and `allowed`."""
        module = self.module
        absent = {name for name, value in vars(module).items() if value is None}
        more = called_by(type(module)) - {*allowed, *module._modules, *absent}  # type: ignore[arg-type]
        if more:
            raise KeyError(f"{type(module).__name__} with {', '.join(sorted(more))}")

    def first(self, names: Iterable[str]) -> str:
        """The first of `names` that the module has; KeyError where it has none."""
        for name in names:
            if self.has(name):
                return name
        raise KeyError(type(self.module).__name__)

    def matrix(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Matrix:
        """The linear layer called `name`, with its adapter."""
        path = self[name].path
        rank = self.training.ranks.get(path)
        return Matrix(
            inputs=inputs,
            outputs=outputs,
            dtype=self.training.dtypes[f"{path}.weight"],
            trained=self.training.trained[f"{path}.weight"],
            rank=None if rank is None else self.training.rank_symbol(rank),
            adapter=self.training.adapter,
        )

    def parameter(self, name: str, size: Size) -> Value:
        """The bare parameter called `name`, as a value in memory of its own."""
        path = self[name].path
        dtype = self.training.dtypes[path]
        assert dtype is not None  # bitsandbytes holds the weights of linear layers alone
        return Value(size, dtype, self.training.trained[path], Storage(size, dtype, own=True))

    def weight(self, tape: Tape, name: str, inputs: Size, outputs: Size, *, each: Size = ()) -> Value:
        """The bare matrix called `name` (`each`: one for every expert) with what PEFT adds to it, if it is wrapped."""
        plain = self.parameter(name, (*each, *inputs, *outputs))
        rank = self.training.wrapped.get(self[name].path)
        if rank is None:
            return plain
        _check_wrapper()
        symbol = self.training.rank_symbol(rank)
        return op.merged(
            tape, plain, ((*each, *inputs, symbol), (*each, symbol, *outputs)), self.training.adapter, fused=bool(each)
        )

    def norm(self, name: str) -> Norm | None:
        """The norm called `name`; None where nothing is there. KeyError for a class whose rule is not known."""
        from torch import nn

        module = self[name].module if self.has(name) else None
        if module is None or isinstance(module, nn.Identity):
            return None
        weight = f"{self[name].path}.weight"
        if weight not in self.training.dtypes:
            return Norm(kind=norm_kind(module), dtype=None, trained=False)
        return Norm(
            kind=norm_kind(module),
            dtype=self.training.dtypes[weight],
            trained=self.training.trained[weight],
            shape=tuple(self[name].own("weight").shape),
        )


@functools.cache
def _check_wrapper() -> None:
    """KeyError where PEFT adds an adapter's product to fused experts in another way than since 0.21."""
    from peft.tuners.lora.layer import ParamWrapper

    if not hasattr(ParamWrapper, "get_delta_factors"):
        raise KeyError("adapters on fused experts in this version of PEFT")


def activation_of(part: Part) -> str:
    """The kind of activation that `part` holds. KeyError for one whose rule is not written down."""
    from transformers.activations import ACT2FN

    module = part[part.first(ACTIVATION_NAMES)].module
    if any(value is True for name, value in vars(module).items() if name.startswith("use_")):
        raise KeyError(f"{type(module).__name__} written out in Python")
    for kind in ACTIVATIONS:
        if type(module) is type(ACT2FN[kind]):
            return kind
    raise KeyError(type(module).__name__)


ACTIVATION_NAMES = ("act_fn", "activation_fn", "act")
"""Under these names an MLP holds its activation function."""
