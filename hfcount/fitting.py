"""Does it fit? For each regime of a model whether a GPU has room for it, and how far it could be stretched there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hfcount.api import as_settings
from hfcount.budget.gpus import Gpu, gpus, headroom_bytes
from hfcount.budgeting import Asked, Way, adapter_budget, full_budget, inference_budget, memory_of
from hfcount.deadline import deadline
from hfcount.lora.options import MAX_RANK
from hfcount.memory_answer import Budget, Memory
from hfcount.sources import resolve
from hfcount.workbench import Workbench

MOST_ROWS = 2**20
MOST_TOKENS = 2**22


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """One regime on one GPU.

    Attributes:
        gpu: which one.
        regime: the regime's name with its rank, "qlora r=8".
        needed_bytes: the total, and the buffers.
        offered_bytes: the GPU's memory less the headroom.
        batch, seq, r: the largest that fit, each with the others as asked; 0 where nothing does, None where it was not
            searched or does not apply. `seq` stops at the model's positions.
    """

    gpu: Gpu
    regime: str
    needed_bytes: int
    offered_bytes: int
    batch: int | None = None
    seq: int | None = None
    r: int | None = None

    @property
    def margin_bytes(self) -> int:
        return self.offered_bytes - self.needed_bytes

    @property
    def fits(self) -> bool:
        return self.margin_bytes >= 0


def fits(found: Memory, chosen: Sequence[Gpu] = (), *, headroom: str | None = None) -> tuple[Fit, ...]:
    """Whether each budget fits on each of `chosen` GPUs (all that are known, without any).

    The headroom (see budget/gpus.py) is taken off each GPU's memory. Raises BadInput for one that leaves nothing.
    """
    return tuple(
        Fit(gpu=each, regime=budget.name, needed_bytes=_needed(budget), offered_bytes=_offered(each, headroom))
        for budget in found.budgets
        if budget.total_bytes is not None
        for each in (chosen or gpus())
    )


def smallest(answers: Sequence[Fit]) -> tuple[Fit, ...]:
    """Return the smallest CUDA card that each regime fits on; the largest of all where there is none."""
    found = []
    for regime in dict.fromkeys(each.regime for each in answers):
        rows = [each for each in answers if each.regime == regime and each.gpu.capability]
        rows.sort(key=lambda each: each.offered_bytes)
        found.append(next((each for each in rows if each.fits), rows[-1]))
    return tuple(found)


def stretched_memory(
    model: str,
    chosen: Sequence[Gpu],
    *,
    regimes: str | Sequence[str] = ("full", "lora", "qlora"),
    lora_r: int | Sequence[int] = (),
    lora_targets: str | Sequence[str] = "default",
    headroom: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    class_name: str | None = None,
    trust_remote_code: bool = False,
    **way: Any,
) -> tuple[Memory, tuple[Fit, ...]]:
    """The budgets of `memory`, and how far each can be stretched on the `chosen` GPUs; arguments as there."""
    asked = Asked.of(regimes, lora_r, lora_targets, as_settings(settings))
    trained = Way.of(way)
    source = resolve(model, revision=revision, offline=offline, timeout=timeout)
    with deadline(timeout, source.model):
        bench = Workbench(source, asked.settings, class_name=class_name, trust_remote_code=trust_remote_code)
        found = memory_of(bench, trained, asked)
        return found, stretched(bench, found, trained, chosen, targets=asked.targets, headroom=headroom)


def stretched(
    bench: Workbench,
    found: Memory,
    way: Way,
    chosen: Sequence[Gpu],
    *,
    targets: str | tuple[str, ...] = "default",
    headroom: str | None = None,
) -> tuple[Fit, ...]:
    """As `fits`, and the largest batch, sequence and rank that fit, each with everything else as it was asked.

    The search relies on the total growing with each of them, which its closed form shows: all its terms are positive.
    """
    way = dataclasses.replace(way, seq=found.seq)
    longest = bench.positions or MOST_TOKENS
    answers = []
    for fit, budget in zip(fits(found, chosen, headroom=headroom), _repeated(found, len(chosen)), strict=True):

        def needed(changed: Way, rank: int | None = None, budget: Budget = budget) -> int:
            return _needed(_again(bench, changed, budget, rank, targets))

        room = fit.offered_bytes
        answers.append(
            dataclasses.replace(
                fit,
                batch=largest(lambda n: needed(dataclasses.replace(way, batch=n)), room, MOST_ROWS),
                seq=largest(lambda n: needed(dataclasses.replace(way, seq=n)), room, longest),
                r=None if budget.r is None else largest(lambda n: needed(way, n), room, _most_rank(bench)),
            )
        )
    return tuple(answers)


def _repeated(found: Memory, times: int) -> list[Budget]:
    return [budget for budget in found.budgets if budget.total_bytes is not None for _ in range(times)]


def _again(bench: Workbench, way: Way, budget: Budget, rank: int | None, targets: str | tuple[str, ...]) -> Budget:
    """The budget of the same regime under another way to train."""
    if budget.regime == "full":
        return full_budget(bench, way)
    if budget.regime == "inference":
        return inference_budget(bench, way)
    assert budget.r is not None
    return adapter_budget(bench, way, regime=budget.regime, rank=rank or budget.r, targets=targets)


def largest(needed: Callable[[int], int], room: int, most: int) -> int:
    """The largest n up to `most` for which needed(n), which grows, is within `room`; 0 where needed(1) is not.

    >>> largest(lambda n: 10 * n, 95, 1000)
    9
    """
    if needed(1) > room:
        return 0
    low = 1
    while low < most:  # double until it is too much
        high = min(2 * low, most)
        if needed(high) > room:
            break
        low = high
    else:
        return most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= room else (low, middle)
    return low


def _most_rank(bench: Workbench) -> int:
    """A rank beyond a matrix's smaller side adds nothing: the widest layer's is the bound."""
    sides = [min(shape) for shape in bench.table["shape"] if len(shape) == 2]
    return min(max(sides, default=1), MAX_RANK)


def _needed(budget: Budget) -> int:
    assert budget.total_bytes is not None
    return budget.total_bytes + budget.buffers_bytes


def _offered(each: Gpu, headroom: str | None) -> int:
    return each.total_bytes - headroom_bytes(headroom, each.total_bytes)
