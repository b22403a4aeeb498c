"""Audits that stand in for the real one where the machinery around it is tested: quick, and bad in every way."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.auditing.targets import Target
from hfcount.errors import BadInput


def findings_of(name: str) -> tuple[Finding, ...]:
    """One to four findings that the name decides: the same wherever and however often it is audited."""
    digest = hashlib.sha256(name.encode()).digest()
    return tuple(
        Finding(
            model=name,
            claim=f"{digest[place]}M",
            kind="total",
            source="README.md line 1",
            verdict=VERDICTS[digest[place] % len(VERDICTS)],
            expected=1 + digest[place + 8],
            delta=digest[place] - digest[place + 8],
            explanation="of a name – with signs",
        )
        for place in range(1 + digest[31] % 4)
    )


def audit(target: Target) -> tuple[Finding, ...]:
    return findings_of(target.name)


def recorded(target: Target, *, record: str, seconds: float = 0.0) -> tuple[Finding, ...]:
    """As `audit`; writes a line with the process and the name into the file `record`, and takes some time."""
    with Path(record).open("a") as file:
        file.write(f"{os.getpid()} {target.id}\n")
    time.sleep(seconds)
    return findings_of(target.name)


def difficult(target: Target) -> tuple[Finding, ...]:
    """What its name says: hangs, dies, raises, talks."""
    behaviour = target.name.split("-")[0]
    if behaviour == "hangs":
        time.sleep(600)
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "orphans":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    if behaviour == "leaves":
        os._exit(3)
    if behaviour == "raises":
        raise RuntimeError("a fault\nof two lines")
    if behaviour == "refuses":
        raise BadInput("config.json: no config")
    if behaviour == "recurses":
        return difficult(target) + difficult(target)
    if behaviour == "talks":
        print("what a library says", flush=True)
        os.write(1, b"straight to the descriptor\n")
    if behaviour == "silent":
        return ()
    return findings_of(target.name)
