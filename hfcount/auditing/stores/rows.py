"""A finding as a row of a store: the same columns and values in every format."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hfcount._version import __version__
from hfcount.auditing.finding import FIELDS, Finding
from hfcount.auditing.targets import printable
from hfcount.errors import PASSING_KINDS

COLUMNS = ("target", "nth", "of", *FIELDS, "run")
"""`target` is what was asked for, `nth` of `of` says which of its findings the row is, `run` who found it and how."""

NUMBERS = ("nth", "of", "expected", "delta")

_LARGEST = 2**63 - 1
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


def rows_of(target: str, findings: Sequence[Finding], run: str) -> list[dict[str, Any]]:
    """The rows of all `findings` about `target`, by COLUMNS.

    Text is what UTF-8 holds, without a line of a token of the Hub. A figure beyond 64 bits, which two of the formats
    cannot hold, is left out, and the explanation says so.
    """
    number = len(findings)
    return [
        {"target": target, "nth": nth, "of": number, **_fields(finding), "run": run}
        for nth, finding in enumerate(findings, start=1)
    ]


def _fields(finding: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {}
    left_out = []
    for name in FIELDS:
        value = getattr(finding, name)
        if isinstance(value, str):
            value = printable(_TOKEN.sub("hf_***", value))
        elif isinstance(value, int) and abs(value) > _LARGEST:
            left_out.append(f"{name} is beyond 64 bits and left out")
            value = None
        row[name] = value
    if left_out:
        row["explanation"] = "; ".join([*filter(None, [row["explanation"]]), *left_out])
    return row


def is_passing(row: Mapping[str, Any]) -> bool:
    """Whether a row says that the source gave no answer, and so nothing of the model."""
    return row["verdict"] == "error" and row["kind"] in PASSING_KINDS


def run_stamp(options: Mapping[str, Any]) -> str:
    """What `run` says: the version of hfcount and a short hash of the options that change what is found."""
    text = json.dumps(options, sort_keys=True, default=str)
    return f"{__version__}+{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def difference(before: str, now: str) -> str | None:
    """A line where rows of two runs are not found in the same way; None where they are."""
    if before == now:
        return None
    old, new = before.partition("+")[0], now.partition("+")[0]
    what = f"by hfcount {old}, this is {new}" if old != new else "with other options"
    return f"was begun {what}: what is there is kept as it is (the column `run` tells the rows apart)"
