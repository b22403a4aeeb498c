"""CUDA's dispatch where there is no CUDA: fake tensors that torch takes for a GPU's.

A fake tensor on "cuda" has the dispatch keys of a GPU's tensor, so torch itself decides what a GPU would keep:
dropout's masks, the type of a norm's statistics, what autocast casts, which optimizers step all tensors at once. On a
machine without a GPU three things stop it, and each gets an answer here:

1. Autograd asks a device's guard for its stream. Torch keeps one guard for each type of device in a table, and the one
   for meta tensors, which does nothing, serves CUDA's too. On a machine with a GPU its own guard is used.
2. The backward pass looks for the accelerator that a gradient lies on. While autograd's engine runs, and no module's
   forward does, fake tensors say "meta". It runs in the calling thread.
3. Python code asks `torch.cuda` what the card can do. It is told so.

Which kernel attends is attention.py's, and flash_attn.py's where transformers calls that package.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from hfcount.errors import HfcountError
from hfcount.simulation import attention, flash_attn
from hfcount.simulation.ledger import Transients
from hfcount.simulation.plan import Capability

ROUNDING = 512
"""CUDA's caching allocator hands out multiples of 512 bytes (c10/core/AllocatorConfig.h, kMinBlockSize)."""


def workspace_bytes(capability: Capability) -> int:
    """Return what cuBLAS keeps for its work: torch gives each of its handles a block of the caching allocator's.

    8 MiB + 128 KiB, from Hopper on 32 MiB (aten/src/ATen/cuda/CublasHandlePool.cpp, `parseChosenWorkspaceSize`). There
    are two handles: one for the thread that runs the forward pass, one for autograd's.
    """
    return 2 * (32 * 2**20 if capability >= (9, 0) else 2 * 4096 * 1024 + 8 * 16 * 1024)


def _softmax_backward(arguments: tuple[Any, ...]) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    """The gradient times the result, in the gradient's type (aten/src/ATen/native/cuda/SoftMax.cu)."""
    return [(arguments[0].dtype, tuple(arguments[0].shape))]


CUDA_TRANSIENTS: Transients = {
    "aten._softmax_backward_data.default": _softmax_backward,
    **attention.ATTENTION_TRANSIENTS,
}

_CUDA, _META = 1, 14
_DEVICE_TYPES = 20
"""Places in torch's table of guards (c10/core/DeviceType.h)."""

_META_DEVICE = torch.device("meta")
_ASKED = torch.ops.prim.device.default
_NOT_TAKEN = ("aten::_use_cudnn_ctc_loss", "aten::_use_miopen_ctc_loss")
"""The libraries' loss is for targets of 32 bits on the host, which transformers does not give."""

_ONE_AT_A_TIME = threading.RLock()
"""What is set aside here is the process's: without a guard of CUDA's, torch would end the process."""

_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
_LIBRARIES = ("libc10.so", "libc10.dylib")


_IN_ENGINE: list[bool] = [False]
"""Whether autograd's engine runs, as the innermost of what runs says; the process's too."""


class NoGuards(HfcountError):
    """Torch's table of device guards is not found: this build cannot dispatch as CUDA does."""

    def __init__(self) -> None:
        super().__init__("this build of torch cannot dispatch as CUDA does without a GPU: use --device cpu")


@contextlib.contextmanager
def as_on_cuda(capability: Capability) -> Iterator[None]:
    """Dispatch fake tensors on "cuda" as on a card of this compute capability. To be entered inside a FakeTensorMode.

    Raises NoGuards.
    """
    attend = attention.attention_on(capability)
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attend))
        stack.enter_context(flash_attn.stand_in())
        if not torch.cuda.is_available():
            stack.enter_context(_meta_guard())
            stack.enter_context(_engine_on_meta())
            for target, name, answer in _answers(capability):
                stack.enter_context(mock.patch.object(target, name, answer))
        yield


def _guards() -> ctypes.Array[ctypes.c_void_p]:
    folder = Path(torch.__file__).parent / "lib"
    for path in (folder / name for name in _LIBRARIES):
        if path.exists():
            with contextlib.suppress(OSError, ValueError):
                return (ctypes.c_void_p * _DEVICE_TYPES).in_dll(ctypes.CDLL(str(path)), _GUARDS)
    raise NoGuards


@contextlib.contextmanager
def _meta_guard() -> Iterator[None]:
    """Have the guard of meta tensors serve CUDA's."""
    guards = _guards()
    if not guards[_META]:
        raise NoGuards
    before = guards[_CUDA]
    guards[_CUDA] = guards[_META]
    try:
        yield
    finally:
        guards[_CUDA] = before


@contextlib.contextmanager
def _engine_on_meta() -> Iterator[None]:
    """Have fake tensors say "meta" to autograd's engine, which looks for streams, and their own device to all else."""
    from torch._subclasses import fake_tensor
    from torch.autograd import graph

    inside = _IN_ENGINE
    handlers: dict[Any, Any] = fake_tensor._DISPATCH_META_HANDLERS
    own, run = handlers[_ASKED], graph._engine_run_backward

    def device(args: Any) -> torch.device:
        return _META_DEVICE if inside[-1] and not torch.is_grad_enabled() else own(args)

    def backward(*args: Any, **kwargs: Any) -> Any:
        inside.append(True)
        try:
            with torch.no_grad():  # which what runs a forward pass again lifts
                return run(*args, **kwargs)
        finally:
            inside.pop()

    def leave(*_: Any) -> None:
        inside.pop()

    handles = (
        modules.register_module_forward_pre_hook(lambda *_: inside.append(False)),
        modules.register_module_forward_hook(leave, always_call=True),
    )
    try:
        with (
            mock.patch.dict(handlers, {_ASKED: device}),
            mock.patch.object(graph, "_engine_run_backward", backward),
            mock.patch.object(torch.autograd, "_engine_run_backward", backward),
            torch.autograd.set_multithreading_enabled(False),
            _BackOnCuda(inside),
        ):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def outside_the_engine() -> Iterator[None]:
    """A context, for what the engine calls, in which tensors say their own device as they do while a module runs."""
    _IN_ENGINE.append(False)
    try:
        yield
    finally:
        _IN_ENGINE.pop()


class _BackOnCuda(TorchDispatchMode):
    """Makes on "cuda" what the backward pass makes on the device that the engine was told.

    While an operation runs, `inside` says that the engine does not.
    """

    def __init__(self, inside: list[bool]) -> None:
        super().__init__()
        self._inside = inside

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _ASKED:
            return func(*args, **kwargs)
        if func._schema.name in _NOT_TAKEN:
            return False
        if kwargs.get("device") == _META_DEVICE:
            kwargs = {**kwargs, "device": torch.device("cuda", 0)}
        self._inside.append(False)
        try:
            return func(*args, **kwargs)
        finally:
            self._inside.pop()


def _answers(capability: Capability) -> Iterator[tuple[Any, str, Any]]:
    from torch._subclasses import fake_tensor
    from torch.cuda.amp import common

    yield fake_tensor, "run_fallback_kernel", _on_the_host(fake_tensor.run_fallback_kernel)
    yield common, "amp_definitely_not_available", lambda: False
    yield torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or capability >= (8, 0)
    yield torch.cuda, "get_device_capability", lambda *_: capability
    yield torch.cuda, "synchronize", lambda *_: None


def _on_the_host(run: Any) -> Any:
    """`run_fallback_kernel`, which learns a result's shape from a real kernel on zeros: the CPU's kernel."""

    def moved(each: Any, device: str) -> Any:
        if isinstance(each, torch.Tensor):
            return torch.empty_strided(each.shape, each.stride(), dtype=each.dtype, device=device)
        return torch.device(device) if isinstance(each, torch.device) else each

    def ran(mode: Any, func: Any, arguments: Any, *rest: Any) -> Any:
        if not any(isinstance(each, torch.Tensor) and each.device.type == "cuda" for each in arguments):
            return run(mode, func, arguments, *rest)
        with mode:
            found = run(mode, func, [moved(each, "cpu") for each in arguments], *rest)
            return tree_map(lambda each: moved(each, "cuda"), found)

    return ran
