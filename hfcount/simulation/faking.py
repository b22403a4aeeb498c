"""The world in which a step runs without memory: fake tensors, and the few places that look into a tensor's values.

torch's FakeTensorMode computes shapes, types and devices of every operation and allocates nothing. Three things ask a
tensor for its value and would stop there; each is answered as it is for a step on whole, unpacked rows:

1. torch.optim's Adam reads its step counter (`_get_value`): any number will do.
2. transformers looks for rows that hold several texts (`find_packed_sequence_indices`) and takes fake tensors for a
   graph that is being recorded, in which it would build masks that no real run has: there are none.
3. torch's grouped matrix product knows the shapes of its result in bf16 alone; here in every type.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from hfcount.simulation.flops import product


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """A context in which tensors that are made have no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with contextlib.ExitStack() as stack:
        for target, name, made in _answers():
            stack.enter_context(mock.patch.object(target, name, made))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


def _answers() -> Iterator[tuple[Any, str, Any]]:
    from transformers import masking_utils

    # torch.optim hides its modules behind its functions, so the module is asked for by name.
    yield importlib.import_module("torch.optim.adam"), "_get_value", lambda _: 1.0
    found = getattr(masking_utils, "find_packed_sequence_indices", None)
    if found is not None:

        def none_packed(*args: Any, **kwargs: Any) -> None:
            found(*args, **kwargs)  # what it makes on the way is made in a real run too

        yield masking_utils, "find_packed_sequence_indices", none_packed

    if hasattr(torch.nn.functional, "grouped_mm"):
        yield torch.nn.functional, "grouped_mm", _grouped_mm


def _grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, *, offs: torch.Tensor, **_: Any) -> torch.Tensor:
    """The shapes of `torch.nn.functional.grouped_mm` (S x K, E x K x N): S x N."""
    return _Grouped.apply(mat_a, mat_b, offs)


class _Grouped(torch.autograd.Function):
    """Keeps both factors and the offsets; each gradient has its factor's shape."""

    @staticmethod
    def forward(ctx: Any, mat_a: torch.Tensor, mat_b: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mat_a, mat_b, offs)
        rows, (inner, outer) = mat_a.shape[0], mat_b.shape[-2:]
        return product(mat_a, [rows, outer], 2 * rows * inner * outer)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        mat_a, mat_b, _ = ctx.saved_tensors
        needs_a, needs_b, _ = ctx.needs_input_grad
        flops = 2 * mat_a.shape[0] * mat_b.shape[-2] * mat_b.shape[-1]
        return (
            product(mat_a, list(mat_a.shape), flops) if needs_a else None,
            product(mat_b, list(mat_b.shape), flops) if needs_b else None,
            None,
        )
