"""What a live optimizer keeps: the bytes that are there, and what its first step will make them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.budget.optimizers import optimizer as known_optimizer
from hfcount.budget.optimizers import optimizer_state
from hfcount.budget.recipes import BYTES
from hfcount.live.tensors import dtype_name, identity, plain_tensors

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerState:
    """The state of one optimizer.

    Attributes:
        name: its class.
        parameters: elements that it steps.
        bytes: of its state now, one-element counters aside; 0 before the first step, since state is made by it.
        scalar_bytes: of the counters, which torch keeps on the host unless fused.
        expected_bytes: what `bytes` is after every parameter was stepped, in closed form (see budget/optimizers.py);
            None for an optimizer that is not known.
        left_out: elements of the model that train and that it does not step.
        not_training: elements that it has and that do not train.
    """

    name: str
    parameters: int
    bytes: int
    scalar_bytes: int
    expected_bytes: int | None
    left_out: int
    not_training: int

    @property
    def remarks(self) -> list[str]:
        """What is odd about it, a line each."""
        remarks = []
        if self.left_out:
            remarks.append(f"{self.left_out:,} parameters train, but {self.name} does not step them")
        if self.not_training:
            remarks.append(f"{self.name} has {self.not_training:,} parameters that do not train")
        return remarks


def optimizer_state_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> OptimizerState:
    """The state of `optimizer`, which steps parameters of `model`; accelerate's wrapper is looked through."""
    inner: Any = getattr(optimizer, "optimizer", optimizer)
    steps = {id(each): each for group in inner.param_groups for each in group["params"]}
    trained = {id(each): each for each in model.parameters() if each.requires_grad}
    tensors = [
        part
        for state in inner.state.values()
        for value in state.values()
        if hasattr(value, "untyped_storage")
        for part in plain_tensors(value)
    ]
    distinct = {identity(each): each for each in tensors}.values()
    return OptimizerState(
        name=type(inner).__name__,
        parameters=sum(each.numel() for each in steps.values()),
        bytes=sum(each.nbytes for each in distinct if each.numel() > 1),
        scalar_bytes=sum(each.nbytes for each in distinct if each.numel() == 1),
        expected_bytes=_expected(inner),
        left_out=sum(each.numel() for key, each in trained.items() if key not in steps),
        not_training=sum(each.numel() for each in steps.values() if not each.requires_grad),
    )


def _has_momentum(group: Mapping[str, Any]) -> bool:
    return group.get("momentum", 0) != 0


def _is_plain_adam(group: Mapping[str, Any]) -> bool:
    return not group.get("amsgrad")


def _is_without_momentum(group: Mapping[str, Any]) -> bool:
    return group.get("beta1") is None


KNOWN: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], bool]]] = {
    "torch.optim.adamw.AdamW": ("adamw", _is_plain_adam),
    "torch.optim.adam.Adam": ("adamw", _is_plain_adam),
    "torch.optim.sgd.SGD": ("sgd", _has_momentum),
    "bitsandbytes.optim.adamw.AdamW8bit": ("adamw-8bit", _is_plain_adam),
    "bitsandbytes.optim.adamw.PagedAdamW8bit": ("paged-adamw-8bit", _is_plain_adam),
    "transformers.optimization.Adafactor": ("adafactor", _is_without_momentum),
}
"""The closed form of a class's state, and in which groups it holds: with the settings that it was derived for."""


def _expected(optimizer: Any) -> int | None:
    """The bytes after a step of every parameter; None where no closed form is known for it."""
    kind = type(optimizer)
    name, holds = KNOWN.get(f"{kind.__module__}.{kind.__qualname__}", ("", None))
    if holds is None or not all(map(holds, optimizer.param_groups)):
        return None
    shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for group in optimizer.param_groups:
        for each in group["params"]:
            if each.requires_grad:  # of a sharded one the part here is stepped here
                shapes[dtype_name(each)] += [tuple(part.shape) for part in plain_tensors(each)]
    if not set(shapes) <= set(BYTES):
        return None
    states = [optimizer_state(found, known_optimizer(name), dtype=dtype) for dtype, found in shapes.items()]
    # The code books of 8-bit moments are shared by all tensors, of whatever type.
    return sum(each.moments for each in states) + max((each.tables for each in states), default=0)
