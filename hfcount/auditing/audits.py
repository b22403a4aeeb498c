"""The audit as a whole: which models, how far, by whom, and where the findings go."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcount.auditing.finding import FIELDS, Finding
from hfcount.auditing.one import Reach, audit_target
from hfcount.auditing.progress import shown
from hfcount.auditing.running import Outcome, run
from hfcount.auditing.stores import MemoryStore, Store, open_store, read_rows, run_stamp
from hfcount.auditing.summary import Summary, summarize
from hfcount.auditing.target_files import file_targets, number_of
from hfcount.auditing.targets import Target, named_targets
from hfcount.errors import BadInput
from hfcount.shown import Charted
from hfcount.sources.hub_errors import check_endpoint

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit(Charted):
    """The findings of an audit.

    Attributes:
        summary: how many models and verdicts, the largest discrepancies.
        outcome: what the run did: models audited, skipped because they were in the store, whether it was stopped.
        notes: what a reader should know, a line each.
        path: the store; None where the findings are in memory.
    """

    summary: Summary
    outcome: Outcome
    notes: tuple[str, ...]
    path: Path | None
    _rows: Callable[[], Iterator[Mapping[str, Any]]] = dataclasses.field(repr=False)

    @property
    def findings(self) -> Iterator[Finding]:
        """The findings, those of a model together, read one after the other."""
        return (Finding(**{name: row[name] for name in FIELDS}) for row in self._rows())

    def to_frame(self) -> pd.DataFrame:
        """A row a finding: model, claim, kind, source, verdict, expected, delta, convention, explanation."""
        import pandas as pd

        frame = pd.DataFrame([finding.to_dict() for finding in self.findings], columns=list(FIELDS))
        return frame.astype({"expected": "Int64", "delta": "Int64"})


def audit(
    *targets: str,
    listed: str | Path | None = None,
    author: str | None = None,
    search: str | None = None,
    limit: int | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    headers: bool = True,
    rate: float | None = None,
    quiet: bool = True,
) -> Audit:
    """Hold every figure that models publish against what is true of them.

    `targets` are ids on the Hub, names of bundled cards, checkpoint files and folders (of a model, or of many);
    `listed` is a file of ids, or of ids with configs and card texts (text, CSV, JSONL, Parquet); `author` and `search`
    ask the Hub for up to `limit` models. Findings go to `output` (.jsonl, .sqlite, .parquet) as they come, a row each;
    `resume` goes on from what is there. `workers` processes work at once (0: this one alone); with the address of a
    Dask `scheduler` its cluster does. Of the Hub a `revision` may be asked, and `offline` asks it nothing. `rate` is a
    limit of requests to the Hub a second, in all (of a cluster: of each thread); `timeout` is in seconds, for each
    request and for the work on a model; without `headers` no checkpoint is opened. `quiet`: no progress bar.

    Raises BadInput or SourceError where there is nothing to audit at all; what is wrong with one model is a finding.

    >>> audit("gpt2").summary.verdicts["mismatch"]
    0
    """
    check_endpoint()
    of_hub = (author or search) is not None
    if of_hub and offline:
        raise BadInput("--author and --search ask the Hub, and --offline forbids it; give ids with --from FILE")
    if limit is not None and not of_hub:
        raise BadInput(f"--limit {limit}: is for the models of --author and --search, and neither is given")
    if not (targets or listed or of_hub):
        raise BadInput("nothing to audit; name models or folders, or give --from FILE, --author or --search")
    many = bool(listed or of_hub)
    chosen = itertools.chain(
        named_targets(targets),
        file_targets(Path(listed)) if listed else (),
        _of_hub(author, search, limit, timeout, rate) if of_hub else (),
    )
    processes = workers if workers is not None else (_cores() if many else 0)
    reach = Reach(
        revision=revision,
        offline=offline,
        timeout=timeout,
        headers=headers,
        per_second=None if rate is None else rate / max(1, processes),
    )
    with _store(output, resume, reach) as store, shown(_number(targets, listed, many), quiet=quiet) as watcher:
        work = functools.partial(audit_target, reach=reach)
        if scheduler:
            from hfcount.auditing.dask_run import run_on_dask

            outcome = run_on_dask(chosen, work, store, scheduler=scheduler, watcher=watcher)
        else:
            outcome = run(chosen, work, store, workers=processes, watcher=watcher)
    rows = store.rows if isinstance(store, MemoryStore) else functools.partial(read_rows, store.path)
    summary = summarize(rows())
    store.check(sum(summary.verdicts.values()))
    return Audit(
        summary=summary,
        outcome=outcome,
        notes=tuple(store.notes),
        path=None if isinstance(store, MemoryStore) else store.path,
        _rows=rows,
    )


def _of_hub(
    author: str | None, search: str | None, limit: int | None, timeout: float | None, rate: float | None
) -> Iterator[Target]:
    from hfcount.sources.hub_repository import list_models
    from hfcount.sources.requests_budget import RequestBudget

    for model in list_models(author, search, limit, timeout=timeout, budget=RequestBudget(per_second=rate)):
        yield Target(id=f"hf:{model}", name=model)


def _store(output: str | Path | None, resume: bool, reach: Reach) -> Store:
    if output is None:
        if resume:
            raise BadInput("--resume goes on from a store; name it with --output FILE.jsonl, .sqlite or .parquet")
        return MemoryStore()
    found_by = {"revision": reach.revision, "offline": reach.offline, "headers": reach.headers}
    return open_store(Path(output), resume=resume, run=run_stamp(found_by))


def _number(targets: tuple[str, ...], listed: str | Path | None, many: bool) -> int | None:
    """How many models there are, where that is known before they are read."""
    if not many:
        return sum(1 for _ in named_targets(targets))
    return number_of(Path(listed)) if listed and not targets and str(listed) != "-" else None


def _cores() -> int:
    import os

    return max(1, min(os.cpu_count() or 1, 8))
