"""What transformers calls where `flash_attention_2` is asked for: the functions of flash_attn, under fake tensors.

The package is a build for CUDA that no machine without it can have. torch carries the same kernels, so its operators
stand for them. What is kept is as in flash_attn_interface.py (`FlashAttnFunc`, flash_attn 2.8):

1. Heads are padded to a multiple of 8, and what is padded is kept, the result too.
2. q, k, v, the result, softmax_lse (fp32, batch x heads x tokens; heads x tokens for packed rows) and rng_state, two
   integers, are saved. Keys and values keep their own number of heads.
3. A mask is never made: dropout is drawn again from rng_state, a window is two numbers.

What the backward pass takes for a moment is torch's operators' (attention.py).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from hfcount.simulation.plan import FLASH, NoFlash

WIDEST = 256
"""No head is wider (flash_api.cpp: "only supports head dimension at most 256")."""

_LOCK = threading.RLock()


@contextlib.contextmanager
def stand_in() -> Iterator[None]:
    """A context in which transformers has these functions for flash_attn's, whether that is installed or not."""
    from transformers import modeling_flash_attention_utils as utils

    own = (flash_attn_func, flash_attn_varlen_func, None, utils._pad_input, utils._unpad_input)
    loaded = [
        name
        for name in vars(utils)
        if name == "_loaded_implementation" or (name.startswith("_") and name.endswith("_fn"))
    ]
    with _LOCK, contextlib.ExitStack() as stack:
        for name in loaded:
            stack.enter_context(mock.patch.object(utils, name, None))
        stack.enter_context(mock.patch.object(utils, "_lazy_imports", return_value=own))
        known = utils.FLASH_ATTENTION_COMPATIBILITY_MATRIX[2]
        stack.enter_context(mock.patch.dict(known, {"general_availability_check": lambda: True}))
        yield


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
) -> torch.Tensor:
    """Attention over rows of one length: q, k, v are batch x tokens x heads x width."""
    _check(q, k, v)
    return _Rows.apply(q, k, v, dropout_p, softmax_scale, causal)  # type: ignore[no-untyped-call]


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    block_table: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention over rows one behind the other: q, k, v are tokens x heads x width."""
    _check(q, k, v)
    lengths = (cu_seqlens_q, cu_seqlens_k, int(max_seqlen_q), int(max_seqlen_k))
    return _Packed.apply(q, k, v, lengths, dropout_p, softmax_scale, causal)  # type: ignore[no-untyped-call]


def check_type(dtype: torch.dtype) -> None:
    """Raise NoFlash for a type that the kernels are not for."""
    if dtype not in (torch.float16, torch.bfloat16):
        given = str(dtype).removeprefix("torch.")
        raise NoFlash(f"--attention {FLASH} works in fp16 and bf16, and is given {given}: give another --precision")


def _check(*tensors: torch.Tensor) -> None:
    for each in tensors:
        check_type(each.dtype)
        if each.shape[-1] > WIDEST:
            raise NoFlash(f"--attention {FLASH} has heads of at most {WIDEST}, and these are {each.shape[-1]} wide")


def _padded(tensor: torch.Tensor) -> torch.Tensor:
    more = -tensor.shape[-1] % 8
    return torch.nn.functional.pad(tensor, (0, more)) if more else tensor


def _rng_state(like: torch.Tensor) -> torch.Tensor:
    return torch.empty(2, dtype=torch.int64, device=like.device)


class _Rows(torch.autograd.Function):
    """torch's operator has heads before tokens: what it makes lies as flash_attn's does, looked at otherwise."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dropout: float, scale: float | None, causal: bool
    ) -> torch.Tensor:
        width = q.shape[-1]
        q, k, v = (_padded(each.detach()) for each in (q, k, v))
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            *(each.transpose(1, 2) for each in (q, k, v)), dropout, causal, scale=scale or width**-0.5
        )
        ctx.save_for_backward(q, k, v, out, lse, _rng_state(q))
        ctx.how = (dropout, causal, scale or width**-0.5)
        return out.transpose(1, 2)[..., :width]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out, lse, state = ctx.saved_tensors
        dropout, causal, scale = ctx.how
        width = gradients[0].shape[-1]
        found = torch.ops.aten._scaled_dot_product_flash_attention_backward(
            _padded(gradients[0]).transpose(1, 2), *(each.transpose(1, 2) for each in (q, k, v)), out, lse,
            None, None, q.shape[1], k.shape[1], dropout, causal, state, state, scale=scale,
        )  # fmt: skip
        return (*(each.transpose(1, 2)[..., :width] for each in found), None, None, None)


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: Any, dropout: float,
        scale: float | None, causal: bool,
    ) -> torch.Tensor:  # fmt: skip
        width = q.shape[-1]
        q, k, v = (_padded(each.detach()) for each in (q, k, v))
        out, lse, *_ = torch.ops.aten._flash_attention_forward(
            q, k, v, *lengths, dropout, causal, False, scale=scale or width**-0.5
        )
        ctx.save_for_backward(q, k, v, out, lse, *lengths[:2], _rng_state(q))
        ctx.how = (lengths[2:], dropout, causal, scale or width**-0.5)
        return out[..., :width]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *saved, state = ctx.saved_tensors
        longest, dropout, causal, scale = ctx.how
        width = gradients[0].shape[-1]
        found = torch.ops.aten._flash_attention_backward(
            _padded(gradients[0]), *saved, *longest, dropout, causal, state, state, scale=scale
        )
        return (*(each[..., :width] for each in found), None, None, None, None)
