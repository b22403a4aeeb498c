"""What a checkpoint holds beside what its class builds: rows that differ, and terms that add up to the difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from hfcount.sources.headers.json_text import shortened

if TYPE_CHECKING:
    import pandas as pd

Status = Literal[
    "missing",
    "unexpected",
    "mismatched shape",
    "tied, stored again",
    "stored twice",
    "buffer stored",
    "padded rows",
    "multi-token prediction",
    "left out by the class",
    "stored in pieces",
]

# Of each status: what its rows are called together, and whether that explains them. Pieces that are fused on load
# have the elements of what they become, so they are shown and add nothing.
TERMS: dict[Status, tuple[str, bool]] = {
    "buffer stored": ("buffers stored", True),
    "tied, stored again": ("tied weights stored again", True),
    "stored twice": ("stored twice", True),
    "padded rows": ("padded vocabulary", True),
    "multi-token prediction": ("multi-token-prediction module", True),
    "left out by the class": ("left out by the class", True),
    "mismatched shape": ("mismatched shape", False),
    "unexpected": ("unexpected", False),
    "missing": ("missing", False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One row: a name at which file and class differ.

    Attributes:
        name: as the file has it (what is missing: as the class has it; what is stored in pieces: what they become).
        status: how they differ.
        stored_shape: of what the file stands for; None where there is nothing, several tensors, or nobody knows.
        built_shape: of the parameter or buffer in the class; None where it has none.
        elements: what the row adds to the file's elements less the class's parameters; negative where it lacks some.
        note: a line.
    """

    name: str
    status: Status
    stored_shape: tuple[int, ...] | None
    built_shape: tuple[int, ...] | None
    elements: int
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A part of the difference between a file's elements and the count.

    Attributes:
        name: "buffers stored", "packing", "unexpected".
        elements: with its sign.
        explains: whether it says why; "missing", "unexpected" and "mismatched shape" only say where.
        note: a line.
    """

    name: str
    elements: int
    explains: bool
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined:
    """A checkpoint joined with the parameters of its class by name.

    Attributes:
        parameters: what the checkpoint's tensors stand for, buffers among them (`Checkpoint.parameters`).
        stored_elements: what the shapes in its files multiply to (`Checkpoint.stored_elements`).
        total: the class's parameters, each once.
        differences: a row for each name that differs, or is stored otherwise than the class has it.
        terms: they add up to `parameters - total`.
        packing: they add up to `stored_elements - parameters`.
        missing, unexpected, mismatched: the names that `from_pretrained(..., output_loading_info=True)` would report,
            after its own exceptions; in its names.
        exact: whether every figure of the checkpoint is certain.
        notes: a line each.
    """

    parameters: int
    stored_elements: int
    total: int
    differences: tuple[Difference, ...] = ()
    terms: tuple[Term, ...] = ()
    packing: tuple[Term, ...] = ()
    missing: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    mismatched: frozenset[str] = frozenset()
    exact: bool = True
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert sum(term.elements for term in self.terms) == self.parameters - self.total
        assert sum(term.elements for term in self.packing) == self.stored_elements - self.parameters

    @property
    def stored_terms(self) -> tuple[Term, ...]:
        """They add up to `stored_elements - total`."""
        return self.packing + self.terms

    @property
    def explained(self) -> bool:
        """Whether every term, packing included, says why."""
        return all(term.explains for term in self.stored_terms)

    def to_frame(self) -> pd.DataFrame:
        """A row for each name that differs: name, status, stored_shape, built_shape, elements, note."""
        import pandas as pd

        columns = [field.name for field in dataclasses.fields(Difference)]
        rows = [[getattr(row, column) for column in columns] for row in self.differences]
        return pd.DataFrame(rows, columns=columns)


def terms_of(differences: Iterable[Difference]) -> tuple[Term, ...]:
    """The rows added up by status, in the order of TERMS; rows that add nothing still show that they are there."""
    sums: dict[Status, tuple[int, int, Difference]] = {}
    for row in differences:
        elements, count, first = sums.get(row.status, (0, 0, row))
        sums[row.status] = (elements + row.elements, count + 1, first)
    return tuple(
        Term(name=name, elements=sums[status][0], explains=explains, note=_note(*sums[status][1:]))
        for status, (name, explains) in TERMS.items()
        if status in sums
    )


def _note(count: int, first: Difference) -> str:
    name = shortened(first.name)
    where = name if count == 1 else f"{count:,} names, the first {name}"
    return f"{where}: {first.note}" if first.note else where
