"""Which counts a figure of a given kind may mean: "total", "active", "component: MLP", "per-layer: norms", ..."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hfcount.auditing.weighing import Counts
from hfcount.conventions import Convention
from hfcount.parts import Part

if TYPE_CHECKING:
    from hfcount.result import Count

Meaning = Callable[["Count", re.Match[str]], Counts | None]

COMPONENTS = {
    "mlp": ("mlp", "experts", "shared_experts", "router"),
    "attention": ("attention",),
    "norms": ("norm",),
    "embed + unembed": ("token_embedding", "position_embedding", "lm_head"),
    "lm head": ("lm_head",),
    "position embedding": ("position_embedding",),
}
"""Components as published tables name them, and the house's own that they take together."""


def counts_meant(kind: str, count: Count) -> Counts | None:
    """The counts that a figure of `kind` may mean in this model; None where the kind is no count of parameters, or
    the model has nothing of the kind."""
    for pattern, meaning in MEANINGS:
        found = re.fullmatch(pattern, kind, re.IGNORECASE)
        if found is not None:
            return meaning(count, found)
    return None


def _of_kind(kind: str) -> Meaning:
    """The conventions for published figures of a kind, the plain count first."""

    def meaning(count: Count, found: re.Match[str]) -> Counts | None:
        ways = [each for each in count.conventions if kind in each.kinds]
        return Counts(own=ways[0], others=tuple(ways[1:])) if ways else None

    return meaning


def _total(count: Count, found: re.Match[str]) -> Counts | None:
    """The total; a mixture of experts may be called by what is active of it."""
    counts = _of_kind("total")(count, found)
    active = tuple(each for each in count.conventions if each.name == "active")
    return counts and Counts(own=counts.own, others=counts.others + active)


def _active(count: Count, found: re.Match[str]) -> Counts | None:
    """The active parameters; all of them where there are no experts to choose from."""
    return _of_kind("active")(count, found) or _of_kind("total")(count, found)


def _component(count: Count, found: re.Match[str]) -> Counts | None:
    name = found["name"].lower()
    parameters = sum(part.numel for part in count.parts if part.component in COMPONENTS[name])
    if name == "lm head" and not parameters:
        parameters = count.sizes.untied - count.sizes.total  # the tied matrix
    return _alone(parameters, name)


def _per_layer(count: Count, found: re.Match[str]) -> Counts | None:
    """One layer's share, where all layers of the model are alike."""
    name = (found["name"] or "").lower()
    layered = [part for part in count.parts if part.layered]
    if name == "matrices":
        layered = [part for part in layered if len(part.shape) > 1]
    elif name:
        layered = [part for part in layered if part.component in COMPONENTS[name]]
    shares = set(_by_layer(layered))
    return _alone(shares.pop(), f"{name or 'all'} of one layer") if len(shares) == 1 else None


def _by_layer(parts: list[Part]) -> Iterator[int]:
    """The parameters of each layer, or of each kind of layers."""
    sums: dict[object, int] = {}
    for part in parts:
        key = part.layer if part.layer is not None else part.kind
        sums[key] = sums.get(key, 0) + part.numel // part.times
    yield from sums.values()


def _alone(parameters: int, name: str) -> Counts | None:
    if not parameters:
        return None
    own = Convention(name=name, parameters=parameters, derivation=name, note="its parameters in the inventory")
    return Counts(own=own)


def with_one_expert(count: Count, experts: int) -> Counts | None:
    """What "8x7B" says: a model of 7 billion if it had one expert a layer, with eight of them. None for another number
    of experts."""
    pools = {part.expert for part in count.parts if part.expert}
    if pools != {experts}:
        return None
    idle = sum(part.numel * (part.expert - 1) // part.expert for part in count.parts if part.expert)
    total = count.sizes.total
    own = Convention(
        name="with one expert a layer",
        parameters=total - idle,
        derivation=f"total - {idle:,} (all experts but one)",
        note=f"they share attention and embeddings, so {experts} of them make {total:,} and not {experts} times that",
    )
    return Counts(own=own)


_NAMES = "|".join(re.escape(name) for name in COMPONENTS)
MEANINGS: tuple[tuple[str, Meaning], ...] = (
    (r"total( \(.*\))?|trainable \(full fine-tuning\)", _total),
    (r"non-embedding( \(.*\))?", _of_kind("non-embedding")),
    (r"active( \(.*\))?", _active),
    (r"embedding", _of_kind("embedding")),
    (r"vision encoder", _of_kind("vision")),
    (r"text encoder", _of_kind("text")),
    (r"MTP.*", _of_kind("prediction module")),
    (rf"(component: )?(?P<name>{_NAMES})", _component),
    (rf"per-layer(: (?P<name>{_NAMES}|matrices))?", _per_layer),
)
