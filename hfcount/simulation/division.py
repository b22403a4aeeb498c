"""What a way of dividing a step over devices can change in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from hfcount.budget.recipes import Precision
from hfcount.simulation.ledger import Ledger
from hfcount.simulation.stepping import Stepper

COMMUNICATION = "communication"
"""The bucket of gathered parameters, and of what collectives read and write."""


class Undivided:
    """A step that one device runs alone, and the places in it where others do something."""

    def watched(self, ledger: Ledger) -> AbstractContextManager[None]:
        """A context in which the ledger is told what it does not see by itself; the step runs in it."""
        return contextlib.nullcontext()

    def begin_batch(self, *, last: bool) -> None:
        """A forward pass is about to begin, the step's last one or another."""

    def begin_backward(self) -> None:
        """A backward pass is about to begin."""

    def end_batch(self, *, last: bool) -> None:
        """A backward pass is over."""

    def stepper(
        self, trained: Sequence[tuple[str, nn.Parameter]], precision: Precision, ledger: Ledger, **how: Any
    ) -> Any:
        """The optimizer: what has `step()`."""
        return Stepper(trained, precision, ledger, **how)


@contextlib.contextmanager
def entered_as(ledger: Ledger, kind: str) -> Iterator[None]:
    """A context in which what is made is of a kind."""
    before, ledger.kind = ledger.kind, kind
    try:
        yield
    finally:
        ledger.kind = before


@contextlib.contextmanager
def resizes_seen(ledger: Ledger) -> Iterator[None]:
    """A context in which the ledger is told of storages that are resized."""
    from unittest import mock

    resize = torch.UntypedStorage.resize_

    def told(storage: torch.UntypedStorage, size: int) -> Any:
        found = resize(storage, size)
        ledger.resized(storage)
        return found

    with mock.patch.object(torch.UntypedStorage, "resize_", told):
        yield
