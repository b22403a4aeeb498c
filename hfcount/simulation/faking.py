"""The world in which a step runs without memory: fake tensors, and the few places that look into a tensor's values.

torch's FakeTensorMode computes shapes, types and devices of every operation and allocates nothing. What asks for a
value that no weight decides is answered by values.py. Besides:

1. torch.optim's Adam reads its step counter (`_get_value`): any number will do.
2. transformers takes fake tensors for a graph that is being recorded, and then builds masks that no real run has: it
   is told that they are none.
3. torch's grouped matrix product knows the shapes of its result in bf16 alone; here in every type.
4. `torch.tensor` of a list of tensors reads them where they have no memory: it is given their numbers. A
   number is written out as one.
5. What is drawn (which frames are masked, say) is drawn from a fixed seed, so that a simulation can be repeated.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch

from hfcount.simulation.cuda import as_on_cuda
from hfcount.simulation.flops import product
from hfcount.simulation.plan import Capability
from hfcount.simulation.values import Values


@contextlib.contextmanager
def without_memory(capability: Capability | None = None) -> Iterator[None]:
    """A context in which tensors that are made have no memory.

    With a compute capability, those on "cuda" are dispatched as on such a card.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with contextlib.ExitStack() as stack:
        stack.enter_context(_seeded())
        stack.enter_context(_quiet())
        for target, name, made in _answers():
            stack.enter_context(mock.patch.object(target, name, made))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(Values())
        if capability is not None:
            stack.enter_context(as_on_cuda(capability))
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context in which torch does not print the stack of an error that it also raises."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """A context with numbers drawn from a fixed seed; the generators are left as they were."""
    import random

    import numpy as np

    before, mine = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        try:
            yield
        finally:
            np.random.set_state(before)
            random.setstate(mine)


def _answers() -> Iterator[tuple[Any, str, Any]]:
    from torch._subclasses.fake_tensor import FakeTensor
    from transformers.utils import import_utils

    # torch.optim hides its modules behind its functions, so the module is asked for by name.
    yield importlib.import_module("torch.optim.adam"), "_get_value", lambda _: 1.0
    for name in ("tensor", "as_tensor"):
        yield torch, name, _reading_numbers(getattr(torch, name))
    yield FakeTensor, "__format__", _as_number
    if hasattr(import_utils, "is_fake_tensor"):
        yield import_utils, "is_fake_tensor", lambda _: False
    if hasattr(torch.nn.functional, "grouped_mm"):
        yield torch.nn.functional, "grouped_mm", _grouped_mm


def _reading_numbers(make: Any) -> Any:
    """`torch.tensor` for a list with tensors in it, each a number: their numbers are asked for one by one."""

    def number(each: Any) -> Any:
        if isinstance(each, (list, tuple)):
            return [number(inner) for inner in each]
        return each.item() if isinstance(each, torch.Tensor) and each.numel() == 1 else each

    def made(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return make(number(data) if isinstance(data, (list, tuple)) else data, *args, **kwargs)

    return made


def _as_number(tensor: torch.Tensor, how: str) -> str:
    """A number's text, as in a real step (an expert's name is made of its index)."""
    return format(tensor.item(), how) if tensor.dim() == 0 else object.__format__(tensor, how)


def _grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, *, offs: torch.Tensor, **_: Any) -> torch.Tensor:
    """The shapes of `torch.nn.functional.grouped_mm` (S x K, E x K x N): S x N."""
    return _Grouped.apply(mat_a, mat_b, offs)


class _Grouped(torch.autograd.Function):
    """Keeps what its gradients need: for that of one factor the other one, and the offsets.

    Where the experts are frozen their inputs are let go, as torch's own product does. Each gradient has its factor's
    shape and order.
    """

    @staticmethod
    def forward(ctx: Any, mat_a: torch.Tensor, mat_b: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
        needs_a, needs_b, _ = ctx.needs_input_grad
        ctx.save_for_backward(mat_a if needs_b else None, mat_b if needs_a else None, offs)
        ctx.layouts = [(each.shape, each.stride()) for each in (mat_a, mat_b)]
        rows, (inner, outer) = mat_a.shape[0], mat_b.shape[-2:]
        return product(mat_a, [rows, outer], 2 * rows * inner * outer)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (rows, inner), (*_, outer) = (shape for shape, _ in ctx.layouts)
        found = [
            _gradient(gradients[0], *layout, 2 * rows * inner * outer) if needed else None  # type: ignore[call-arg]
            for layout, needed in zip(ctx.layouts, ctx.needs_input_grad, strict=False)
        ]
        return (*found, None)


def _gradient(given: torch.Tensor, shape: Sequence[int], stride: Sequence[int], flops: int) -> torch.Tensor:
    """A gradient that lies in memory as its factor does (torch's own does the same)."""
    *outer, rows, columns = shape
    if stride[-2] == 1 and stride[-1] >= rows:
        return product(given, [*outer, columns, rows], flops).transpose(-2, -1)
    return product(given, [*outer, rows, columns], flops)
