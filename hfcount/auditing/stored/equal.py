"""Whether a checkpoint is its class to the letter, told without building: names and shapes against a closed form's."""

from __future__ import annotations

from collections.abc import Iterable

from hfcount.auditing.stored.joined import Joined
from hfcount.parts import Part
from hfcount.sources.headers.checkpoint import Checkpoint


def equal_by_names(checkpoint: Checkpoint, parts: Iterable[Part]) -> bool:
    """Whether `checkpoint` has the names and shapes of `parts` (`fast_count(source, detailed=True).parts`), no more
    and no less, and packs nothing. False says nothing: names may be others in a file (see `join`)."""
    stored = checkpoint.entries
    if checkpoint.packing or any(entry.role != "weight" or not entry.exact for entry in stored):
        return False
    if checkpoint.stored_elements != checkpoint.parameters:
        return False
    shapes: dict[str, tuple[int, ...]] = {}
    for part in parts:
        if part.times != 1 or part.name in shapes:
            return False
        shapes[part.name] = part.shape
    return len(stored) == len(shapes) and all(shapes.get(entry.name) == entry.shape for entry in stored)


def join_by_names(checkpoint: Checkpoint, parts: Iterable[Part]) -> Joined | None:
    """The join of a checkpoint that equals the `parts` of its closed form; None where it takes `join` to tell."""
    if not equal_by_names(checkpoint, parts):
        return None
    elements = checkpoint.parameters
    return Joined(parameters=elements, stored_elements=elements, total=elements, notes=checkpoint.notes)
