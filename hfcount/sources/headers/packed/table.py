"""The tensors of a checkpoint that no entry stands for yet, found by the endings that packed formats give them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from hfcount.deadline import in_time
from hfcount.sources.headers.checkpoint import Entry, Role
from hfcount.sources.headers.header import StoredTensor


class Table:
    """A header's tensors by name. `claim` takes some out and gives the entry that stands for them, so that every
    stored tensor is counted once, whatever the formats take for theirs.

    Attributes:
        entries: all that were claimed, in order.
    """

    def __init__(self, tensors: Iterable[StoredTensor]) -> None:
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self._by_ending: dict[str, list[str]] = {}
        for name in self._tensors:
            self._by_ending.setdefault(name.rpartition(".")[2], []).append(name)
        self.entries: list[Entry] = []

    def __iter__(self) -> Iterator[StoredTensor]:
        return in_time(list(self._tensors.values()))

    def get(self, name: str) -> StoredTensor | None:
        return self._tensors.get(name)

    def named(self, *last: str) -> Iterator[tuple[str, StoredTensor]]:
        """The tensors whose name's last part is one of `last`, each with what stands before it, the dot included.

        As with `ending`, what is claimed on the way does not come any more.
        """
        for part in last:
            for name in in_time(self._by_ending.get(part, ())):
                tensor = self._tensors.get(name)
                if tensor is not None:
                    yield name[: len(name) - len(part)], tensor

    def ending(self, ending: str) -> Iterator[tuple[str, StoredTensor]]:
        """The tensors whose name's last part ends so, each with the name without it."""
        for part in [part for part in self._by_ending if part.endswith(ending)]:
            for before, tensor in self.named(part):
                yield before + part[: len(part) - len(ending)], tensor

    def claim(
        self,
        name: str,
        parts: Sequence[str],
        *,
        dtype: str,
        shape: tuple[int, ...] = (),
        parameters: int | None = None,
        role: Role = "weight",
        exact: bool = True,
    ) -> Entry:
        """The entry that stands for those of `parts` that are there.

        `parameters` is the product of `shape` unless it is given.
        """
        taken = [self._tensors.pop(part) for part in dict.fromkeys(parts) if part in self._tensors]
        entry = Entry(
            name=name,
            shape=shape,
            parameters=math.prod(shape) if parameters is None else parameters,
            stored_elements=sum(tensor.elements for tensor in taken),
            nbytes=sum(tensor.nbytes for tensor in taken),
            dtype=dtype,
            role=role,
            stored=tuple(tensor.name for tensor in taken),
            exact=exact,
        )
        self.entries.append(entry)
        return entry
