"""What a Hub on loopback has: repositories, and what is wrong with the answers about them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

# Of a server that answers no request, and of one that fails at downloads.
Fault = Literal["limited", "limited-download", "broken", "slow", "cut", "cut-download", "drip", "no-hub", "forbidden"]
# Of one answer.
AnswerFault = Literal[
    "broken",
    "cut",
    "cut-body",
    "drip",
    "drip-headers",
    "endless",
    "forbidden",
    "gone",
    "gzip",
    "ignores-range",
    "limited",
    "long-length",
    "loop",
    "no-hub",
    "short-length",
    "slow",
    "truncated",
    "unavailable",
    "wrong-range",
]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RETRY_AFTER = "3600"


class Sparse:
    """A file of any size: its beginning, then zeros."""

    def __init__(self, head: bytes, size: int) -> None:
        self.head, self.size = head, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        return self.head[start:stop].ljust(stop - start, b"\0")


@dataclasses.dataclass(kw_only=True)
class Trouble:
    """What is wrong with one answer: after the first `after` requests the next `times` meet it, then all is well."""

    fault: AnswerFault
    after: int = 0
    times: float = math.inf
    retry_after: str | None = RETRY_AFTER


@dataclasses.dataclass(kw_only=True)
class Repo:
    """A repository: its files at every revision, who may read it, and what is wrong with its server.

    `troubles` has a file's name, or "api" for the answer that lists the files. `info` replaces parts of that answer.
    """

    files: Mapping[str, bytes | Sparse]
    revisions: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False
    private: bool = False
    disabled: bool = False
    public_card: bool = False
    renamed_to: str | None = None
    on_cdn: bool = False
    safetensors: Mapping[str, Any] | None = None
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fault: Fault | None = None
    troubles: dict[str, Trouble] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that came in; `at` is when, by a clock that only goes forward."""

    method: str
    path: str
    host: str
    authorization: str | None
    range: str | None = None
    at: float = 0.0
