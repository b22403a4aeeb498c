"""Which parameters are routed experts, how many share a pool, and how many of them one token is sent to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcount.classes import text_config

if TYPE_CHECKING:
    from torch import nn

    from hfcount.components import Place

_FUSED = re.compile(r"Experts$")
_SHARED = re.compile(r"Shared")
_CHOSEN = (
    "top_k",
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
    "num_selected_experts",
)
"""The names under which modules and configs keep the number of experts a token is sent to."""


def pool_of(place: Place, parameter: nn.Parameter) -> tuple[int, int]:
    """(experts in the pool, experts chosen per token) for the parameter at `place`; (0, 0) if it is no expert.

    A pool is either one module with fused parameters, whose first dimension counts the experts, or a
    ModuleList of expert modules. The number chosen is what the block around the pool, its router or the
    config says.
    """
    for depth in range(1, len(place.modules)):
        kind, name = place.kinds[depth], place.path[depth]
        if _SHARED.search(kind) or "shared" in name:
            return 0, 0
        if _is_pool(kind, name):
            experts = _pool_size(place.modules[depth], parameter)
            return (experts, _chosen(place, depth, experts)) if experts > 1 else (0, 0)
    return 0, 0


def _is_pool(kind: str, name: str) -> bool:
    return name == "experts" or bool(_FUSED.search(kind))


def _pool_size(pool: nn.Module, parameter: nn.Parameter) -> int:
    """Experts in the pool: the modules of a list, what the pool says of itself, else the first dimension."""
    if type(pool).__name__ in ("ModuleList", "ModuleDict"):
        return len(pool)  # type: ignore[arg-type]
    for module in (pool, *pool.children()):
        if type(module).__name__ == "ModuleList":
            return len(module)  # type: ignore[arg-type]
        said = getattr(module, "num_experts", None)
        if isinstance(said, int) and not isinstance(said, bool) and said > 0:
            return said
    return int(parameter.shape[0])


def _chosen(place: Place, depth: int, experts: int) -> int:
    """Experts per token: asked of the pool, the block that holds it and its children, then of the config."""
    block = place.modules[depth - 1]
    for module in (place.modules[depth], block, *block.children()):
        for name in _CHOSEN:
            value = getattr(module, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= experts:
                return value
    config = text_config(place.modules[0].config)  # type: ignore[arg-type]
    for name in _CHOSEN:
        value = getattr(config, name, None)
        if isinstance(value, int) and 0 < value <= experts:
            return value
    return experts
