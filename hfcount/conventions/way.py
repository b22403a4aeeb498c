"""One way to count a model."""

from __future__ import annotations

import dataclasses
from typing import Literal

Basis = Literal["arithmetic", "documented", "inference", "rule"]
Kind = Literal["total", "non-embedding", "active", "embedding", "vision", "text", "prediction module"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to count a model, and what it gives.

    Attributes:
        name: what is counted, "as built", "non-embedding".
        parameters: the count, exact.
        derivation: how it comes from the total, to the unit: "total - T·d = 124,439,808 - 786,432".
        note: who counts so, with the source.
        basis: "arithmetic" on the model as built; "documented" by somebody beyond it; "inference": it fits, and
            nobody has said that it is the reason; "rule": an approximation that is taught.
        kinds: the kinds of published figures that this convention may be meant by.
        published: the published figures that it gives, as printed.
        particular: whether it is known of this very model, by its name or type, and not a habit that fits any.
    """

    name: str
    parameters: int
    derivation: str
    note: str
    basis: Basis = "arithmetic"
    kinds: tuple[Kind, ...] = ("total",)
    published: tuple[str, ...] = ()
    particular: bool = False
