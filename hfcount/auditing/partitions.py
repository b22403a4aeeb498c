"""Targets in partitions: what is sent to another machine at once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

from hfcount.auditing.targets import Target

PARTITION = 16
"""Models in a partition: some seconds of work, so that little is done again where a machine is lost on the way."""


@dataclasses.dataclass(frozen=True)
class Partition:
    """Some targets, audited one after the other in one place. `number` is its place among the partitions."""

    number: int
    targets: tuple[Target, ...]


def partitions(targets: Iterable[Target], size: int = PARTITION) -> Iterator[Partition]:
    """The `targets` in partitions of `size`, the last of what is left; taken as they are asked for."""
    iterator = iter(targets)
    for number in itertools.count():
        found = tuple(itertools.islice(iterator, size))
        if not found:
            return
        yield Partition(number, found)
