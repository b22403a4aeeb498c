"""One tensor of a live model: what it stands for, and what holds it.

A parameter in memory is not always its shape: bitsandbytes packs two weights into a byte and keeps statistics beside
them, a sharded parameter (`DTensor`) has a part of itself here, DeepSpeed's ZeRO-3 leaves an empty tensor with its
shape written on it. What a parameter stands for is its logical shape; what it takes is the sum of the plain tensors
that hold it, each storage once.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

Identity = tuple[int, int, int]
"""A storage, where in it, how many elements: what two tensors share if they are the same numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """What a parameter or buffer stands for, and the plain tensors that hold it.

    Attributes:
        shape: the logical shape, outputs x inputs for a packed matrix; () for what has none yet.
        kind: how it is kept: "nf4", "fp4", "int8", else the dtype, "bfloat16".
        tensors: what holds it, statistics and code books included.
        quantized: whether bitsandbytes has packed it.
        pending: what it will be quantized to when it is moved to a device; "" for what stays as it is.
        initialized: False for a lazy parameter, which has no shape before the first forward pass.
    """

    shape: tuple[int, ...]
    kind: str
    tensors: tuple[torch.Tensor, ...]
    quantized: bool = False
    pending: str = ""
    initialized: bool = True


def held(tensor: torch.Tensor, owner: nn.Module) -> Held:
    """What `tensor`, a parameter or buffer of `owner`, stands for and what holds it."""
    return next(found for reader in READERS if (found := reader(tensor, owner)) is not None)


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors inside `tensor`: itself, or what a wrapper such as `DTensor` carries on this device."""
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    if is_traceable_wrapper_subclass(tensor):
        inside = (getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
        for each in inside:
            if isinstance(each, torch.Tensor):  # a DTensor names its mesh as well
                yield from plain_tensors(each)
    else:
        yield tensor


def identity(tensor: torch.Tensor) -> Identity:
    """What `tensor` shares with every other that is the same numbers, a transposed view included."""
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset()), tensor.numel()


def dtype_name(tensor: torch.Tensor) -> str:
    """ "bfloat16" """
    return str(tensor.dtype).removeprefix("torch.")


def _lazy(tensor: torch.Tensor, owner: nn.Module) -> Held | None:
    from torch.nn.parameter import is_lazy

    if not is_lazy(tensor):
        return None
    return Held(shape=(), kind=dtype_name(tensor), tensors=(), initialized=False)


def _four_bit(tensor: torch.Tensor, owner: nn.Module) -> Held | None:
    """bitsandbytes' Params4bit (bitsandbytes/nn/modules.py): once on a device packed, with a quant_state."""
    bitsandbytes = sys.modules.get("bitsandbytes")
    if bitsandbytes is None or not isinstance(tensor, bitsandbytes.nn.Params4bit):
        return None
    state = tensor.quant_state
    if state is not None:
        nested = (state.state2.absmax, state.state2.code, state.offset) if state.nested else ()
        return Held(
            shape=tuple(state.shape),
            kind=str(state.quant_type),
            tensors=(tensor, state.absmax, state.code, *nested),
            quantized=True,
        )
    features = tuple(getattr(owner, name, 0) for name in ("out_features", "in_features"))
    if all(features) and tensor.numel() != math.prod(features):  # packed, its state not yet there
        return Held(shape=features, kind=str(tensor.quant_type), tensors=(tensor,), quantized=True)
    return Held(shape=tuple(tensor.shape), kind=dtype_name(tensor), tensors=(tensor,), pending=str(tensor.quant_type))


def _eight_bit(tensor: torch.Tensor, owner: nn.Module) -> Held | None:
    """bitsandbytes' Int8Params; a scale for every output goes to the layer's state at the first forward pass."""
    bitsandbytes = sys.modules.get("bitsandbytes")
    if bitsandbytes is None or not isinstance(tensor, bitsandbytes.nn.Int8Params):
        return None
    if dtype_name(tensor) != "int8":
        pending = "" if tensor.has_fp16_weights else "int8"
        return Held(shape=tuple(tensor.shape), kind=dtype_name(tensor), tensors=(tensor,), pending=pending)
    scales = tensor.SCB if tensor.SCB is not None else getattr(getattr(owner, "state", None), "SCB", None)
    beside = () if scales is None else (scales,)
    return Held(shape=tuple(tensor.shape), kind="int8", tensors=(tensor, *beside), quantized=True)


def _plain(tensor: torch.Tensor, owner: nn.Module) -> Held:
    shape: Any = tensor.shape
    if not tensor.numel():  # DeepSpeed's ZeRO-3 writes the whole shape on what it has taken away
        shape = getattr(tensor, "ds_shape", shape)
    return Held(shape=tuple(shape), kind=dtype_name(tensor), tensors=tuple(plain_tensors(tensor)))


READERS: tuple[Callable[[Any, nn.Module], Held | None], ...] = (_lazy, _four_bit, _eight_bit, _plain)
"""The ways a tensor may be held; the first that knows it answers, and the last knows all."""
