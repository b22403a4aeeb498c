"""What every source of model descriptions gives: one small value, the same for cards, folders and the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SourceKind = Literal["card", "folder", "hub", "header", "type", "pasted"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A figure that somebody published about a model, as printed, before anyone has checked it.

    `value` is the exact integer where the figure is one, `approx` a rounded figure as a number ("117M" is
    117000000); both are None where the figure is no count (a memory size, a remark). `kind` says what is
    claimed: "total", "non-embedding", "active", "trainable (PEFT printed)", "vram", ... `details` holds the
    rest as it stands in the front matter: the PEFT configuration, `all_params`, the batch, the hardware.
    """

    claim: str
    value: int | None = None
    approx: float | None = None
    kind: str = "total"
    source: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model's description: its name, its raw config.json and what is said about it.

    `location` is where the config was read, for a reader; `revision` is the commit on the Hub (else None);
    `config` is config.json as it stands, unvalidated; `notes` are remarks for the report, a line each.
    """

    model: str
    kind: SourceKind
    location: str
    revision: str | None = None
    config: Mapping[str, Any]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
