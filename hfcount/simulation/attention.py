"""Fused attention as torch chooses it on CUDA, and what its kernels allocate for themselves.

The order is that of `priority_order` in aten/src/ATen/native/transformers/cuda/sdp_utils.cpp: cuDNN first on Hopper
and on the Blackwell of data centres, then flash, memory-efficient, and the plain products, which have no kernel of
their own. The first takes what the others take, masks and grouped heads too.
"""

from __future__ import annotations

from typing import Any

import torch

from hfcount.simulation.ledger import Transients
from hfcount.simulation.plan import Capability

Allocated = list[tuple[torch.dtype, tuple[int, ...]]]
"""Types and shapes."""


def _flash_backward(arguments: tuple[Any, ...]) -> Allocated:
    """What mha_bwd (transformers/cuda/flash_attn/flash_api.cpp) adds up in fp32, and one number for each row.

    Where keys and values have fewer heads, it makes their gradients for all heads first.
    """
    query, key, value = arguments[1:4]
    batch, heads, length, width = query.shape
    rows = (batch, heads, length + -length % 128)
    found: Allocated = [(torch.float32, rows), (torch.float32, (*rows, _padded_width(width)))]
    if key.shape[1] != heads:
        found += [(each.dtype, (batch, heads, *each.shape[2:])) for each in (key, value)]
    return found


def _padded_width(width: int) -> int:
    """A head's width as flash pads it: to 32, from 128 on to 64."""
    return width + -width % (32 if width <= 128 else 64)


def _packed_flash_backward(arguments: tuple[Any, ...]) -> Allocated:
    """The same of rows that stand one behind the other (mha_varlen_bwd): 128 tokens are left between two."""
    query, key, value = arguments[1:4]
    tokens, heads, width = query.shape
    spread = tokens + 128 * (arguments[6].shape[0] - 1)
    found: Allocated = [(torch.float32, (heads, spread)), (torch.float32, (spread, heads, _padded_width(width)))]
    if key.shape[1] != heads:
        found += [(each.dtype, (each.shape[0], heads, each.shape[2])) for each in (key, value)]
    return found


def _efficient_backward(arguments: tuple[Any, ...]) -> Allocated:
    """One number for each row, and in 16 bits the queries' gradient in fp32 (mem_eff_attention/kernel_backward.h)."""
    query = arguments[1]
    batch, heads, length, width = query.shape
    rows = (batch, heads, length + -length % 128)
    found: Allocated = [(torch.float32, rows)]
    if query.element_size() == 2:
        found.append((torch.float32, (*rows, width + -width % 32)))
    return found


def _cudnn_backward(arguments: tuple[Any, ...]) -> Allocated:
    """What cuDNN's graph lays into its workspace: softmax_sum and dQ_accum, in fp32.

    dK and dV of all heads come before they are added up for fewer (cudnn-frontend's
    node/scaled_dot_product_flash_attention.h, `CompositeSDPABackwardNode`).
    """
    query, key, value = arguments[1:4]
    batch, heads, *_ = query.shape
    found: Allocated = [(torch.float32, tuple(query.shape[:3])), (torch.float32, tuple(query.shape))]
    if key.shape[1] != heads:
        found += [(each.dtype, (batch, heads, *each.shape[2:])) for each in (key, value)]
    return found


ATTENTION_TRANSIENTS: Transients = {
    "aten._scaled_dot_product_flash_attention_backward.default": _flash_backward,
    "aten._flash_attention_backward.default": _packed_flash_backward,
    "aten._scaled_dot_product_efficient_attention_backward.default": _efficient_backward,
    "aten._scaled_dot_product_cudnn_attention_backward.default": _cudnn_backward,
}


def attention_on(capability: Capability) -> Any:
    """`scaled_dot_product_attention` by the kernel that torch chooses on a card of this compute capability."""
    plain = torch.nn.functional.scaled_dot_product_attention

    def attention(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if query.device.type != "cuda":
            return plain(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
            query, key, value = (each.to(dtype) for each in (query, key, value))
            if attn_mask is not None and attn_mask.is_floating_point():
                attn_mask = attn_mask.to(dtype)
        if _takes_cudnn(query, key, value, attn_mask, dropout_p, capability):
            return _cudnn(query, key, value, attn_mask, dropout_p, is_causal, scale)
        if _takes_flash(query, key, value, attn_mask, is_causal, capability):
            return _flash(query, key, value, dropout_p, is_causal, scale)
        if not enable_gqa and _takes_efficient(query, key, value, capability):
            return _efficient(query, key, value, attn_mask, dropout_p, is_causal, scale)
        return torch.ops.aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]

    return attention


_HALVES = (torch.float16, torch.bfloat16)
_PREFER_CUDNN: tuple[Capability, ...] = ((9, 0), (10, 0), (10, 3))
"""`check_prefer_cudnn_attention`, which asks for cuDNN beyond 9.15 besides: torch 2.13 comes with 9.20."""


def _takes_cudnn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    capability: Capability,
) -> bool:
    """`can_use_cudnn_attention`: heads up to 128 wide, dropout in sixteenths, masks of two or four sides."""
    if capability not in _PREFER_CUDNN or query.dtype not in _HALVES or query.dim() != 4:
        return False
    widths = (query.shape[-1], value.shape[-1])
    return (
        (max(widths) <= 128 or widths == (192, 128))
        and all(width % 8 == 0 for width in widths)
        and key.shape[-2] > 1
        and (dropout * 16).is_integer()
        and all(each.stride(-1) == 1 for each in (query, key, value))
        and (mask is None or (mask.dim() in (2, 4) and not mask.requires_grad))
    )


def _takes_flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    is_causal: bool,
    capability: Capability,
) -> bool:
    heads = query.shape[-1]
    return (
        capability >= (8, 0)
        and query.dtype in _HALVES
        and query.dim() == 4
        and mask is None
        and key.shape[-1] == value.shape[-1] == heads
        and heads <= 256
        and not (is_causal and query.shape[-2] != key.shape[-2])
        and all(each.stride(-1) == 1 for each in (query, key, value))
    )


def _takes_efficient(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, capability: Capability) -> bool:
    known = (torch.float32, *_HALVES) if capability >= (8, 0) else (torch.float32, torch.float16)
    if capability >= (8, 0):
        aligned = 8 if query.dtype in _HALVES else 4
    else:
        aligned = 8 if query.dtype in _HALVES and capability >= (7, 0) else 1
    return (
        query.dtype in known
        and query.dim() == 4
        and query.shape[:2] == key.shape[:2]
        and query.shape[-1] % aligned == 0
        and value.shape[-1] % aligned == 0
        and all(each.stride(-1) == 1 for each in (query, key, value))
    )


def _cudnn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.where(mask.logical_not(), float("-inf"), mask.new_zeros((), dtype=query.dtype))
    needs = torch.is_grad_enabled() and any(each.requires_grad for each in (query, key, value))
    return torch.ops.aten._scaled_dot_product_cudnn_attention(
        query, key, value, mask, needs, dropout, is_causal, return_debug_mask=False, scale=scale
    )[0]


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float, is_causal: bool, scale: float | None
) -> torch.Tensor:
    width = query.shape[-1]
    scale = width**-0.5 if scale is None else scale
    pad = -width % 8
    if pad:
        query, key, value = (torch.nn.functional.pad(each, (0, pad)) for each in (query, key, value))
    found = torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, dropout, is_causal, return_debug_mask=False, scale=scale
    )[0]
    return found[..., :width] if pad else found


def _efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
        if any(stride % 8 for stride in mask.stride()[:-1]):
            mask = torch.nn.functional.pad(mask, (0, -mask.shape[-1] % 8))[..., : mask.shape[-1]]
        mask = mask.expand(*query.shape[:-1], key.shape[-2])
    needs = torch.is_grad_enabled() and any(each.requires_grad for each in (query, key, value))
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, needs, dropout, is_causal, scale=scale
    )[0]
