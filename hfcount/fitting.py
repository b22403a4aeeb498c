"""Does it fit? Whether a GPU has room for each regime's step, and how far it could be stretched there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hfcount.api import as_settings
from hfcount.budget.gpus import Gpu, gpus, reserve_bytes
from hfcount.budgeting import Asked, Way
from hfcount.deadline import deadline
from hfcount.errors import BadInput
from hfcount.facts import facts_of
from hfcount.lora.options import MAX_RANK
from hfcount.memory_answer import Budget, Memory
from hfcount.simulating import bench_of, memory_of, needed_bytes
from hfcount.sources import resolve
from hfcount.workbench import Workbench

MOST_ROWS = 2**20
MOST_TOKENS = 2**22
FITS, TIGHT, DOES_NOT_FIT = VERDICTS = ("fits", "tight", "does-not-fit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One change of the options that makes a regime fit: what to give, and the peak with it."""

    change: str
    needs_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """One regime on one GPU.

    Attributes:
        gpu: which one.
        regime: the regime's name with its rank, "qlora r=8".
        needs_bytes: the peak of the tensors.
        reserve_bytes: what the driver, the CUDA context and the allocator take besides: the least and the most.
        batch, seq, r: the largest with the same verdict, each with the others as asked; 0 where nothing fits, None
            where it was not searched or does not apply. `seq` stops at the model's positions.
        changes: where it does not fit, single changes that would make it fit.
    """

    gpu: Gpu
    regime: str
    needs_bytes: int
    reserve_bytes: tuple[int, int]
    batch: int | None = None
    seq: int | None = None
    r: int | None = None
    changes: tuple[Change, ...] = ()

    @property
    def offers_bytes(self) -> int:
        return self.gpu.total_bytes

    @property
    def margin_bytes(self) -> int:
        """What is left beside the peak and the most that the reserve takes; negative where it may be too little."""
        return self.offers_bytes - self.needs_bytes - self.reserve_bytes[1]

    @property
    def verdict(self) -> str:
        """ "fits"; "tight", where the most that the reserve takes is too much; or "does-not-fit"."""
        least, most = self.reserve_bytes
        if self.needs_bytes + most <= self.offers_bytes:
            return FITS
        return TIGHT if self.needs_bytes + least <= self.offers_bytes else DOES_NOT_FIT

    @property
    def fits(self) -> bool:
        return self.verdict != DOES_NOT_FIT


def fits(found: Memory, chosen: Sequence[Gpu] = (), *, headroom: str | None = None) -> tuple[Fit, ...]:
    """Whether each budget fits on each of `chosen` GPUs (all that are known, without any).

    A `headroom` (see budget/gpus.py) stands for all that is not the tensors'. Raises BadInput for one that leaves
    nothing.
    """
    return tuple(
        _fit(each, budget.name, budget.total_bytes + budget.buffers_bytes, headroom)
        for budget in found.budgets
        if budget.total_bytes is not None
        for each in (chosen or gpus())
    )


def _fit(gpu: Gpu, regime: str, needs: int, headroom: str | None) -> Fit:
    return Fit(
        gpu=gpu, regime=regime, needs_bytes=needs, reserve_bytes=reserve_bytes(headroom, gpu.total_bytes, needs)
    )


def smallest(answers: Sequence[Fit]) -> tuple[Fit, ...]:
    """Return the smallest CUDA card that each regime fits on; the largest of all where there is none."""
    found = []
    for regime in dict.fromkeys(each.regime for each in answers):
        rows = [each for each in answers if each.regime == regime and each.gpu.capability]
        rows.sort(key=lambda each: each.offers_bytes)
        found.append(next((each for each in rows if each.verdict == FITS), rows[-1]))
    return tuple(found)


def implied(chosen: Sequence[Gpu], way: Mapping[str, Any]) -> dict[str, Any]:
    """Return `way` with what `chosen` GPUs imply: the kernels that run on all of them; FSDP over several of one."""
    known = [each.capability for each in chosen if each.capability]
    found = {**({"capability": min(known, key=float)} if known else {}), **way}
    counts = {each.count for each in chosen}
    if len(counts) > 1:
        raise BadInput(f"--gpu {', '.join(each.name for each in chosen)}: ask about one number of GPUs at a time")
    if (count := max(counts, default=1)) > 1:
        found["devices"] = count
        if found.get("sharding", "none") == "none":
            found["sharding"] = "fsdp"
    return found


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
    detail: bool = False,
    **way: Any,
) -> tuple[Memory, tuple[Fit, ...]]:
    """The budgets of `memory`, and how far each can be stretched on the `chosen` GPUs; arguments as there."""
    asked = Asked.of(regimes, lora_r, lora_targets, as_settings(settings))
    trained = Way.of(implied(chosen, way))
    source = resolve(model, revision=revision, offline=offline, timeout=timeout)
    with deadline(timeout, source.model), bench_of(source, asked, class_name, trust_remote_code) as bench:
        found = memory_of(bench, trained, asked, detail=detail)
        return found, stretched(bench, found, trained, asked, chosen, headroom=headroom)


def stretched(
    bench: Workbench, found: Memory, way: Way, asked: Asked, chosen: Sequence[Gpu], *, headroom: str | None = None
) -> tuple[Fit, ...]:
    """As `fits`, and the largest batch, sequence and rank with the same verdict, each with everything else as asked.

    The peak grows with each of them: all terms of a step's form are positive. Where a regime does not fit, the single
    changes that would make it fit.
    """
    way = dataclasses.replace(way, seq=found.seq)
    budgets = [budget for budget in found.budgets if budget.total_bytes is not None for _ in chosen]
    return tuple(
        _stretched(bench, fit, way, budget, asked, headroom)
        for fit, budget in zip(fits(found, chosen, headroom=headroom), budgets, strict=True)
    )


def _stretched(bench: Workbench, fit: Fit, way: Way, budget: Budget, asked: Asked, headroom: str | None) -> Fit:
    def tried(changed: Way, rank: int | None = None) -> Fit:
        needs = needed_bytes(bench, changed, budget if rank is None else dataclasses.replace(budget, r=rank), asked)
        return _fit(fit.gpu, fit.regime, needs, headroom)

    wanted = VERDICTS[: VERDICTS.index(fit.verdict) + 1] if fit.fits else (FITS,)

    def at(changed: Way, rank: int | None = None) -> bool:
        return tried(changed, rank).verdict in wanted

    facts = facts_of(bench)
    replace = dataclasses.replace
    return replace(
        fit,
        batch=largest(lambda n: at(replace(way, batch=n)), MOST_ROWS, start=way.batch),
        seq=largest(lambda n: at(replace(way, seq=n)), facts.positions or MOST_TOKENS, start=way.seq or 1),
        r=None if budget.r is None else largest(lambda n: at(way, n), min(facts.most_rank, MAX_RANK), start=budget.r),
        changes=() if fit.fits else tuple(_changes(way, tried)),
    )


def _changes(way: Way, tried: Callable[[Way], Fit]) -> Iterator[Change]:
    """The single changes with which a regime fits, or tightly."""
    candidates: dict[str, dict[str, Any]] = {}
    if not way.gradient_checkpointing:
        candidates["--gradient-checkpointing"] = {"gradient_checkpointing": True}
    candidates |= {f"--batch {rows}": {"batch": rows} for rows in _halves(way.batch)}
    candidates |= {f"--seq {tokens}": {"seq": tokens} for tokens in _halves(way.seq or 1)}
    if way.optimizer == "adamw":
        candidates |= {f"--optimizer {name}": {"optimizer": name} for name in ("adamw-8bit", "paged-adamw-8bit")}
    kinds: set[str] = set()
    for change, fields in candidates.items():
        kind = change.split()[0]
        if kind in kinds:
            continue
        found = tried(dataclasses.replace(way, **fields))
        if found.fits:
            kinds.add(kind)
            yield Change(change=change, needs_bytes=found.needs_bytes)


def _halves(number: int) -> list[int]:
    """Half of a number, a quarter of it, and so on to 1.

    >>> _halves(10)
    [5, 2, 1]
    """
    found = []
    while number > 1:
        number //= 2
        found.append(number)
    return found


def largest(fits: Callable[[int], bool], most: int, *, start: int = 1) -> int:
    """Return the largest n up to `most` for which fits(n), which is true up to some n; 0 where fits(1) is not.

    The search begins at `start`.

    >>> largest(lambda n: 10 * n <= 95, 1000, start=16)
    9
    """
    low, high = 0, most + 1
    while high - low > 1:
        if low == 0 and high > most:
            middle = min(start, most)
        elif low == 0:  # halve until it fits
            middle = high // 2
        elif high > most:  # double until it does not
            middle = min(2 * low, most)
        else:
            middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
