"""Which symbolic shape a tensor has that torch made of sizes, or of other tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.numbers import SymbolicInt, polynomial_of, quotient

Dims = tuple[Polynomial, ...]
Known = list[tuple[torch.Tensor, Dims]]

_BY_SIZE = (
    torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.normal, torch.randint,
)  # fmt: skip


def dims_after(func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> Dims | None:
    """The symbolic shape of `out`, a result of the torch function `func`; None where no rule tells it."""
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
    if func in _RULES:
        tensors = list(_known(args))
        return _RULES[func](tensors, args, kwargs, out) if tensors else None
    return _kept(args, out)


def _known(args: Any) -> Iterator[tuple[torch.Tensor, Dims]]:
    """The tensors among the arguments, those in lists too, with their symbolic or else their plain shapes."""
    for each in args:
        if isinstance(each, torch.Tensor):
            yield each, getattr(each, "dims", tuple(Polynomial.constant(size) for size in each.shape))
        elif isinstance(each, (list, tuple)):
            yield from _known(each)


def _place(args: Any, kwargs: Any, out: torch.Tensor) -> int:
    given = kwargs.get("dim", args[1] if len(args) > 1 and isinstance(args[1], int) else 0)
    return int(given) % out.dim()


def _after_cat(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims:
    place, dims = _place(args, kwargs, out), list(tensors[0][1])
    dims[place] = sum((each[place] for _, each in tensors[1:]), dims[place])
    return tuple(dims)


def _after_stack(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims:
    place, dims = _place(args, kwargs, out), tensors[0][1]
    return (*dims[:place], Polynomial.constant(len(tensors)), *dims[place:])


def _after_meshgrid(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims:
    dims = tuple(each[0] if each else Polynomial.constant(1) for _, each in tensors)
    return dims if kwargs.get("indexing", "ij") == "ij" else (dims[1], dims[0], *dims[2:])


def _after_flatten(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims:
    (source, dims), plain = tensors[0], [each for each in args[1:] if isinstance(each, int)]
    first = int(kwargs.get("start_dim", plain[0] if plain else 0)) % source.dim()
    last = int(kwargs.get("end_dim", plain[1] if len(plain) > 1 else -1)) % source.dim()
    merged = dims[first]
    for each in dims[first + 1 : last + 1]:
        merged = merged * each
    return (*dims[:first], merged, *dims[last + 1 :])


def _after_both(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims:
    """Of two tensors taken place by place, where one of size 1 is stretched."""
    dims: list[Polynomial] = []
    for place in range(1, out.dim() + 1):
        sizes = [each[-place] for _, each in tensors if len(each) >= place]
        dims.append(next((size for size in sizes if size.symbols), max(sizes, key=lambda size: size.terms.get((), 0))))
    return tuple(reversed(dims))


def _after_outer(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims | None:
    return tuple(dim for _, dims in tensors for dim in dims) if out.dim() == 2 else None


def _after_getitem(tensors: Known, args: Any, kwargs: Any, out: torch.Tensor) -> Dims | None:
    dims, result = list(tensors[0][1]), list[Polynomial]()
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if any(each is Ellipsis or isinstance(each, (torch.Tensor, list)) for each in index):
        return _kept(args, out)
    for each in index:
        if each is None:
            result.append(Polynomial.constant(1))
            continue
        dim, size = dims.pop(0), out.shape[len(result)] if isinstance(each, slice) else 0
        if isinstance(each, slice):
            result.append(_sliced(dim, each, size))
    return (*result, *dims)


def _sliced(dim: Polynomial, part: slice, size: int) -> Polynomial:
    """The length of a slice of a dim; where its end is within, what it came to is taken as it is."""
    if part == slice(None):
        return dim
    start, step = part.start or 0, part.step or 1
    if start >= 0 and step > 0 and part.stop is None:
        length = SymbolicInt(size * step - step + 1, dim - polynomial_of(start) + Polynomial.constant(step - 1))
        return dim - polynomial_of(start) if step == 1 else polynomial_of(quotient(length, step))
    if part.stop is not None and part.stop >= 0 and start == 0 and step == 1:
        return polynomial_of(part.stop) if int(part.stop) == size else dim
    return Polynomial.constant(size)


_RULES: dict[Any, Callable[..., Dims | None]] = {
    torch.cat: _after_cat,
    torch.stack: _after_stack,
    torch.meshgrid: _after_meshgrid,
    torch.functional.meshgrid: _after_meshgrid,
    torch.flatten: _after_flatten,
    torch.Tensor.flatten: _after_flatten,
    torch.outer: _after_outer,
    torch.Tensor.add: _after_both,
    torch.Tensor.sub: _after_both,
    torch.Tensor.mul: _after_both,
    torch.Tensor.div: _after_both,
    torch.Tensor.__getitem__: _after_getitem,
}


def _arange(args: Any, kwargs: Any) -> Dims | None:
    bounds = [each for each in args if isinstance(each, (int, float))]
    start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3] if len(bounds) > 1 else (0, 0, 1)
    start, stop, step = kwargs.get("start", start), kwargs.get("end", stop), kwargs.get("step", step)
    if step <= 0:
        return None
    if not all(isinstance(each, int) for each in (start, stop, step)):
        return (polynomial_of(math.ceil((stop - start) / step)),)
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
    rest = [place for place, size in enumerate(sizes) if int(size) == -1]
    dims = [polynomial_of(size) for size in sizes]
    for place in rest:
        left = _left_over(known, source.shape, out.shape[place]) if len(sizes) > 1 else math.prod(known, start=_ONE)
        if left is None:
            return None
        dims[place] = left
    return tuple(dims)


_ONE = Polynomial.constant(1)


def _left_over(known: Dims, shape: Any, size: int) -> Polynomial | None:
    """What a -1 stands for in a view: the one dim of the tensor that has this size, else None."""
    fitting = {repr(dim): dim for dim, each in zip(known, shape, strict=True) if each == size}
    return next(iter(fitting.values())) if len(fitting) == 1 else None


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
