"""One real training step on the CPU, and every tensor that it keeps on the scales."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import bitsandbytes
import pandas as pd
import torch
from tiny_models import dtype_name, real_bytes
from transformers.optimization import Adafactor

from hfcount.budget.optimizers import State
from hfcount.budget.recipes import BYTES, Precision

Make = Callable[[list[Any]], Any]

REAL: dict[str, Make] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters),
    "adamw-8bit": lambda parameters: bitsandbytes.optim.AdamW8bit(parameters),
    "paged-adamw-8bit": lambda parameters: bitsandbytes.optim.PagedAdamW8bit(parameters),
    "paged-adamw": lambda parameters: bitsandbytes.optim.PagedAdamW(parameters),
    "adafactor": lambda parameters: Adafactor(parameters),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighed:
    """Bytes of all real tensors of a kind in a step, and the names of the parameters that it left in another type."""

    weights: int
    recast: frozenset[str]
    master: int
    gradients: int
    state: State


def step(model: Any, precision: Precision, make: Make, *, batch: dict[str, torch.Tensor]) -> Weighed:
    """Forward, backward and one step as `precision` has it, by plain torch.

    With a master copy, clones of the 16-bit parameters in fp32 are what the optimizer steps; gradients that are
    added up in fp32 lie in buffers of their own, and each 16-bit gradient is dropped as soon as it was added.
    """
    weights = sum(real_bytes(each) for each in model.parameters())
    before = {name: each.dtype for name, each in model.named_parameters()}
    parameters = [each for each in model.parameters() if each.requires_grad]
    sums: dict[torch.nn.Parameter, torch.Tensor] = {}
    if any(BYTES[precision.gradients] > each.itemsize for each in parameters):
        for each in parameters:
            sums[each] = torch.zeros_like(each, dtype=getattr(torch, precision.gradients))
            each.register_post_accumulate_grad_hook(lambda parameter: _add_up(sums, parameter))
    model.train()
    autocast = torch.autocast("cpu", getattr(torch, precision.autocast)) if precision.autocast else None
    with autocast or contextlib.nullcontext():
        loss = model(**batch).loss
    loss.backward()
    gradients = {each: sums.get(each, each.grad) for each in parameters}
    assert all(gradient is not None for gradient in gradients.values())
    copies = {each: each.detach().float() for each in parameters if precision.master and each.dtype != torch.float32}
    stepped = [copies.get(each, each) for each in parameters]
    weighed = sum(gradient.nbytes for gradient in gradients.values())
    optimizer = make(stepped)
    for parameter, copy in zip(parameters, stepped, strict=True):
        copy.grad = gradients[parameter].to(copy.dtype)
    optimizer.step()
    return Weighed(
        weights=weights,
        recast=frozenset(name for name, each in model.named_parameters() if each.dtype != before[name]),
        master=sum(copy.nbytes for copy in copies.values()),
        gradients=weighed,
        state=weigh(optimizer),
    )


def _add_up(sums: dict[torch.nn.Parameter, torch.Tensor], parameter: torch.nn.Parameter) -> None:
    assert parameter.grad is not None
    sums[parameter] += parameter.grad
    parameter.grad = None


def weigh(found: Any) -> State:
    """The state of a real optimizer, each storage counted once: code books are shared, scalars have no dimension."""
    tensors: dict[int, torch.Tensor] = {}
    tables: set[int] = set()
    for state in found.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[value.data_ptr() or id(value)] = value
                if name.startswith("qmap"):
                    tables.add(value.data_ptr())
    shared = {key for key in tensors if key in tables}
    scalars = {key for key, value in tensors.items() if value.dim() == 0 and key not in shared}
    return State(
        moments=sum(value.nbytes for key, value in tensors.items() if key not in shared | scalars),
        tables=sum(tensors[key].nbytes for key in shared),
        scalars=sum(tensors[key].nbytes for key in scalars),
    )


def frame(model: Any) -> pd.DataFrame:
    """The table of tensors that the buckets are functions of, made from a live model; PEFT's prefixes taken off."""
    rows = []
    for name, parameter in model.named_parameters():
        packed = type(parameter).__name__ in ("Params4bit", "Int8Params")
        state = getattr(parameter, "quant_state", None)
        shape = tuple(parameter.shape if state is None else state.shape)
        rows.append(
            {
                "name": name.removeprefix("base_model.model.").replace(".base_layer.", "."),
                "shape": shape,
                "numel": math.prod(shape),
                "trained": parameter.requires_grad,
                "reached": True,
                "dtype": dtype_name(parameter.dtype),
                "bytes": real_bytes(parameter),
                "quantized": packed,
            }
        )
    return pd.DataFrame(rows)
