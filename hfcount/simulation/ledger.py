"""A ledger of memory: every storage that a piece of torch code makes, when it was born and when it was freed.

The ledger watches below autograd (a TorchDispatchMode), so it sees what the backward pass and the optimizer make too,
and it does not care whether tensors have memory: real ones and fake ones are entered alike. What a kernel allocates
for itself while it runs is not seen; what some are known to take is entered by a rule (`Transients`). Time is counted
in operations.

All that is asked of a step (its peak, what was alive then, the curve) is computed from the table of entries.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import _DISPATCH_META_HANDLERS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hfcount.deadline import TimeIsUp, check_deadline
from hfcount.simulation.flops import flops_of
from hfcount.simulation.peak import HOST

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

_DEVICE = torch.ops.prim.device.default
COLUMNS = ("bytes", "born", "died", "phase", "kind", "module", "name", "shape", "dtype")


@dataclasses.dataclass(slots=True)
class Entry:
    """One storage: `died` is None while it lives; `kind` is what it turned out to be (see `Ledger.declare`)."""

    bytes: int
    born: int
    died: int | None
    phase: str
    kind: str
    module: str
    name: str
    shape: tuple[int, ...]
    dtype: str


Transients = dict[str, Callable[[tuple[Any, ...]], list[tuple[torch.dtype, tuple[int, ...]]]]]
"""Types and shapes of what an operation allocates and frees within itself, by the operation's name."""


def _dequantized(arguments: tuple[Any, ...]) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    """bitsandbytes::gemm_4bit(A, B, shape, ...) unpacks B to A's type before it multiplies."""
    return [(arguments[0].dtype, tuple(arguments[2]))]


TRANSIENTS: Transients = {"bitsandbytes.gemm_4bit.default": _dequantized}
"""Those of kernels on every device."""


class Ledger(TorchDispatchMode):
    """Enters each storage that is made while it is active, and those that are declared.

    Where `device` is given ("cuda"), storages elsewhere are not entered, for the optimizer's counters lie on the host;
    or, with `sees_host`, they are entered as of the kind "host", whatever is declared. Its
    allocator hands out multiples of `rounding` bytes. `seconds` bounds how long it watches: TimeIsUp at the next
    module, or when `check_time` is asked. `phase` is set by who runs the step; `modules` is the stack of modules whose
    forward is running. `log` has phase and module of each moment; `flops` how often each phase had an operation of so
    many floating-point operations. `kind` is what storages made from now on are, "" where that is to be found out. In
    the backward pass an operation belongs to the module whose forward made its node: torch numbers the nodes, and the
    numbers are noted with the modules.
    """

    def __init__(
        self,
        *,
        seconds: float | None = None,
        rounding: int = 1,
        device: str | None = None,
        transients: Transients = TRANSIENTS,
    ) -> None:
        super().__init__()
        self._transients = transients
        self.rounding = rounding
        self._device = device
        self._until = time.monotonic() + seconds if seconds else None
        self.entries: list[Entry] = []
        self.phase = ""
        self.kind = ""
        self.sees_host = False
        self.modules: list[str] = [""]
        self.log: list[tuple[str, str]] = [("", "")]
        self.flops: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
        self._made_in: dict[int, str] = {}
        self._undone = ""
        self._within: str | None = None
        self._alive: dict[int, tuple[int, weakref.ref[Any]]] = {}

    def declare(self, tensors: Iterable[tuple[str, torch.Tensor]], kind: str) -> None:
        """Say what the storages of `tensors` are; those that are not entered yet are entered now.

        Of a tensor that is divided over devices (a DTensor) it is this device's part.
        """
        for name, tensor in tensors:
            for part in _parts(tensor):
                if (entry := self._enter(part, name)) is not None:
                    entry.kind, entry.name = HOST if entry.kind == HOST else kind, name

    def reserve(self, size: int, kind: str, name: str) -> None:
        """Enter `size` bytes that a library takes when it starts, and keeps."""
        self.entries.append(Entry(size, self.now, None, self.phase, kind, "", name, (), ""))

    def resized(self, storage: torch.UntypedStorage) -> None:
        """Enter that a storage has got another size: what it held is freed, and what it holds is new."""
        if (found := self._alive.get(storage._cdata)) is None:
            return
        index, reference = found
        entry = self.entries[index]
        if entry.died is None:
            entry.died = self.now
        size = storage.nbytes()
        if not size:
            return
        self._alive[storage._cdata] = (len(self.entries), reference)
        self.entries.append(
            dataclasses.replace(
                entry, bytes=size, born=self.now, died=None, phase=self.phase, kind=self.kind, module=self._module()
            )
        )

    def settle(self, *, from_the_beginning: bool) -> None:
        """Say what outlives the step: a buffer, where it is nothing else, though it may be registered as none.

        With `from_the_beginning` all that is alive is entered as there before: a later step finds it so.
        """
        for index, _ in self._alive.values():
            entry = self.entries[index]
            if entry.died is not None:  # resized to nothing
                continue
            entry.kind = entry.kind or "buffers"
            if from_the_beginning:
                entry.born = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _DEVICE:  # which fake tensors are asked for between operations: nothing is made
            return _DISPATCH_META_HANDLERS[func](args)
        if any(hasattr(each, "_local_tensor") for each in types):  # it asks again, for this device's part
            return NotImplemented
        module = self._module()
        result = func(*args, **(kwargs or {}))
        self.log.append((self.phase, module))
        if (transient := self._transients.get(str(func))) is not None:  # there until the result is
            for dtype, shape in transient(args):
                size, told = math.prod(shape) * dtype.itemsize, str(dtype).removeprefix("torch.")
                self.entries.append(
                    Entry(size, self.now, self.now, self.phase, "temporary", module, str(func), shape, told)
                )
        if flops := flops_of(func, args, kwargs or {}, result):
            self.flops[self.phase][flops] += 1
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._enter(each, str(func), module)
        return result

    def check_time(self) -> None:
        """Raise TimeIsUp after the time that was given.

        To be asked between operations: torch does not survive an exception within some of them.
        """
        check_deadline()
        if self._until is not None and time.monotonic() > self._until:
            raise TimeIsUp

    @contextlib.contextmanager
    def within(self, path: str) -> Iterator[None]:
        """A context in which what is made belongs to the module at a path, though its forward does not run."""
        before, self._within = self._within, path
        try:
            yield
        finally:
            self._within = before

    @property
    def now(self) -> int:
        """The number of the moment: operations so far."""
        return len(self.log) - 1

    def _module(self) -> str:
        """The module that runs; in the backward pass the one whose forward is undone."""
        if self._within is not None:
            return self._within
        if len(self.modules) > 1:
            self._made_in[torch.autograd._get_sequence_nr() - 1] = self.modules[-1]  # type: ignore[attr-defined]
            return self.modules[-1]
        node = torch._C._current_autograd_node()
        if node is None:
            self._undone = ""
        else:  # a node that no forward made adds up the gradient of the one before
            self._undone = self._made_in.get(node._sequence_nr(), self._undone)
        return self._undone

    def _enter(self, tensor: torch.Tensor, name: str, module: str = "") -> Entry | None:
        elsewhere = self._device is not None and tensor.device.type != self._device
        if elsewhere and not self.sees_host:
            return None
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return self.entries[self._alive[key][0]]
        sides = tuple(tensor.shape)
        if name in _PADDED:
            sides = _laid_out(tensor, storage.nbytes())
        entry = Entry(
            bytes=max(storage.nbytes(), math.prod(sides) * tensor.itemsize if sides != tensor.shape else 0),
            born=self.now,
            died=None,
            phase=self.phase,
            kind=HOST if elsewhere else self.kind,
            module=module,
            name=name,
            shape=sides,
            dtype=str(tensor.dtype).removeprefix("torch."),
        )
        self._alive[key] = (len(self.entries), weakref.ref(storage, lambda _: self._freed(key)))
        self.entries.append(entry)
        return entry

    def _freed(self, key: int) -> None:
        index, _ = self._alive.pop(key)
        if self.entries[index].died is None:
            self.entries[index].died = self.now

    def table(self) -> pd.DataFrame:
        """A row for each entry, in the order of birth; `died` is NA for what still lives."""
        import pandas as pd

        rows = [[getattr(each, column) for column in COLUMNS] for each in self.entries]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"bytes": "int64", "born": "int64", "died": "Int64"})


_PADDED = ("aten._scaled_dot_product_efficient_attention_backward.default",)
"""Kernels that pad the rows of what they return."""


def _laid_out(tensor: torch.Tensor, size: int) -> tuple[int, ...]:
    """The sides of a tensor as it lies in a storage of that many bytes, whose rows a kernel may have padded.

    Torch's cache of fake results (`_get_output_tensor_from_cache_entry`) cuts off what stands behind the last row.
    """
    sides = tuple(tensor.shape)
    if tensor.layout != torch.strided or tensor.dim() < 2 or tensor.stride(-1) != 1 or tensor.stride(-2) <= sides[-1]:
        return sides
    *outer, row = sides
    apart = tensor.stride(-2)
    dense = all(tensor.stride(each) == tensor.stride(each + 1) * sides[each + 1] for each in range(len(outer) - 1))
    whole = math.prod(outer) * apart
    return (*outer, apart) if dense and size // tensor.itemsize in (whole, whole - apart + row) else sides


def _parts(tensor: Any) -> Iterator[torch.Tensor]:
    """The tensor, and for a 4-bit parameter of bitsandbytes what its state holds."""
    yield getattr(tensor, "_local_tensor", tensor)
    state = getattr(tensor, "quant_state", None)
    for holder in (state, getattr(state, "state2", None)):
        for name in ("absmax", "code", "offset"):
            part = getattr(holder, name, None)
            if isinstance(part, torch.Tensor):
                yield part


@contextlib.contextmanager
def named_modules(ledger: Ledger, model: nn.Module) -> Iterator[None]:
    """A context in which entries know the module whose forward made them, by its path in `model`."""
    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_entering(ledger, path), prepend=True))
        handles.append(module.register_forward_hook(_leaving(ledger), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _entering(ledger: Ledger, path: str) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        ledger.check_time()
        ledger.modules.append(path)

    return hook


def _leaving(ledger: Ledger) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        ledger.modules.pop()

    return hook
