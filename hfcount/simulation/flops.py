"""Floating-point operations of a step: counted operation by operation, and by the rules that papers use.

torch's own registry (torch/utils/flop_counter.py) has a formula for every matrix product, convolution and fused
attention; those that it lacks are added here. A multiplication with its addition is two. What is not a product counts
for nothing, as everywhere.

The rules (Kaplan et al. 2020, arXiv 2001.08361, section 2.1; Chowdhery et al. 2022, arXiv 2204.02311, appendix B): for
N weights in matrices a token takes 2N forward and 4N backward, 6N in all, and attention 12·L·d·s more, of which a
causal fused kernel really does half. With a frozen base the gradients of its weights fall away: 4N, and 6 for each of
the adapters' weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import library
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    import pandas as pd

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


def matrix_parameters(table: pd.DataFrame, *, tied_head: int = 0) -> int:
    """The weights that one token is multiplied by: matrices of the inventory `table`, the chosen experts' alone, an
    LM head that is tied to the embedding (`tied_head` elements) too, and no table that is only looked up."""
    looked_up = table["component"].isin(["token_embedding", "position_embedding"])
    matrices = table["shape"].map(len) > 1
    return int(table.loc[matrices & ~looked_up, "active"].sum()) + tied_head


def rule(*, matrices: int, adapters: int, tokens: int, layers: int, width: int, seq: int, twice: bool = False) -> int:
    """6N and attention's term for full training; 4N + 6n with `adapters` over a frozen base.

    With checkpointing the forward pass is run `twice`: 2N + 2n more, and a third more of attention's term.
    """
    weights = 4 * matrices + 6 * adapters if adapters else 6 * matrices
    attention = 12 * layers * width * seq
    if twice:
        weights, attention = weights + 2 * matrices + 2 * adapters, attention * 4 // 3
    return tokens * (weights + attention)
