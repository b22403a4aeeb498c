"""A process that describes models of a Hub on loopback: the real client reads its environment once, at import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sources.hub_server import HubServer

PATIENCE = 100.0
"""How long the process may live: one that obeys a Retry-After of an hour, or waits for a drip, is killed and fails."""

PROGRAM = """
import dataclasses, json, logging, sys
from concurrent.futures import ThreadPoolExecutor

from hfcount.sources import describe, list_models
from hfcount.errors import HfcountError
from hfcount.sources.requests_budget import RequestBudget

logging.basicConfig(level=logging.INFO)
job = json.loads(sys.stdin.read())
budget = RequestBudget(**job["budget"])

def answer(case):
    try:
        if "list" in case:
            return list(list_models(**case["list"], timeout=case.get("timeout"), budget=budget))
        found = describe(case.pop("target"), budget=budget, **case)
    except HfcountError as error:
        return {"error": type(error).__name__, "text": str(error), "repr": repr(error)}
    checkpoint = found.checkpoint
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    fields["faults"] = [dataclasses.asdict(fault) for fault in found.faults]
    fields["claims"] = [claim.claim for claim in found.claims]
    fields["checkpoint"] = None if checkpoint is None else [
        checkpoint.parameters, checkpoint.stored_elements, checkpoint.nbytes
    ]
    return {**fields, "repr": repr(found)}

with ThreadPoolExecutor(job["threads"]) as pool:
    answers = list(pool.map(answer, job["cases"]))
print(json.dumps({"answers": answers, "requests": budget.requests}))
"""

QUICK = {"attempts": 2, "first_pause": 0.01, "longest_wait": 20.0}


class Answers:
    """What the process answered, case by case; all that it wrote is in `output`."""

    def __init__(self, answers: list[Any], requests: int, output: str) -> None:
        self.answers, self.requests, self.output = answers, requests, output


def ask(
    hub: HubServer,
    home: Path,
    cases: list[dict[str, Any]],
    *,
    budget: dict[str, Any] | None = None,
    threads: int = 1,
    **environment: str,
) -> Answers:
    """Describe (or list) each case with one budget, in one process."""
    job = {"cases": cases, "budget": budget or QUICK, "threads": threads}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(job),
        env=hub.environment(home, **environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    return Answers(found["answers"], found["requests"], done.stdout + done.stderr)


def describe_all(hub: HubServer, home: Path, targets: list[str], **how: Any) -> dict[str, dict[str, Any]]:
    """What each target is described as, by its name; `how` as for `ask`."""
    found = ask(hub, home, [{"target": target, "timeout": 20.0} for target in targets], **how)
    return dict(zip(targets, found.answers, strict=True))
