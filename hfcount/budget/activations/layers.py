"""What the layers of a model consist of, read off its skeleton: the input of the dataflows in flows.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.budget.activations import operations as op
from hfcount.budget.activations.operations import ACTIVATIONS, Matrix
from hfcount.budget.activations.tape import Size, Storage, Tape, Value

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Norm:
    """A norm: "rms" (in fp32, as transformers writes it) or "layer"; `dtype` of its scale, None without one."""

    kind: str
    dtype: str | None
    trained: bool


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
        return Norm(kind=norm_kind(module), dtype=self.training.dtypes[weight], trained=self.training.trained[weight])


def norm_kind(module: nn.Module) -> str:
    """ "layer" for torch's LayerNorm, "rms" for the RMSNorm that transformers' classes share.

    Raises KeyError for another: classes that scale in fp32 or add one to the scale keep other tensors.
    """
    from torch import nn

    if isinstance(module, nn.LayerNorm):
        return "layer"
    name = type(module).__name__
    if name in RMS_NORMS:
        return "rms"
    raise KeyError(name)


RMS_NORMS = frozenset(
    f"{each}RMSNorm"
    for each in (
        "Llama", "Mistral", "Mixtral", "Qwen2", "Qwen3", "Phi3", "SmolLM3", "Granite", "MiniGPT", "MiniGPTUnweighted",
    )
)  # fmt: skip
"""The classes whose forward is, line for line, LlamaRMSNorm's."""


def activation_of(config: Any, module: nn.Module) -> str:
    """The config's name of the MLP's activation. KeyError for one whose rule is not written down."""
    kind = next(
        (
            value
            for name in ("hidden_act", "activation_function")
            if isinstance(value := getattr(config, name, None), str)
        ),
        "",
    )
    if kind not in ACTIVATIONS:
        raise KeyError(kind)
    return kind
