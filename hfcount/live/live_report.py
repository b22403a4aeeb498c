"""`report`: what a live module holds at this moment, parameter by parameter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hfcount.components import COMPONENTS
from hfcount.errors import BadInput
from hfcount.live.optimizer_state import OptimizerState, optimizer_state_of
from hfcount.live.places import ADDED, FOREIGN, Map
from hfcount.live.tensors import Held, Identity, held, identity, plain_tensors
from hfcount.shown import Charted

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn

COLUMNS = (
    "name", "shape", "dtype", "numel", "bytes", "component", "module_class", "aliases", "trainable", "device",
    "gradient_bytes",
)  # fmt: skip
BUFFER_COLUMNS = ("name", "shape", "dtype", "numel", "bytes", "persistent", "device")
GROUPINGS = ("component", "module_class", "dtype", "device", "module")
PACKED_INTEGERS = ("int32", "int64", "uint8", "int8")
SMALL = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveReport(Charted):
    """What a live module holds. Counts are exact; bytes are those of the tensors that are there now.

    Attributes:
        model, model_class: the name that its config has ("" without one), and its class.
        parameters: elements of all distinct parameters by their logical shapes: tied ones once, packed ones unpacked.
        trainable: those of them that require a gradient.
        adapters: those of them that PEFT added, copied modules included.
        bytes: what holds the parameters, statistics and code books of quantized ones included.
        trainable_bytes: the trainable part of it.
        gradient_bytes: of the gradients that are there.
        buffers, buffer_bytes: elements and bytes of the buffers, which are no parameters.
        optimizer: its state, where an optimizer was given.
        notes: what a reader must know, a line each.
        table: a row for each distinct parameter: name, shape, dtype ("nf4" where bitsandbytes packed it), numel,
            bytes, component, module_class, aliases (names tied to it), trainable, device, gradient_bytes.
        buffer_table: a row for each distinct buffer: name, shape, dtype, numel, bytes, persistent, device.
    """

    model: str
    model_class: str
    parameters: int
    trainable: int
    adapters: int
    bytes: int
    trainable_bytes: int
    gradient_bytes: int
    buffers: int
    buffer_bytes: int
    optimizer: OptimizerState | None
    notes: tuple[str, ...]
    table: pd.DataFrame = dataclasses.field(repr=False, compare=False)
    buffer_table: pd.DataFrame = dataclasses.field(repr=False, compare=False)

    @property
    def frozen(self) -> int:
        """Parameters that do not require a gradient."""
        return self.parameters - self.trainable

    @property
    def trainable_percent(self) -> float:
        """100·trainable / parameters, as PEFT prints it; 0 for a module without parameters."""
        return 100 * self.trainable / self.parameters if self.parameters else 0.0

    @property
    def total_bytes(self) -> int:
        """Parameters, buffers, gradients and the optimizer's state, as they are now."""
        state = 0 if self.optimizer is None else self.optimizer.bytes + self.optimizer.scalar_bytes
        return self.bytes + self.buffer_bytes + self.gradient_bytes + state

    @property
    def devices(self) -> tuple[str, ...]:
        """Where its tensors are: ("cuda:0", "cpu")."""
        return tuple(dict.fromkeys([*self.table["device"], *self.buffer_table["device"]]))

    def by(self, what: str = "component") -> pd.DataFrame:
        """The parameters summed by component, module_class, dtype, device or module (the top-level child).

        The index is the name of the group; the columns are parameters, share (of all), trainable, bytes. BadInput for
        another grouping.
        """
        if what not in GROUPINGS:
            raise BadInput(f"by({what!r}): one of {', '.join(GROUPINGS)}")
        keys = self.table["name"].str.partition(".")[0] if what == "module" else self.table[what]
        rows = self.table.assign(trained=self.table["numel"].where(self.table["trainable"], 0))
        sums = rows.groupby(keys.rename(what), sort=False)[["numel", "trained", "bytes"]].sum()
        sums = sums.rename(columns={"numel": "parameters", "trained": "trainable"})
        if what == "component":
            sums = sums.reindex([name for name in COMPONENTS if name in sums.index])
        sums.insert(1, "share", sums["parameters"] / max(1, self.parameters))
        return sums

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values, as for a JSON document or an experiment tracker."""
        return {
            "model": self.model,
            "model_class": self.model_class,
            "parameters": self.parameters,
            "trainable": self.trainable,
            "frozen": self.frozen,
            "trainable_percent": round(self.trainable_percent, 4),
            "adapters": self.adapters,
            "bytes": self.bytes,
            "trainable_bytes": self.trainable_bytes,
            "gradient_bytes": self.gradient_bytes,
            "buffers": self.buffers,
            "buffer_bytes": self.buffer_bytes,
            "optimizer": None if self.optimizer is None else dataclasses.asdict(self.optimizer),
            "total_bytes": self.total_bytes,
            "devices": list(self.devices),
            **{
                f"by_{what}": {str(name): int(number) for name, number in self.by(what)["parameters"].items()}
                for what in ("component", "dtype")
            },
            "notes": list(self.notes),
        }


def report(model: nn.Module, *, optimizer: torch.optim.Optimizer | None = None) -> LiveReport:
    """What the live module `model` holds now: parameters, what trains, types and bytes, by component.

    `model` is any `torch.nn.Module`, on any device, the meta device too: a transformers model, one that PEFT wrapped,
    one that bitsandbytes quantized (a packed matrix counts by its logical shape, its bytes are those stored), or a
    module that has nothing to do with any of these. Tied weights count once. With the `optimizer`, its state as well.
    Nothing is changed, moved or computed. For a model that is only a name, see `count` and `memory`. Raises BadInput
    for what is no module.

    >>> from torch import nn
    >>> found = report(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    >>> found.parameters, found.bytes, found.buffers
    (21, 84, 7)
    """
    from torch import nn

    if not isinstance(model, nn.Module):
        raise BadInput(
            f"report({type(model).__name__}): takes a live torch.nn.Module; for a name or a folder use hfcount.count"
        )
    import pandas as pd

    places = Map(model)
    known: set[Identity] = set()
    rows, states = _parameters(model, places, known)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        {"numel": "int64", "bytes": "int64", "gradient_bytes": "int64", "trainable": "bool"}
    )
    buffers = pd.DataFrame(_buffers(model, known), columns=list(BUFFER_COLUMNS)).astype(
        {"numel": "int64", "bytes": "int64", "persistent": "bool"}
    )
    stepped = None if optimizer is None else optimizer_state_of(optimizer, model)
    return LiveReport(
        model=str(getattr(getattr(model, "config", None), "_name_or_path", "") or ""),
        model_class=type(model).__name__,
        parameters=int(table["numel"].sum()),
        trainable=int(table.loc[table["trainable"], "numel"].sum()),
        adapters=int(table.loc[table["component"] == ADDED, "numel"].sum()),
        bytes=int(table["bytes"].sum()),
        trainable_bytes=int(table.loc[table["trainable"], "bytes"].sum()),
        gradient_bytes=int(table["gradient_bytes"].sum()),
        buffers=int(buffers["numel"].sum()),
        buffer_bytes=int(buffers["bytes"].sum()),
        optimizer=stepped,
        notes=tuple(_notes(table, buffers, states, stepped)),
        table=table,
        buffer_table=buffers,
    )


def _parameters(model: nn.Module, places: Map, known: set[Identity]) -> tuple[list[dict[str, Any]], list[Held]]:
    """A row for each distinct parameter in the model's order, and what holds it; `known` takes their storages."""
    names: dict[Any, list[str]] = {}
    first: dict[Any, tuple[nn.Parameter, Held]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        state = held(parameter, places.owner(name))
        # What is not there, a lazy or an empty tensor, has no storage to tell it from others.
        same = tuple(map(identity, state.tensors)) if any(each.numel() for each in state.tensors) else id(parameter)
        names.setdefault(same, []).append(name)
        kept = first.setdefault(same, (parameter, state))[0]
        if parameter.requires_grad and not kept.requires_grad:
            first[same] = (parameter, state)
    rows = []
    for same, (parameter, state) in first.items():
        tied = names[same]
        rows.append(
            {
                "name": tied[0],
                "shape": state.shape,
                "dtype": state.kind,
                "numel": math.prod(state.shape) if state.initialized else 0,
                "bytes": _bytes(state.tensors, known),
                "component": places.component(tied, parameter, state.shape),
                "module_class": type(places.owner(tied[0])).__name__,
                "aliases": tuple(tied[1:]),
                "trainable": parameter.requires_grad,
                "device": str(parameter.device),
                "gradient_bytes": _bytes(plain_tensors(parameter.grad), set()) if parameter.grad is not None else 0,
            }
        )
    return rows, [state for _, state in first.values()]


def _bytes(tensors: Iterable[torch.Tensor], known: set[Identity]) -> int:
    """The bytes of the tensors whose numbers are not yet `known`."""
    total = 0
    for tensor in tensors:
        if (same := identity(tensor)) not in known or not tensor.numel():
            known.add(same)
            total += tensor.nbytes
    return total


def _buffers(model: nn.Module, known: set[Identity]) -> list[dict[str, Any]]:
    rows = []
    for prefix, module in model.named_modules():
        for leaf, buffer in module._buffers.items():
            if buffer is None:
                continue
            state = held(buffer, module)
            if any(identity(each) in known for each in state.tensors if each.numel()):
                continue
            rows.append(
                {
                    "name": f"{prefix}.{leaf}" if prefix else leaf,
                    "shape": state.shape,
                    "dtype": state.kind,
                    "numel": buffer.numel() if state.initialized else 0,
                    "bytes": _bytes(state.tensors, known),
                    "persistent": leaf not in module._non_persistent_buffers_set,
                    "device": str(buffer.device),
                }
            )
    return rows


def _notes(
    table: pd.DataFrame, buffers: pd.DataFrame, states: list[Held], optimizer: OptimizerState | None
) -> list[str]:
    """What the figures do not say by themselves."""
    notes = []
    on_meta = table.loc[table["device"] == "meta", "numel"]
    if len(on_meta):
        notes.append(f"{int(on_meta.sum()):,} parameters are on the meta device: their bytes are what they would take")
    lazy = sum(not state.initialized for state in states)
    if lazy:
        notes.append(f"{lazy:,} lazy parameters have no shape before a first forward pass and count as nothing")
    for kind in sorted({state.pending for state in states if state.pending}):
        number = sum(state.pending == kind for state in states)
        notes.append(f"{number:,} weights will be quantized to {kind} when they are moved to a device")
    packed = [state.kind for state in states if not state.quantized and state.kind in PACKED_INTEGERS]
    integers = buffers.loc[buffers["dtype"].isin(PACKED_INTEGERS) & (buffers["numel"] >= SMALL), "numel"]
    if packed or len(integers):
        notes.append(
            f"{len(packed):,} parameters and {len(integers):,} buffers are of integers, as packed weights of other "
            "formats than bitsandbytes' are; they count as stored"
        )
    if not table.empty and (table["component"] == FOREIGN).all():
        notes.append("no transformers model in it: parameters are told apart by the class of their module")
    return [*notes, *(optimizer.remarks if optimizer is not None else ())]
