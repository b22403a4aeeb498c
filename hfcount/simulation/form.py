"""The closed form of a step: how many storages of each size stand at each of its moments.

A size is a product of lengths (sizes.py), and how many there are of it is affine in the number of layers. A few traces
give the form, each with other depths and at a point of its own: every size is read off its trace alone, so what holds
for one trace is a prediction for the others. A form is given only where all say the same of every moment; then
it is exact at any rows, tokens and rank, to the allocator's rounding, until a length in the config (a window, say) is
passed.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfcount.simulation.depth import Pattern, Repeats, affine, keyed
from hfcount.simulation.peak import BUCKETS, HOST, PHASES, Moment, Simulation, curve, entries_of
from hfcount.simulation.sizes import Length, Point, Size, multiples_of

if TYPE_CHECKING:
    import pandas as pd

    from hfcount.simulation.ledger import Ledger

SHOWN = 10
"""How many storages a simulation names."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """Storages of one bucket and size, and one of them as an example: the module that made it, by what, its shape."""

    bucket: str
    size: Size
    module: str
    name: str
    shape: tuple[Size, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StepForm:
    """What a step takes, for any value of the symbols that are free.

    Attributes:
        storages: the kinds of storage there are.
        moments: phase and module of each moment that could be a phase's highest.
        counts: how many of each kind stand at each moment, moments x storages.
        flops: floating-point operations of each phase: what the coefficient of each product of lengths is.
        inputs: the shape of each input.
        rounding: of the allocator, in bytes.
        point: the values that the last trace had: what is not free, and where the form was held against the step.
        traced: how many layers the traces had; () where all were traced.
    """

    storages: tuple[Storage, ...]
    moments: tuple[tuple[str, str], ...]
    counts: np.ndarray
    flops: Mapping[str, Mapping[tuple[Length, ...], int]]
    inputs: Mapping[str, tuple[Size, ...]]
    rounding: int
    point: Point
    traced: tuple[int, ...]

    def document(self) -> dict[str, Any]:
        """Return the form as a JSON value, from which `of` makes it again."""
        written = dataclasses.astuple
        return {
            "storages": list(map(written, self.storages)),
            "moments": self.moments,
            "counts": self.counts.tolist(),
            "flops": {
                phase: [(list(map(written, lengths)), count) for lengths, count in terms.items()]
                for phase, terms in self.flops.items()
            },
            "inputs": {name: list(map(written, shape)) for name, shape in self.inputs.items()},
            "rounding": self.rounding,
            "point": [self.point.values, self.point.free],
            "traced": self.traced,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> StepForm:
        """Return the form that a document stands for."""
        values, free = document["point"]
        return cls(
            storages=tuple(
                Storage(bucket, Size.of(size), module, name, tuple(map(Size.of, shape)), dtype)
                for bucket, size, module, name, shape, dtype in document["storages"]
            ),
            moments=tuple((phase, module) for phase, module in document["moments"]),
            counts=np.array(document["counts"], dtype=np.int64),
            flops={
                phase: {tuple(itertools.starmap(Length, lengths)): count for lengths, count in terms}
                for phase, terms in document["flops"].items()
            },
            inputs={name: tuple(map(Size.of, shape)) for name, shape in document["inputs"].items()},
            rounding=document["rounding"],
            point=Point(values, tuple(free)),
            traced=tuple(document["traced"]),
        )

    def at(self, values: Mapping[str, int]) -> Simulation:
        """The step at values of the symbols."""
        values = {**self.point.values, **{name: values[name] for name in self.point.free}}
        sizes = np.array([each.size.at(values) for each in self.storages], dtype=object)
        if int(self.counts.sum(axis=1).max()) * max(sizes, default=0) < 2**62:
            sizes = sizes.astype(np.int64)
        buckets = np.array([each.bucket for each in self.storages])
        alive = {name: self.counts[:, buckets == name] @ sizes[buckets == name] for name in BUCKETS}
        here = buckets != HOST
        alive["rounding"] = self.counts[:, here] @ (-sizes[here] % self.rounding)
        host = self.counts[:, ~here] @ sizes[~here]
        total = sum(alive.values())
        phases = np.array([phase for phase, _ in self.moments])
        found = {}
        for phase in PHASES:
            if (inside := np.flatnonzero(phases == phase)).size:
                at = int(inside[int(np.argmax(total[inside]))])
                found[phase] = Moment(
                    bytes=int(total[at]),
                    phase=phase,
                    module=self.moments[at][1],
                    buckets={name: int(alive[name][at]) for name in BUCKETS},
                )
        return Simulation(
            peak=max(found.values(), key=lambda each: each.bytes),
            phases=found,
            highest={name: int(alive[name].max()) for name in BUCKETS},
            inputs={name: tuple(each.at(values) for each in shape) for name, shape in self.inputs.items()},
            flops={
                phase: sum(Size(count, lengths).at(values) for lengths, count in self.flops.get(phase, {}).items())
                for phase in PHASES
            },
            largest=self._largest(int(np.argmax(total)), sizes, values),
            lines=None,
            traced=self.traced,
            seconds=0.0,
            host_bytes=int(host.max()),
        )

    def text(self, values: Mapping[str, int]) -> str:
        """The bytes of the tensors at the highest moment there, as a polynomial: without the allocator's rounding."""
        values = {**self.point.values, **{name: values[name] for name in self.point.free}}
        here = [each.bucket != HOST for each in self.storages]
        sizes = np.array([each.size.at(values) for each in self.storages], dtype=object) * here
        at = int(np.argmax(self.counts @ (sizes + -sizes % self.rounding)))
        terms: dict[tuple[Length, ...], int] = collections.defaultdict(int)
        for count, each in zip((self.counts[at] * here).tolist(), self.storages, strict=True):
            terms[each.size.lengths] += count * each.size.coefficient
        return polynomial({lengths: number for lengths, number in terms.items() if number})

    def _largest(self, moment: int, sizes: np.ndarray, values: Mapping[str, int]) -> tuple[dict[str, Any], ...]:
        """The largest storages at a moment, those of one bucket and size in a row with their count."""
        there = np.flatnonzero(self.counts[moment])
        rows: dict[tuple[int, str], dict[str, Any]] = {}
        for index in there[np.argsort(-sizes[there], kind="stable")].tolist():
            each = self.storages[index]
            if each.bucket == HOST:
                continue
            row = rows.setdefault(
                (int(sizes[index]), each.bucket),
                {
                    "bytes": int(sizes[index]),
                    "count": 0,
                    "bucket": each.bucket,
                    "module": each.module,
                    "name": each.name,
                    "shape": tuple(side.at(values) for side in each.shape),
                    "dtype": each.dtype,
                },
            )
            row["count"] += int(self.counts[moment, index])
        return tuple(rows.values())[:SHOWN]


def polynomial(terms: Mapping[tuple[Length, ...], int]) -> str:
    """Coefficients of products of lengths as text, the highest powers first.

    >>> b, s = Length("b"), Length("s")
    >>> polynomial({(): 7, (b, s, s): 2, (s,): 1})
    '2*b*s**2 + s + 7'
    """
    shown = []
    for lengths, number in sorted(terms.items(), key=lambda each: (-len(each[0]), each[0])):
        powers = collections.Counter(map(str, lengths))
        factors = [name if power == 1 else f"{name}**{power}" for name, power in powers.items()]
        shown.append("*".join(factors if factors and number == 1 else [str(number), *factors]))
    return " + ".join(shown)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One trace, read at its point: how many storages of each kind stood at each moment that all depths have."""

    moments: pd.Index
    modules: tuple[str, ...]
    storages: Mapping[tuple[str, Size], Storage]
    counts: np.ndarray
    flops: Mapping[str, Mapping[tuple[Length, ...], int]]
    inputs: Mapping[str, tuple[Size, ...]]
    rounding: int


def reading(ledger: Ledger, point: Point, pattern: Pattern | None, repeats: Repeats) -> Reading:
    """Read a trace of a model with so many repeats of its patterns of layers (of all its layers, without one)."""
    table = entries_of(ledger)
    lines = curve(ledger, table)
    lines = keyed(lines.assign(time=lines.index), pattern, repeats)
    sizes: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Size] = {}
    kinds: dict[tuple[str, Size], int] = {}
    examples: dict[tuple[str, Size], Storage] = {}
    codes = np.empty(len(table), dtype=np.int64)
    for index, (number, bucket, module, name, shape, dtype) in enumerate(
        zip(*(table[each] for each in ("bytes", "bucket", "module", "name", "shape", "dtype")), strict=True)
    ):
        multiples = multiples_of(name)
        if (size := sizes.get((number, shape, multiples))) is None:
            size = Size(number) if bucket == "workspace" else point.bytes(number, shape, multiples=multiples)
            sizes[number, shape, multiples] = size
        kind = (bucket, size)
        codes[index] = kinds.setdefault(kind, len(kinds))
        if kind not in examples:
            sides = tuple(point.size(side, multiples=multiples) for side in shape)
            examples[kind] = Storage(bucket, size, module, name, sides, dtype)
    change = np.zeros((len(ledger.log) + 1, len(kinds)), dtype=np.int32)
    np.add.at(change, (table["born"].to_numpy(), codes), 1)
    np.add.at(change, (table["end"].to_numpy() + 1, codes), -1)
    flops: dict[str, dict[tuple[Length, ...], int]] = {}
    for phase, counted in ledger.flops.items():
        terms: dict[tuple[Length, ...], int] = collections.defaultdict(int)
        for number, times in counted.items():
            size = point.product(number)
            terms[size.lengths] += times * size.coefficient
        flops[phase] = dict(terms)
    given = table[(table["kind"] == "inputs") & (table["name"] != "loss")]
    return Reading(
        moments=lines.index,
        modules=tuple(lines["module"]),
        storages=examples,
        counts=change.cumsum(axis=0)[lines["time"].to_numpy()],
        flops=flops,
        inputs={
            name: tuple(map(point.size, shape)) for name, shape in zip(given["name"], given["shape"], strict=True)
        },
        rounding=ledger.rounding,
    )


def form_of(readings: Sequence[Reading], point: Point, pattern: Pattern | None) -> StepForm | None:
    """The form that all readings have, `point` being the last one's; None where they do not agree."""
    last = readings[-1]
    kinds = list(dict.fromkeys(kind for each in reversed(readings) for kind in each.storages))
    moments = last.moments
    if moments.has_duplicates or not all(_same(moments, each.moments) for each in readings):
        return None
    counts = at_depth([_aligned(each, moments, kinds) for each in readings], pattern)
    flops = _flops_at_depth(readings, pattern)
    if counts is None or flops is None or any(each.inputs != last.inputs for each in readings):
        return None
    moved = (lambda path: pattern.at_depth(path, pattern.traces[-1])) if pattern else str
    storages = [next(each.storages[kind] for each in reversed(readings) if kind in each.storages) for kind in kinds]
    phases = moments.get_level_values("phase")
    rows = _maximal(counts, phases.to_numpy())
    used = np.flatnonzero(counts[rows].any(axis=0))
    return StepForm(
        storages=tuple(
            dataclasses.replace(each, module=moved(each.module), name=moved(each.name))
            for each in (storages[index] for index in used.tolist())
        ),
        moments=tuple((str(phases[row]), moved(last.modules[row])) for row in rows),
        counts=counts[rows][:, used],
        flops=flops,
        inputs=last.inputs,
        rounding=last.rounding,
        point=point,
        traced=pattern.traced if pattern else (),
    )


def _same(moments: pd.Index, others: pd.Index) -> bool:
    """Whether two traces have the same moments, in whatever order."""
    return len(moments) == len(others) and (moments.equals(others) or bool(moments.isin(others).all()))


def at_depth(values: Sequence[Any], pattern: Pattern | None) -> np.ndarray | None:
    """The integers at full depth from those of the traces; None where these do not prove them."""
    if pattern is not None:
        return affine(values, pattern.repeats)
    first, *others = (np.asarray(each, dtype=np.int64) for each in values)
    return first if all(np.array_equal(first, each) for each in others) else None


def _aligned(found: Reading, moments: pd.Index, kinds: Sequence[tuple[str, Size]]) -> np.ndarray:
    """The counts at `moments` of `kinds`; 0 where a trace has none."""
    rows = slice(None) if found.moments.equals(moments) else found.moments.get_indexer(moments)
    places = {kind: index for index, kind in enumerate(found.storages)}
    result = np.zeros((len(moments), len(kinds)), dtype=np.int64)
    mine = [(index, places[kind]) for index, kind in enumerate(kinds) if kind in places]
    result[:, [index for index, _ in mine]] = found.counts[rows][:, [index for _, index in mine]]
    return result


def _flops_at_depth(
    readings: Sequence[Reading], pattern: Pattern | None
) -> dict[str, dict[tuple[Length, ...], int]] | None:
    keys = sorted({(phase, lengths) for each in readings for phase in each.flops for lengths in each.flops[phase]})
    values = [[each.flops.get(phase, {}).get(lengths, 0) for phase, lengths in keys] for each in readings]
    counted = at_depth(values, pattern)
    if counted is None:
        return None
    found: dict[str, dict[tuple[Length, ...], int]] = {}
    for (phase, lengths), number in zip(keys, counted.tolist(), strict=True):
        found.setdefault(phase, {})[lengths] = number
    return found


def _maximal(counts: np.ndarray, phases: np.ndarray) -> list[int]:
    """The rows of each phase that no other row of it includes, in their order."""
    kept: list[int] = []
    for phase in dict.fromkeys(phases):
        inside = np.flatnonzero(phases == phase)
        _, first = np.unique(counts[inside], axis=0, return_index=True)
        rows = inside[np.sort(first)]
        rows = rows[np.argsort(-counts[rows].sum(axis=1), kind="stable")]
        maximal = np.empty((0, counts.shape[1]), dtype=counts.dtype)
        for row in rows.tolist():
            if not (maximal >= counts[row]).all(axis=1).any():
                kept.append(row)
                maximal = np.vstack([maximal, counts[row]])
    return sorted(kept)
