"""The values of small tensors where no tensor has memory: what code asks that looks before it goes on.

Fake tensors have no values, so a question like `mask.all()`, `lengths.tolist()` or `x[mask]` stops them. But most of
what is asked does not depend on weights: it comes from token ids, positions, masks and constants. So beside each fake
tensor that is computed from nothing else, and is small, its real value is computed too; operations whose result, or
whose result's shape, depends on a value are then answered from it.

Three values that weights do decide are given as they are in a step that goes well:

1. Numbers are finite: `isinf` and `isnan` are false.
2. The choice of the best k (a router's experts) is even: each is chosen as often as the others.
3. A number drawn to decide whether a whole layer is dropped keeps the layer.

Where anything else is asked, torch's own error names the operator.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_leaves, tree_map

EACH_BYTES = 16 * 2**20
ALL_BYTES = 256 * 2**20
"""No value takes more than EACH_BYTES, all together not much more than ALL_BYTES."""

_ATEN = torch.ops.aten
_NAME = "_hfcount_value"
_EMPTY = {_ATEN.empty.memory_format, _ATEN.empty_like.default, _ATEN.new_empty.default, _ATEN.empty_strided.default}


class _Unknown(Exception):
    """A value is needed that is not known."""


class _Place:
    """The memory that several values may share; `lost` once something unknown was written into it."""

    __slots__ = ("__weakref__", "lost")

    def __init__(self) -> None:
        self.lost = False


class Values(TorchDispatchMode):
    """Knows the values of small tensors that do not depend on weights. To be entered inside a FakeTensorMode."""

    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _GIVEN.get(func)
        if given is None and not _may_be_known(args, kwargs):
            return func(*args, **kwargs)
        _check_places(func, args)
        try:
            result = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return self._answered(func, args, kwargs)
        if _random(func):
            _lose(func, args, kwargs)
        elif _may_be_known(args, kwargs):
            self._follow(func, args, kwargs, result)
        if given is not None:
            self._given(given, result, args, kwargs)
        return result

    def _given(self, given: Callable[..., Any], result: Any, args: Any, kwargs: Any) -> None:
        """Give what weights decide the value of a step that goes well, unless it is known."""
        made = tree_leaves(result)[-1]
        if _is_known(made) or self._held > ALL_BYTES:
            return
        with unset_fake_temporarily():
            value = given(made, *args, **kwargs)
        if value is not None:
            self._keep(made, value, _Place())

    def _follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Compute the value of a result, too, where it is small and all that it is made of is known."""
        made = list(_tensors((result,), {}))
        if not made:
            return None
        if not all(_small(each) for each in made) or self._held > ALL_BYTES:
            return _lose(func, args, kwargs)
        try:
            values, places = self._values(args, kwargs)
        except _Unknown:
            return _lose(func, args, kwargs)
        try:
            with unset_fake_temporarily(), torch.no_grad():
                found = _zeros(result) if func in _EMPTY else func(*values[0], **values[1])
        except RuntimeError:  # a value that one number stands for cannot be written into, or lies otherwise
            return _lose(func, args, kwargs)
        pairs = zip(made, _tensors((found,), {}), strict=True)
        for fake, value in pairs:
            self._keep(fake, value, places.get(value.untyped_storage()._cdata) or _Place())
        return None

    def _answered(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of an operation that depends on values; torch's error again where they are not known."""
        try:
            values, _ = self._values(args, kwargs)
        except _Unknown:
            return _partly(func, args, kwargs)
        with unset_fake_temporarily(), torch.no_grad():
            found = func(*values[0], **values[1])
        device = _device(args, kwargs)
        return tree_map(lambda each: self._fake(each, device) if isinstance(each, torch.Tensor) else each, found)

    def _fake(self, value: torch.Tensor, device: torch.device) -> torch.Tensor:
        made = _empty(value, device)
        self._keep(made, value, _Place())
        return made

    def _keep(self, fake: torch.Tensor, value: torch.Tensor, place: _Place) -> None:
        size = value.untyped_storage().nbytes()
        self._held += size
        setattr(fake, _NAME, (value, place))
        weakref.finalize(fake, self._let_go, size).atexit = False

    def _let_go(self, size: int) -> None:
        self._held -= size

    def _values(self, args: Any, kwargs: Any) -> tuple[Any, dict[int, _Place]]:
        """The arguments with their values for tensors, and which place each value's memory is. Raises _Unknown.

        Values lie on the CPU, wherever their fake tensors are.
        """
        places = {}

        def value_of(each: Any) -> Any:
            if isinstance(each, torch.device):
                return torch.device("cpu")
            if not isinstance(each, torch.Tensor):
                return each
            value, place = known(each)
            places[value.untyped_storage()._cdata] = place
            return value

        return tree_map(value_of, (args, kwargs)), places


def known(tensor: torch.Tensor) -> tuple[torch.Tensor, _Place]:
    """The value of a tensor and its place; raises _Unknown."""
    if not isinstance(tensor, FakeTensor):
        if tensor.device.type == "meta":
            raise _Unknown
        return tensor, _Place()
    value, place = getattr(tensor, _NAME, (None, None))
    if value is None or place is None or place.lost:
        raise _Unknown
    return value, place


def _is_known(tensor: torch.Tensor) -> bool:
    if not isinstance(tensor, FakeTensor):
        return tensor.device.type != "meta"
    _, place = getattr(tensor, _NAME, (None, None))
    return place is not None and not place.lost


def _may_be_known(args: Any, kwargs: Any) -> bool:
    """Whether any value is among the arguments, or there are no tensors at all: a constant is made."""
    found = False
    for each in _tensors(args, kwargs):
        if _is_known(each):
            return True
        found = True
    return not found


def _tensors(args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    """The tensors among the arguments of an operation: as they are, or in lists."""
    for each in (*args, *kwargs.values()):
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from (inner for inner in each if isinstance(inner, torch.Tensor))


def _check_places(func: Any, args: Any) -> None:
    """Raise IndexError, as a real step would, for a known place that is not in the table that is looked up."""
    if func is _ATEN.embedding.default:
        looked_up = [(args[1], args[0].shape[0])]
    elif func is _ATEN.index.Tensor:
        looked_up = [pair for pair in zip(args[1], args[0].shape, strict=False) if pair[0] is not None]
        looked_up = [] if any(each.dtype != torch.long for each, _ in looked_up) else looked_up
    else:
        return
    for places, size in looked_up:
        if _is_known(places) and places.numel():
            with unset_fake_temporarily():
                least, most = (int(each) for each in known(places)[0].aminmax())
            if least < -size or most >= size:
                raise IndexError(f"index {most if most >= size else least} is out of a table of {size}")


def _small(tensor: torch.Tensor) -> bool:
    return tensor.untyped_storage().nbytes() <= EACH_BYTES


def _random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _zeros(result: Any) -> Any:
    return tree_map(lambda each: torch.zeros(each.shape, dtype=each.dtype), result)


def _lose(func: Any, args: Any, kwargs: Any) -> None:
    """Forget the values of what `func` writes into."""
    if not func._schema.is_mutable:
        return
    named = {**dict(zip((each.name for each in func._schema.arguments), args, strict=False)), **kwargs}
    for each in func._schema.arguments:
        if each.is_write or (each.alias_info is not None and each.alias_info.is_write):
            for written in tree_leaves(named.get(each.name)):
                _, place = getattr(written, _NAME, (None, None))
                if place is not None:
                    place.lost = True


def _partly(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation on unknown numbers whose result's shape is told by known ones.

    Masks become the places where they are true; where all integers are known (a CTC loss's lengths) the rest is zero.
    """
    if func is _ATEN.masked_select.default and _is_known(args[1]):
        with unset_fake_temporarily():
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
            count = int(known(args[1])[0].expand(shape).sum())
        return args[0].new_empty(count)
    indices = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    if tree_any(lambda each: isinstance(each, torch.Tensor) and each.dtype == torch.bool, indices):
        return func(args[0], _as_places(indices), *args[2:], **kwargs)
    integers = [each for each in _tensors(args, kwargs) if not each.is_floating_point()]
    if not integers or not all(_is_known(each) for each in integers):
        return func(*args, **kwargs)
    with unset_fake_temporarily(), torch.no_grad():
        values = tree_map(_or_zeros, (args, kwargs))
        found = func(*values[0], **values[1])
    device = _device(args, kwargs)
    return tree_map(lambda each: _empty(each, device), found)


def _or_zeros(each: Any) -> Any:
    if not isinstance(each, torch.Tensor):
        return each
    return known(each)[0] if _is_known(each) else torch.zeros((), dtype=each.dtype).expand(each.shape)


def _empty(value: Any, device: torch.device) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)


def _device(args: Any, kwargs: Any) -> torch.device:
    """Where an operation's result lies: as asked, else where its first tensor does."""
    asked = kwargs.get("device")
    return asked if asked is not None else next((each.device for each in _tensors(args, kwargs)), torch.device("cpu"))


def _as_places(indices: Any) -> list[Any]:
    found: list[Any] = []
    for each in indices:
        if isinstance(each, torch.Tensor) and each.dtype == torch.bool and _is_known(each):
            with unset_fake_temporarily():
                count = int(known(each)[0].sum())
            found += [each.new_empty(count, dtype=torch.long) for _ in range(each.dim())]
        else:
            found.append(each)
    return found


def _zero(made: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return torch.zeros((), dtype=made.dtype).expand(made.shape)


def _one(made: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return torch.ones((), dtype=made.dtype).expand(made.shape)


def _evenly(made: torch.Tensor, scores: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor | None:
    """Places of the best along the last dimension: 0, 1, .. for the first row, and so on where it ended."""
    if not _small(made) or scores.dim() == 0:
        return None
    return (torch.arange(made.numel()) % scores.shape[-1]).reshape(made.shape)


def _kept(made: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor | None:
    return torch.ones(()) if made.dim() == 0 else None


_GIVEN: dict[Any, Callable[..., torch.Tensor | None]] = {
    _ATEN.isinf.default: _zero,
    _ATEN.isnan.default: _zero,
    _ATEN.new_zeros.default: _zero,  # in whose shape or type they are made does not matter
    _ATEN.zeros_like.default: _zero,
    _ATEN.new_ones.default: _one,
    _ATEN.ones_like.default: _one,
    _ATEN.topk.default: _evenly,
    _ATEN.argmax.default: _evenly,
    _ATEN.rand.default: _kept,
}
