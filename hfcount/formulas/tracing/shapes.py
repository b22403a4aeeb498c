"""The symbolic shape of every tensor that is made while a trace runs, and the loops a parameter was made in."""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.dims import dims_after
from hfcount.formulas.tracing.numbers import SymbolicFloat, SymbolicInt
from hfcount.formulas.tracing.recorder import Recorder, is_ignored
from hfcount.formulas.tracing.sequences import SymbolicList, TracedRange, distinct

_MODEL_CODE = ("transformers.models.", "hfcount.minigpt.")


class NoteShapes(TorchFunctionMode):
    """Every factory call leaves its symbolic shape on the tensor; what is computed from a tensor keeps what fits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func in _SIZES and hasattr(args[0], "dims") and _asked_by_model(sys._getframe(1)):
            return _remembered(out, args, kwargs)
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, torch.Tensor) and not hasattr(each, "dims"):
                dims = dims_after(func, args, kwargs, each)
                if dims is not None and len(dims) == each.dim():
                    each.dims = dims  # type: ignore[attr-defined]
        return out


_SIZES = (torch.Tensor.size, torch.Tensor.shape.__get__)  # type: ignore[attr-defined]


def _asked_by_model(frame: Any) -> bool:
    """Whether a model's own code asks, outside of what fills in weights."""
    return frame.f_globals.get("__name__", "").startswith(_MODEL_CODE) and not is_ignored(frame)


def _remembered(out: Any, args: Any, kwargs: Any) -> Any:
    """A size, or all sizes, of a tensor whose symbolic shape is known."""
    dims = args[0].dims
    if isinstance(out, tuple):
        return torch.Size(_size(size, dim) for size, dim in zip(out, dims, strict=True))
    return _size(out, dims[kwargs.get("dim", args[1] if len(args) > 1 else 0)])


def _size(value: int, dim: Polynomial) -> int:
    return SymbolicInt(value, dim) if dim.symbols else value


@contextlib.contextmanager
def noted_parameters(recorder: Recorder) -> Iterator[None]:
    """A context in which every Parameter keeps its data's symbolic shape and the loops it was made in."""
    make = torch.nn.parameter.Parameter.__new__
    legacy = torch.FloatTensor

    def with_note(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        parameter = make(cls, data, requires_grad)
        if hasattr(data, "dims"):
            parameter.dims = data.dims
        parameter.loops = tuple(getattr(data, "loops", ())) or tuple(recorder.stack)
        return parameter

    def legacy_tensor(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls is torch.Tensor and args and all(isinstance(each, int) for each in args):
            return torch.empty(*args)
        return torch._C.TensorBase.__new__(cls, *args, **kwargs)

    register = nn.Module.register_buffer

    def register_with_note(self: Any, name: str, tensor: Any, persistent: bool = True) -> None:
        if isinstance(tensor, torch.Tensor) and not hasattr(tensor, "loops"):
            tensor.loops = tuple(recorder.stack)  # type: ignore[attr-defined]
        register(self, name, tensor, bool(persistent))

    nn.Module.register_buffer = register_with_note  # type: ignore[method-assign]
    torch.nn.parameter.Parameter.__new__ = staticmethod(with_note)  # type: ignore[method-assign,assignment]
    torch.Tensor.__new__ = staticmethod(legacy_tensor)  # type: ignore[method-assign,assignment]
    torch.FloatTensor = lambda *size: torch.empty(*size) if size and isinstance(size[0], int) else legacy(*size)  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        torch.nn.parameter.Parameter.__new__ = make  # type: ignore[method-assign]
        torch.FloatTensor = legacy  # type: ignore[misc]
        nn.Module.register_buffer = register  # type: ignore[method-assign]
        del torch.Tensor.__new__


class _TracedIntMeta(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, builtins.int)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, builtins.int)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:
            if isinstance(args[0], SymbolicInt):
                return args[0]
            if isinstance(args[0], SymbolicFloat):
                return args[0].__trunc__()
        return builtins.int(*args, **kwargs)


class _TracedInt(metaclass=_TracedIntMeta):
    """What `int` means in model code while a trace runs: the same, and it keeps what a number remembers."""


class _TracedRangeMeta(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, (builtins.range, TracedRange))

    def __call__(cls, *args: Any) -> Any:
        if any(isinstance(each, SymbolicInt) for each in args):
            return TracedRange(*args)
        return builtins.range(*args)


class _TracedRange(metaclass=_TracedRangeMeta):
    """What `range` means in model code while a trace runs."""


class _TracedSetMeta(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, builtins.set)

    def __call__(cls, *args: Any) -> Any:
        return distinct(*args)


class _TracedSet(metaclass=_TracedSetMeta):
    """What `set` means in model code while a trace runs: which values a list has is a condition."""


class _TracedListMeta(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, builtins.list)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, builtins.list)

    def __getitem__(cls, item: Any) -> Any:
        return builtins.list[item]

    def __call__(cls, *args: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], TracedRange):
            return SymbolicList(args[0].plain, f"range({args[0].written})")
        return builtins.list(*args)


class _TracedList(metaclass=_TracedListMeta):
    """What `list` means in model code while a trace runs: one made of a range remembers the range."""


@contextlib.contextmanager
def traced_builtins() -> Iterator[None]:
    """A context in which these built-ins keep what numbers remember, in the modules of models and configs."""
    prefixes = (*_MODEL_CODE, "transformers.modeling_layers", "transformers.modeling_rope_utils", "timm.")
    homes = [
        vars(module)
        for name, module in list(sys.modules.items())
        if module is not None and name.startswith(prefixes) and isinstance(module, ModuleType)
    ]
    names = {"int": _TracedInt, "range": _TracedRange, "set": _TracedSet, "list": _TracedList}
    changed = [home for home in homes if not names.keys() & home.keys()]
    for home in changed:
        home.update(names)
    try:
        yield
    finally:
        for home in changed:
            for name in names:
                del home[name]


__all__ = ["NoteShapes", "nn", "noted_parameters", "traced_builtins"]
