"""A checkpoint joined with the parameters of its class by name, through transformers' own loading conversion.

1. Every entry lands on a name of the class, or on none (loading.py).
2. Entries that land on one name are taken together: several pieces that are fused on load are compared by the sum of
   their elements, one entry that is loaded as it stands by its shape.
3. A parameter is stored once, under whichever of its tied names; what lands on it again is a copy.
4. What lands on no parameter is a buffer, something on the closed list of known.py, or unexpected.
5. What nothing lands on is missing.

Each step yields rows with the elements that they add to the difference, so the terms add up to it by construction,
and `Joined` asserts that they do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hfcount.auditing.stored.built import Built, Parameter, Shape
from hfcount.auditing.stored.gguf_names import gguf_landings
from hfcount.auditing.stored.joined import Difference, Joined, Status, Term, terms_of
from hfcount.auditing.stored.known import is_padded, old_buffer, prediction_layers, predicts_further_tokens
from hfcount.auditing.stored.loading import Landing, ignored_missing, ignored_unexpected, landings
from hfcount.deadline import check_deadline, in_time
from hfcount.sources.headers.checkpoint import Checkpoint, Entry, Role

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel


def join(checkpoint: Checkpoint, model: PreTrainedModel, table: pd.DataFrame | None = None) -> Joined:
    """What differs between `checkpoint` and `model`, a skeleton, and how the difference of their elements adds up.

    `table` is the model's inventory where it is at hand. The time is that of one renaming for each entry.
    """
    from hfcount.inventory import inventory

    built = Built.of(model, inventory(model) if table is None else table)
    ignored, unstored = ignored_unexpected(model), ignored_missing(model)
    weights = [entry for entry in checkpoint.entries if entry.role == "weight" or entry.parameters]
    differing = _Differing(built, ignored, prediction_layers((each.name for each in weights), built.num_hidden_layers))
    rows = tuple(differing.rows(_landed(checkpoint, weights, model, built)))
    return Joined(
        parameters=checkpoint.parameters,
        stored_elements=checkpoint.stored_elements,
        total=built.total,
        differences=rows,
        terms=terms_of(rows),
        packing=tuple(_packing(checkpoint)),
        missing=frozenset(name for name in differing.missing if not unstored(name)),
        unexpected=frozenset(name for name in differing.unexpected if not ignored(name)),
        mismatched=frozenset(differing.mismatched),
        exact=checkpoint.exact,
        notes=checkpoint.notes,
    )


def _landed(
    checkpoint: Checkpoint, weights: list[Entry], model: PreTrainedModel, built: Built
) -> Iterator[tuple[Landing, Entry]]:
    """Each entry with where it lands, in the order of loading."""
    by_name: dict[str, list[Entry]] = {}
    for entry in weights:
        by_name.setdefault(entry.name, []).append(entry)
    known = gguf_landings(checkpoint.header, built.stored) if checkpoint.header.format == "gguf" else {}
    rest = [name for name in by_name if name not in known]
    translated = (known[name] for name in by_name if name in known)
    for landing in itertools.chain(translated, landings(model, rest, built.stored)):
        check_deadline()
        for entry in by_name[landing.stored]:
            yield landing, entry


Landed = list[tuple[Landing, Entry]]


class _Differing:
    """The rows that differ, and on the way the names that loading would report."""

    def __init__(self, built: Built, ignored: Callable[[str], bool], predicting: frozenset[int]) -> None:
        self.built = built
        self.ignored = ignored
        self.predicting = predicting  # the layers that are modules for multi-token prediction
        self.claimed: dict[str, str] = {}  # of each parameter that is stored: the name under which it was first
        self.loaded: set[str] = set()  # stored buffers
        self.missing: set[str] = set()
        self.unexpected: set[str] = set()
        self.mismatched: set[str] = set()

    def rows(self, landed: Iterator[tuple[Landing, Entry]]) -> Iterator[Difference]:
        """A row for each difference: parameters, their copies under tied names, what is beside them, what lacks."""
        groups: dict[str, Landed] = {}
        beside: Landed = []
        for landing, entry in landed:
            if landing.name in self.built.stored:
                groups.setdefault(landing.name, []).append((landing, entry))
            else:
                beside.append((landing, entry))
        parameters = self.built.by_name
        # Under its own name first: what is stored under a tied name is then the copy.
        for name in sorted(groups, key=lambda name: name not in parameters or parameters[name].name != name):
            yield from self._parameter(groups[name]) if name in parameters else self._buffers(groups[name])
        for landing, entry in in_time(beside):
            yield self._beside(landing, entry)
        yield from self._missing()

    def _parameter(self, members: Landed) -> Iterator[Difference]:
        if any(landing.converted for landing, _ in members):
            yield from self._pieces(members)
            return
        for landing, entry in members:
            parameter = self.built.by_name[landing.name]
            if parameter.name in self.claimed:
                yield from self._copy(landing, entry, parameter)
                continue
            self.claimed[parameter.name] = landing.name
            if not _fits(entry, parameter.shape):
                self.mismatched.add(landing.name)
                yield self._misfit(entry, parameter.shape)

    def _pieces(self, members: Landed) -> Iterator[Difference]:
        """Entries that are fused, split or reshaped on load: their elements against those of what they become."""
        landing = next(landing for landing, _ in members if landing.converted)
        names = dict.fromkeys(name for name in landing.names if name in self.built.by_name)
        targets = {self.built.by_name[name].name: self.built.by_name[name] for name in names}
        free = [parameter for name, parameter in targets.items() if name not in self.claimed]
        if not free:
            for each, entry in members:
                yield from self._copy(each, entry, self.built.by_name[landing.name])
            return
        self.claimed.update({parameter.name: landing.name for parameter in free})
        stored = sum(entry.parameters for _, entry in members)
        built = sum(parameter.numel for parameter in free)
        shape = free[0].shape if len(free) == 1 else None
        what = f"{_tensors(len(members))} become {_tensors(len(free))}"
        if stored != built:
            self.mismatched.update(names)
            note = f"{what}; {stored:,} elements stored, {built:,} built"
            yield Difference(landing.name, "mismatched shape", None, shape, stored - built, note)
        elif len(members) > 1 or len(free) > 1:
            yield Difference(landing.name, "stored in pieces", None, shape, 0, what)

    def _copy(self, landing: Landing, entry: Entry, parameter: Parameter) -> Iterator[Difference]:
        """What lands on a parameter that is stored already; what its size differs by is a row of its own."""
        first = self.claimed[parameter.name]
        tied = landing.name != first
        status: Status = "tied, stored again" if tied else "stored twice"
        note = f"tied to {first}" if tied else f"becomes {first}, as another stored tensor does"
        if entry.parameters and not entry.nbytes:  # a torch file may tie names as the class does
            note += ", in the file too: without bytes of its own"
        numel = parameter.numel if entry.parameters >= parameter.numel else 0
        if numel:
            yield Difference(entry.name, status, _shape(entry), parameter.shape, numel, note)
        if not _fits(entry, parameter.shape):
            if tied:
                self.mismatched.add(landing.name)
            yield self._misfit(entry, parameter.shape, already=numel)

    def _misfit(self, entry: Entry, built: Shape, already: int | None = None) -> Difference:
        """A row for a tensor of another size; `already` of its elements are in another row, else the built ones."""
        elements = entry.parameters - (math.prod(built) if already is None else already)
        shape = _shape(entry)
        if shape is not None and is_padded(shape, built, self.built.vocabularies):
            note = f"{shape[0]:,} rows for a vocabulary of {built[0]:,}"
            return Difference(entry.name, "padded rows", shape, built, elements, note)
        note = "" if shape is not None else "its shape cannot be told"
        return Difference(entry.name, "mismatched shape", shape, built, elements, note)

    def _buffers(self, members: Landed) -> Iterator[Difference]:
        """Entries that land on a buffer which the class stores."""
        for landing, entry in members:
            built = self.built.buffers.get(landing.name)
            self.loaded.add(landing.name)
            if built is None or _fits(entry, built):
                yield Difference(entry.name, "buffer stored", _shape(entry), built, entry.parameters)
                continue
            self.mismatched.add(landing.name)
            yield Difference(entry.name, "buffer stored", _shape(entry), built, math.prod(built))
            yield self._misfit(entry, built)

    def _beside(self, landing: Landing, entry: Entry) -> Difference:
        """An entry that lands on no name which the class stores."""
        self.unexpected.update(landing.names)
        status, note = self._reason(landing.name, entry)
        return Difference(
            entry.name, status, _shape(entry), self.built.buffer_shape(landing.name), entry.parameters, note
        )

    def _reason(self, name: str, entry: Entry) -> tuple[Status, str]:
        shape = _shape(entry)
        if shape is not None and shape == self.built.buffer_shape(name):
            return "buffer stored", "a buffer that the class works out itself"
        buffer = old_buffer(name, shape) if shape is not None else None
        if buffer is not None:
            return "buffer stored", buffer.what
        if predicts_further_tokens(entry.name, self.predicting):
            return "multi-token prediction", "predicts the token after the next; the class has no such module"
        if self.ignored(name):
            return "left out by the class", "on its list of what loading passes over"
        return "unexpected", ""

    def _missing(self) -> Iterator[Difference]:
        for parameter in self.built.parameters:
            if parameter.name not in self.claimed:
                self.missing.update(self.built.stored.intersection(parameter.names))
                yield Difference(parameter.name, "missing", None, parameter.shape, -parameter.numel)
        for name in sorted(self.built.stored.difference(self.built.by_name, self.loaded)):
            self.missing.add(name)
            yield Difference(name, "missing", None, self.built.buffers.get(name), 0, "a buffer")


def _shape(entry: Entry) -> Shape | None:
    """What the entry stands for; None where a packed format hides it."""
    return entry.shape if entry.shape or entry.parameters == 1 else None


def _fits(entry: Entry, built: Shape) -> bool:
    """Whether it can be loaded as it stands: the same shape, or where that is hidden as many elements."""
    shape = _shape(entry)
    return shape == built if shape is not None else entry.parameters == math.prod(built)


def _tensors(count: int) -> str:
    return "one tensor" if count == 1 else f"{count:,} tensors"


# What the elements are that a file has beside those that its weights stand for, by the role of the entry.
_PACKING: dict[Role, tuple[str, bool]] = {
    "weight": ("packing", True),
    "scale": ("scales", True),
    "zero": ("zero points", True),
    "code": ("code tables", True),
    "index": ("indices", True),
    "state": ("quantization state", True),
    "unknown": ("unknown tensors", False),
}


def _packing(checkpoint: Checkpoint) -> Iterator[Term]:
    """Terms of `stored_elements - parameters`: packed weights have fewer elements, and scales beside them."""
    sums = dict.fromkeys(_PACKING, 0)
    for entry in checkpoint.entries:
        sums[entry.role] += entry.stored_elements - entry.parameters
    for role, (name, explains) in _PACKING.items():
        if sums[role]:
            yield Term(name=name, elements=sums[role], explains=explains, note=checkpoint.packing)
    beyond = checkpoint.stored_elements - sum(entry.stored_elements for entry in checkpoint.entries)
    if beyond:
        yield Term(name="in no tensor of the model", elements=beyond, explains=False)
