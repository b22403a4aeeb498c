"""Floating-point operations of a step, counted operation by operation.

torch's own registry (torch/utils/flop_counter.py) has a formula for every matrix product, convolution and fused
attention; those that it lacks are added here. A multiplication with its addition is two. What is not a product counts
for nothing, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import library
from torch.utils.flop_counter import flop_registry

Shape = tuple[int, ...]


def flops_of(operation: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> int:
    """The floating-point operations of one operation of torch; 0 for what is no product."""
    packet = getattr(operation, "_overloadpacket", None)
    own = _OWN.get(str(packet))
    if own is not None:
        return own(arguments)
    known = flop_registry.get(packet)
    return int(known(*arguments, **keywords, out_val=result)) if known is not None else 0


def _attention(arguments: tuple[Any, ...]) -> int:
    """q·k^T and the scores with v: 2·b·h·s·s·d_h each."""
    query, key, value = arguments[:3]
    rows = math.prod(query.shape[:-1])
    return 2 * rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(arguments: tuple[Any, ...]) -> int:
    """The scores again, and two products for each of the two: 5 halves of the forward pass."""
    return 5 * _attention(arguments[1:4]) // 2


def _four_bit(arguments: tuple[Any, ...]) -> int:
    """A·B^T with B of `shape`."""
    return 2 * math.prod(arguments[0].shape) * int(arguments[2][0])


_OWN: dict[str, Callable[[tuple[Any, ...]], int]] = {
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "bitsandbytes.gemm_4bit": _four_bit,
    "hfcount.product": lambda arguments: int(arguments[2]),
}


@library.custom_op("hfcount::product", mutates_args=())
def product(like: torch.Tensor, shape: list[int], flops: int) -> torch.Tensor:
    """A tensor of `shape` in the type of `like` that took so many operations to make."""
    return like.new_empty(shape)


@product.register_fake
def _(like: torch.Tensor, shape: list[int], flops: int) -> torch.Tensor:
    return like.new_empty(shape)
