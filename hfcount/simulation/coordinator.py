"""When ZeRO-3 gathers a parameter and when it lets it go.

The rules of deepspeed/runtime/zero/partitioned_param_coordinator.py. A first step records the order in which modules
run, forward and backward; the next ones know it:

1. Before a module runs, its parameters are gathered, and after it those that come next, up to so many elements.
2. After it they are let go, unless they are needed again within so many elements, or were looked at for prefetching.
3. Parameters that are gathered together lie in one buffer first, and are copied out of it when they are needed.
"""

from __future__ import annotations

import collections
import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hfcount.simulation.cuda import outside_the_engine
from hfcount.simulation.division import COMMUNICATION, entered_as

if TYPE_CHECKING:
    from hfcount.simulation.ledger import Ledger
    from hfcount.simulation.zero import ThirdStage


class _Gathering:
    """Parameters that are gathered together, and the buffer in which they come."""

    def __init__(self, parameters: list[nn.Parameter], buffer: torch.Tensor | None) -> None:
        self.parameters, self.buffer = parameters, buffer


class Coordinator:
    """Gathers and lets go, and counts what is gathered."""

    def __init__(self, zero: ThirdStage, ledger: Ledger) -> None:
        self._zero, self._ledger = zero, ledger
        self._order: list[nn.Module] = []
        self._known = False
        self._on_the_way: dict[nn.Parameter, _Gathering] = {}
        self._there: set[nn.Parameter] = set()
        self._users: dict[nn.Parameter, set[int]] = collections.defaultdict(set)
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._fetched_for: dict[nn.Parameter, int] = {}
        self._queue = collections.deque(
            (each, index) for index, module in enumerate(self._order) for each in _own(module)
        )

    @contextlib.contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """A context in which the modules of `model` that have parameters of their own ask for them."""
        handles = []
        for module in model.modules():
            if any(True for _ in _own(module)):
                handles += [
                    module.register_forward_pre_hook(lambda each, *_: self.fetch(each)),
                    module.register_forward_hook(lambda each, *_: self.release(each), prepend=True, always_call=True),
                    module.register_full_backward_pre_hook(lambda each, *_: self.fetch(each)),
                    module.register_full_backward_hook(lambda each, *_: self.release(each)),
                ]
        try:
            with warnings.catch_warnings():  # torch says that an embedding's inputs have no gradient
                warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
                yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def fetch(self, module: nn.Module) -> None:
        """Have the parameters of a module there, and those of the next ones on their way."""
        with outside_the_engine():
            wanted = list(_own(module))
            self._gather(wanted)
            for each in wanted:
                self._users[each].add(id(module))
                self._wait(each)
            if self._known:
                self._prefetch(wanted)
            else:
                self._order.append(module)
            self._at += 1

    def _prefetch(self, wanted: Iterable[nn.Parameter]) -> None:
        looked_for = {each for each in wanted if self._fetched_for.get(each, -1) < self._at}
        for _ in range(len(looked_for)):
            each, index = self._queue.popleft()
            self._fetched_for[each] = index
        settings = self._zero.settings
        most = min(settings.max_live - sum(each.numel() for each in self._held()), settings.prefetch_bucket)
        chosen: dict[nn.Parameter, None] = {}
        while self._queue and sum(each.numel() for each in chosen) < most:
            each, index = self._queue.popleft()
            self._fetched_for[each] = max(index, self._fetched_for.get(each, -1))
            if self._is_away(each):
                chosen[each] = None
        self._gather(chosen)

    def release(self, module: nn.Module) -> None:
        """Let go of the parameters of a module that has run, but for those that are soon needed again."""
        kept = self._soon(module) if self._known else set()
        for each in _own(module):
            self._users[each].discard(id(module))
            if each not in kept and not self._users[each]:
                self._let_go(each)

    def _soon(self, module: nn.Module) -> set[nn.Parameter]:
        """The parameters that are used again within the distance, or whose next use was passed over."""
        found = {each for each in _own(module) if self._fetched_for.get(each, -1) > self._at}
        passed = 0
        for later in self._order[self._at :]:
            if passed >= self._zero.settings.max_reuse:
                break
            for each in _own(later):
                found.add(each)
                passed += each.numel()
        return found

    def reset(self) -> None:
        """A forward and a backward pass are over."""
        for each in list(self._on_the_way):
            self._wait(each)
        for each in list(self._there):
            self._let_go(each)
        self._users.clear()
        self._known = True
        self._begin()

    def _held(self) -> Iterator[nn.Parameter]:
        yield from self._there
        yield from self._on_the_way

    def _is_away(self, parameter: nn.Parameter) -> bool:
        persistent = parameter.numel() <= self._zero.settings.persistence
        return not persistent and parameter not in self._there and parameter not in self._on_the_way

    def _gather(self, parameters: Iterable[nn.Parameter]) -> None:
        away = [each for each in parameters if self._is_away(each)]
        if not away:
            return
        buffer = None
        if len(away) == 1:
            self._make_room(away[0])
        else:
            elements = sum(self._zero.shards[each].numel() for each in away) * self._zero.devices
            buffer = self._zero.make(elements, away[0].dtype, COMMUNICATION)
        self._on_the_way.update(dict.fromkeys(away, _Gathering(away, buffer)))

    def _wait(self, parameter: nn.Parameter) -> None:
        if (gathering := self._on_the_way.get(parameter)) is None:
            return
        for each in gathering.parameters:
            if gathering.buffer is not None:
                self._make_room(each)
            del self._on_the_way[each]
            self._there.add(each)
        gathering.buffer = None

    def _make_room(self, parameter: nn.Parameter) -> None:
        with entered_as(self._ledger, COMMUNICATION):
            parameter.untyped_storage().resize_(parameter.numel() * parameter.element_size())
            parameter.view(-1)  # a moment for the ledger

    def _let_go(self, parameter: nn.Parameter) -> None:
        if parameter in self._there:
            self._there.discard(parameter)
            parameter.untyped_storage().resize_(0)


def _own(module: Any) -> Iterable[nn.Parameter]:
    """The parameters of a module without those of the modules in it."""
    return module.parameters(recurse=False)
