"""The symbolic shape of every tensor that is made while a trace runs, and the loops a parameter was made in."""

from __future__ import annotations

import builtins
import contextlib
import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.numbers import SymbolicFloat, SymbolicInt, polynomial_of, quotient
from hfcount.formulas.tracing.recorder import Recorder
from hfcount.formulas.tracing.sequences import TracedRange

Dims = tuple[Polynomial, ...]

_BY_SIZE = (
    torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.normal, torch.randint,
)  # fmt: skip


class NoteShapes(TorchFunctionMode):
    """Every factory call leaves its symbolic shape on the tensor; what is computed from a tensor keeps what fits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if isinstance(out, torch.Tensor) and not hasattr(out, "dims"):
            dims = _dims(func, args, kwargs, out)
            if dims is not None and len(dims) == out.dim():
                out.dims = dims  # type: ignore[attr-defined]
        return out


def _dims(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> Dims | None:
    if func in _BY_SIZE:
        given = [each for each in args if isinstance(each, (tuple, list, torch.Size))]
        size = kwargs.get("size", given[0] if given else args)
        return tuple(polynomial_of(each) for each in size) if len(size) == out.dim() else None
    if func is torch.arange:
        return _arange(args, kwargs)
    if func in (torch.linspace, torch.logspace):
        steps = kwargs.get("steps", args[2] if len(args) > 2 else None)
        return (polynomial_of(steps),) if isinstance(steps, int) else None
    if func is torch.eye:
        sides = [each for each in args if isinstance(each, int)]
        return tuple(polynomial_of(each) for each in (sides * 2)[:2]) if sides else None
    if func is torch.diag and args and hasattr(args[0], "dims") and out.dim() == 2:
        return args[0].dims * 2
    if func is torch.tensor:
        return _nested(args[0], out.dim()) if args else None
    if func in (torch.Tensor.repeat, torch.Tensor.expand, torch.Tensor.view, torch.Tensor.reshape):
        return _resized(func, args, out)
    return _kept(args, out)


def _arange(args: Any, kwargs: Any) -> Dims | None:
    bounds = [each for each in args if isinstance(each, (int, float))]
    start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3] if len(bounds) > 1 else (0, 0, 1)
    start, stop, step = kwargs.get("start", start), kwargs.get("end", stop), kwargs.get("step", step)
    if not all(isinstance(each, int) for each in (start, stop, step)) or step <= 0:
        return None
    length = stop - start
    return (polynomial_of(length if step == 1 else quotient(length + step - 1, step)),)


def _nested(value: Any, depth: int) -> Dims | None:
    dims: list[Polynomial] = []
    for _ in range(depth):
        if not isinstance(value, (list, tuple)):
            return None
        dims.append(
            polynomial_of(getattr(value, "times", list.__len__(value) if isinstance(value, list) else len(value)))
        )
        value = list.__getitem__(value, 0) if isinstance(value, list) and list.__len__(value) else None
    return tuple(dims)


def _resized(func: Any, args: Any, out: torch.Tensor) -> Dims | None:
    source, *sizes = args
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = list(sizes[0])
    if not all(isinstance(each, int) for each in sizes) or len(sizes) != out.dim():
        return None
    known = getattr(source, "dims", tuple(Polynomial.constant(each) for each in source.shape))
    padded = (Polynomial.constant(1),) * (out.dim() - len(known)) + tuple(known)
    if func is torch.Tensor.repeat:
        return tuple(dim * polynomial_of(times) for dim, times in zip(padded, sizes, strict=True))
    if func is torch.Tensor.expand:
        return tuple(dim if int(size) == -1 else polynomial_of(size) for dim, size in zip(padded, sizes, strict=True))
    if any(int(size) == -1 for size in sizes):
        return None
    return tuple(polynomial_of(size) for size in sizes)


def _kept(args: Any, out: torch.Tensor) -> Dims | None:
    """The dims of the first tensor argument that fit the result place by place; ones stay ones."""
    tensors = [each for each in args if isinstance(each, torch.Tensor) and hasattr(each, "dims")]
    for source in tensors:
        if source.dim() == out.dim() and all(o in (1, s) for o, s in zip(out.shape, source.shape, strict=True)):
            return tuple(
                dim if o == s else Polynomial.constant(1)
                for dim, o, s in zip(source.dims, out.shape, source.shape, strict=True)  # type: ignore[attr-defined]
            )
    for source in tensors:  # moved or inserted: each size of the result that only one dim of the source has
        sizes = list(source.shape)
        dims = []
        for size in out.shape:
            places = [place for place, each in enumerate(sizes) if each == size]
            if size != 1 and len({source.dims[place] for place in places}) != 1:  # type: ignore[attr-defined]
                return None
            dims.append(source.dims[places[0]] if places else Polynomial.constant(1))  # type: ignore[attr-defined]
        return tuple(dims)
    return None


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


class _TracedMath(ModuleType):
    """`math` whose rounding functions keep what a number remembers (they do of themselves) and whose prod does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(math, name)


@contextlib.contextmanager
def traced_builtins() -> Iterator[None]:
    """A context in which `int` and `range` in the modules of models and configs keep what numbers remember."""
    prefixes = ("transformers.models.", "transformers.modeling_layers", "hfcount.minigpt.", "timm.")
    homes = [
        vars(module)
        for name, module in list(sys.modules.items())
        if module is not None and name.startswith(prefixes) and isinstance(module, ModuleType)
    ]
    changed = [home for home in homes if "int" not in home and "range" not in home]
    for home in changed:
        home["int"], home["range"] = _TracedInt, _TracedRange
    try:
        yield
    finally:
        for home in changed:
            del home["int"], home["range"]


__all__ = ["Dims", "NoteShapes", "nn", "noted_parameters", "traced_builtins"]
