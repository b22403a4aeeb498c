"""All that a model's page and files say, as read and before anything is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from hfcount.sources.headers.checkpoint import Checkpoint
from hfcount.sources.source import Claim

Where = Literal["card", "folder", "file", "hub", "row"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that could not be read, and why: it becomes a finding, and the rest is audited all the same.

    Attributes:
        what: "config.json", "model.safetensors", "the repository".
        reason: one line, without anything secret.
        kind: of the error: "gated", "private or missing", "rate limit", "server", "cut", "header", "config", ...
    """

    what: str
    reason: str
    kind: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """A model as its page and files describe it. Plain data: it can be pickled and sent to another process.

    Attributes:
        model: its name, "openai-community/gpt2".
        where: the kind of source.
        location: a folder, a URL, a file and row.
        revision: the commit on the Hub.
        config: config.json; None where there is none.
        adapter_config: adapter_config.json of a PEFT repository.
        card: the text of README.md, front matter included; "" where there is none.
        claims: what the front matter says under `hfcount: claims:`.
        hub_total: the Hub's `safetensors.total`.
        checkpoint: from the headers; None where there are none, or they were not asked for.
        faults: what could not be read.
    """

    model: str
    where: Where
    location: str = ""
    revision: str | None = None
    config: Mapping[str, Any] | None = None
    adapter_config: Mapping[str, Any] | None = None
    card: str = ""
    claims: tuple[Claim, ...] = ()
    hub_total: int | None = None
    checkpoint: Checkpoint | None = None
    faults: tuple[Fault, ...] = ()
