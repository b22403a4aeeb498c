"""What a ledger says of a step: its peak, what was alive then, and the curve of memory over the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from hfcount.simulation.ledger import Ledger

PHASES = ("forward", "backward", "step")
LASTING = ("weights", "buffers", "inputs", "master", "gradients", "optimizer", "workspace")
BUCKETS = (*LASTING, "activations", "communication", "temporary", "rounding")
"""What a storage can be: one that lasts, kept from the forward pass for the backward pass, or there for a moment.

"communication" is what one of several devices gathers from the others, and what collectives read and write.
"rounding" is what the allocator adds to all of them.
"""
HOST = "host"
"""The kind of what lies in the host's memory while a device is watched: no bucket, for it is other memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """One moment of a step: all `bytes` that were alive, its `phase`, the `module` that ran, and the bytes of each
    bucket, which add up to the whole."""

    bytes: int
    phase: str
    module: str
    buckets: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulated step.

    Attributes:
        peak: its highest moment.
        phases: the highest moment of each phase.
        highest: the most that each bucket held at any moment.
        inputs: the shape of each input.
        flops: floating-point operations of each phase.
        largest: the largest storages alive at the peak: `bytes, count, bucket, module, name, shape, dtype`.
        lines: the curve of memory, a row for each operation; None where depth was extrapolated.
        traced: how many layers the shallow traces had; () where all layers were traced.
        seconds: how long it took.
        host_bytes: the most that lay in the host's memory, where a part of the step was put there.
    """

    peak: Moment
    phases: Mapping[str, Moment]
    highest: Mapping[str, int]
    inputs: Mapping[str, tuple[int, ...]]
    flops: Mapping[str, int]
    largest: tuple[Mapping[str, Any], ...]
    lines: pd.DataFrame | None
    traced: tuple[int, ...]
    seconds: float
    host_bytes: int = 0

    def document(self) -> dict[str, Any]:
        """Return the step as a JSON value, without the curve and how long it took; `of` makes it again."""
        return dataclasses.asdict(dataclasses.replace(self, lines=None, seconds=0.0))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Simulation:
        """Return the step that a document stands for."""
        return cls(
            **{
                **document,
                "peak": Moment(**document["peak"]),
                "phases": {phase: Moment(**found) for phase, found in document["phases"].items()},
                "inputs": {name: tuple(shape) for name, shape in document["inputs"].items()},
                "largest": tuple({**row, "shape": tuple(row["shape"])} for row in document["largest"]),
                "traced": tuple(document["traced"]),
            }
        )


def entries_of(ledger: Ledger) -> pd.DataFrame:
    """The ledger's table with `end`, the last moment at which an entry was alive, and its `bucket`."""
    table = ledger.table()
    table["end"] = table["died"].fillna(ledger.now).astype("int64")
    backward = next((time for time, (phase, _) in enumerate(ledger.log) if phase == "backward"), len(ledger.log))
    table["bucket"] = table["kind"].where(table["kind"] != "", "temporary")
    kept = (table["phase"] == "forward") & (table["end"] >= backward) & (table["kind"] == "")
    table.loc[kept, "bucket"] = "activations"
    return table


def curve(ledger: Ledger, table: pd.DataFrame) -> pd.DataFrame:
    """Bytes alive at each moment of the step that is looked at, a column for each bucket, and `phase` and `module`.

    HOST is a column of its own. The index is time, in operations.
    """
    import numpy as np
    import pandas as pd

    last = len(ledger.log)

    def alive(rows: pd.DataFrame, sizes: pd.Series) -> np.ndarray:
        change = np.zeros(last + 1, dtype=np.int64)
        np.add.at(change, rows["born"].to_numpy(), sizes.to_numpy())
        np.add.at(change, rows["end"].to_numpy() + 1, -sizes.to_numpy())
        return change.cumsum()[:last]

    columns = {bucket: alive(rows, rows["bytes"]) for bucket in BUCKETS for rows in [table[table["bucket"] == bucket]]}
    there = table[table["bucket"] != HOST]
    columns["rounding"] = alive(there, -there["bytes"] % ledger.rounding)
    host = table[table["bucket"] == HOST]
    columns[HOST] = alive(host, host["bytes"])
    lines = pd.DataFrame(columns)
    lines["phase"], lines["module"] = zip(*ledger.log, strict=True)
    return lines[lines["phase"].isin(PHASES)]


def peaks(lines: pd.DataFrame) -> dict[str, Moment]:
    """The highest moment of each phase that the curve `lines` has."""
    total = lines[list(BUCKETS)].sum(axis=1)
    found = {}
    for phase in PHASES:
        inside = (lines["phase"] == phase).to_numpy()
        if inside.any():
            found[phase] = moment(lines, int(total.where(inside, -1).to_numpy().argmax()))
    return found


def moment(lines: pd.DataFrame, position: int) -> Moment:
    """The row of the curve at a position."""
    row = lines.iloc[position]
    buckets = {name: int(row[name]) for name in BUCKETS}
    return Moment(bytes=sum(buckets.values()), phase=str(row["phase"]), module=str(row["module"]), buckets=buckets)


def largest(lines: pd.DataFrame, table: pd.DataFrame, *, count: int = 10) -> tuple[dict[str, Any], ...]:
    """The largest storages that were alive at the peak, those of one bucket and size in a row with their `count`."""
    at = lines.index[int(lines[list(BUCKETS)].sum(axis=1).to_numpy().argmax())]
    alive = table[(table["born"] <= at) & (table["end"] >= at) & (table["bucket"] != HOST)]
    kinds = alive.groupby(["bytes", "bucket"], sort=False)
    first = kinds.first().reset_index().assign(count=kinds.size().to_numpy())
    rows = first.nlargest(count, "bytes")[["bytes", "count", "bucket", "module", "name", "shape", "dtype"]]
    return tuple({str(key): value for key, value in row.items()} for row in rows.to_dict("records"))
