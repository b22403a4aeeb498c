"""What stands in for the names of torch in a pickled state dict: tables and small values, without torch.

The names are those that `torch.load(weights_only=True)` allows (torch/_weights_only_unpickler.py); others are refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hfcount.dtypes import TORCH_NAMES, TORCH_STORAGES, bits
from hfcount.sources.headers.pickled import Inert

_MOST = 2**63 - 1
_DIMENSIONS = 64
"""Sizes of one tensor that are read: a bound of our own, far above any model's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements in the file.

    Attributes:
        key: its name there.
        nbytes: of all its elements.
    """

    key: str
    dtype: str
    nbytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class PickledTensor:
    """A view of a storage; `storage` is None for a tensor without data (the meta device), `offset` is in bytes."""

    storage: Storage | None
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def in_safetensors(self) -> tuple[str, tuple[int, ...]]:
        """Element type and shape as safetensors stores them: two values of four bits in a byte are two elements."""
        if self.dtype == "float4_e2m1fn_x2" and self.shape:
            return "F4", (*self.shape[:-1], 2 * self.shape[-1])
        return self.dtype, self.shape

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        """Of its elements, each counted once."""
        return -(-self.elements * (bits(self.dtype) or 8) // 8)


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """An allowed name. What a call of it makes is `make` of the arguments; a wrong number of them is a TypeError."""

    path: str
    make: Callable[..., Any]

    def call(self, arguments: tuple[Any, ...]) -> Any:
        return self.make(*arguments)


@dataclasses.dataclass(frozen=True, slots=True)
class DtypeName:
    """A torch dtype or storage class: `dtype` in the words of safetensors."""

    path: str
    dtype: str

    def call(self, arguments: tuple[Any, ...]) -> Any:
        return Inert()


def storage_of(identity: Any) -> Storage:
    """The storage that a persistent id names: ("storage", class, key, device, elements, ...). Raises ValueError."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise ValueError("a persistent id that is no storage")
    _, kind, key, _, elements = identity[:5]
    if not isinstance(kind, DtypeName) or not isinstance(key, str) or not _is_size(elements):
        raise ValueError("a storage without type, key or size")
    return Storage(key, kind.dtype, -(-elements * (bits(kind.dtype) or 8) // 8))


def stub(path: str) -> Name | DtypeName | None:
    """What stands in for a dotted name; None for one that is not allowed."""
    module, _, name = path.rpartition(".")
    if module == "torch" and name in TORCH_NAMES:
        return DtypeName(path, TORCH_NAMES[name])
    if module in _STORAGE_MODULES and name.lstrip("_") in TORCH_STORAGES:
        return DtypeName(path, TORCH_STORAGES[name.lstrip("_")])
    make = _MAKES.get(path)
    return None if make is None else Name(path, make)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> PickledTensor:
    """torch._utils._rebuild_tensor and _v2: the elements are of the storage's type."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return _view(storage, storage.dtype, offset, shape, stride)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, gradient: Any, hooks: Any, dtype: Any, *rest: Any
) -> PickledTensor:
    """_rebuild_tensor_v3: the storage is of bytes, the elements have a type of their own."""
    if not isinstance(storage, Storage) or not isinstance(dtype, DtypeName):
        raise ValueError("a tensor without a storage or a type")
    return _view(storage, dtype.dtype, offset, shape, stride)


def _meta_tensor(dtype: Any, shape: Any, stride: Any, *rest: Any) -> PickledTensor:
    if not isinstance(dtype, DtypeName):
        raise ValueError("a tensor without a type")
    return _view(None, dtype.dtype, 0, shape, stride)


def _view(storage: Storage | None, dtype: str, offset: Any, shape: Any, stride: Any) -> PickledTensor:
    """The tensor, if it lies within its storage. Raises ValueError."""
    for sizes in ((offset,), shape, stride):
        if not isinstance(sizes, tuple) or not all(map(_is_size, sizes)):
            raise ValueError("sizes that are no integers from 0 on")
    if len(shape) != len(stride) or len(shape) > _DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} sizes and {len(stride)} strides")
    width = bits(dtype) or 8
    tensor = PickledTensor(storage, dtype, shape, stride, offset * width // 8)
    if not _is_size(tensor.elements * width):
        raise ValueError("a shape that 64 bits do not hold")
    if storage is not None and tensor.elements:
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if (last + 1) * width > 8 * storage.nbytes:
            raise ValueError("a tensor that reaches beyond its storage")
    return tensor


def _first(value: Any, *rest: Any) -> Any:
    """A parameter is its data; what else it has (hooks, state) is of no concern."""
    return value


def _by_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """torch._tensor._rebuild_from_type_v2: a subclass of Tensor, made by another allowed function."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise ValueError("a tensor that no function makes")
    return function.call(arguments)


def _sparse(layout: Any, data: Any) -> Any:
    """The parts under their names: of COO indices and values, of a compressed layout two lists of indices besides."""
    if not isinstance(data, tuple):
        raise ValueError("a sparse tensor without parts")
    parts = [part for part in data if isinstance(part, PickledTensor)]
    names = ("indices", "values") if len(parts) == 2 else ("compressed_indices", "plain_indices", "values")
    return dict(zip(names, parts, strict=False))


def _nested(buffer: Any, sizes: Any, strides: Any, offsets: Any) -> Any:
    return {"buffer": buffer, "sizes": sizes, "strides": strides, "storage_offsets": offsets}


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """collections.OrderedDict; Python 2 gives it its pairs as lists."""
    found = {}
    for pair in pairs if isinstance(pairs, (list, tuple)) else ():
        key, value = pair
        if isinstance(key, (str, int)):
            found[key] = value
    return found


def _nothing(*arguments: Any) -> Inert:
    return Inert()


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
_QSCHEMES = (
    "per_tensor_affine",
    "per_tensor_symmetric",
    "per_channel_affine",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)
_MAKES: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.Counter": _nothing,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._tensor._rebuild_from_type_v2": _by_type,
    "torch.nn.parameter.Parameter": _first,
    "torch.nn.parameter.Buffer": _first,
    "torch.Tensor": _nothing,
    "torch.Size": _first,
    "torch.device": _nothing,
    "torch.serialization._get_layout": _nothing,
    **{f"torch.{name}": _nothing for name in _QSCHEMES},
    "_codecs.encode": _nothing,
    **{
        f"{module}.{name}": _nothing
        for module in ("builtins", "__builtin__")
        for name in ("set", "complex", "bytearray")
    },
}
