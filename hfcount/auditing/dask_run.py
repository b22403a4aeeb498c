"""The audit on a Dask cluster: partitions of targets go out, findings come back, this process alone stores them.

A partition is a function of its targets. Where a machine is lost on the way Dask has another do it again, from the
start; its findings come back once, and what is stored already is not stored again. A model is audited by a process of
its own here too (`worker.py`), one for each thread of a Dask worker, so one that hangs or kills its process costs no
worker. What is stored, and how a run is resumed, is the same as in `running.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import pickle
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from hfcount._version import __version__
from hfcount.auditing.failures import AuditOne, failure
from hfcount.auditing.partitions import PARTITION, Partition, partitions
from hfcount.auditing.running import Findings, Keeper, Outcome, Watcher, interruptible
from hfcount.auditing.stores import Store
from hfcount.auditing.targets import Target
from hfcount.auditing.worker import MODEL_SECONDS, Worker
from hfcount.errors import BadInput, OfflineError

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 15.0
WORKER_SECONDS = 60.0
"""For the first worker of a cluster to come."""

IN_FLIGHT = 2
"""Partitions on their way for each thread of the cluster: one at work, one waiting."""

PATIENCE = 0.5
"""Seconds until an interruption is noticed while no partition is finished."""

LATE = (TimeoutError, asyncio.TimeoutError)
"""One class since Python 3.11, and Dask raises the second."""

Audited = tuple[str, list[tuple[str, Findings]]]
"""(version of hfcount there, (target's id, its findings) of each target)"""


def run_on_dask(
    targets: Iterable[Target],
    audit_one: AuditOne,
    store: Store,
    *,
    scheduler: str,
    seconds: float = MODEL_SECONDS,
    size: int = PARTITION,
    watcher: Watcher | None = None,
) -> Outcome:
    """As `running.run`, by the workers of the Dask cluster at `scheduler` ("tcp://host:8786").

    Workers want the same hfcount; folders that are audited are to lie at the same path there. Raises OfflineError
    where there is no scheduler or it is lost, BadInput for a wrong address, other versions or without Dask.
    """
    outcome = Outcome()
    keeper = Keeper(store, outcome, watcher)
    with interruptible() as stopping, _quiet(), connected(scheduler) as client:
        flow = _Flow(client, partitions(keeper.fresh(targets), size), audit_one, seconds)
        while not stopping.is_set() and flow.fill():
            for target, findings in flow.finished():
                keeper.keep(target, findings)
        outcome.stopped = stopping.is_set()
    return outcome


@contextlib.contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at an address, with at least one worker."""
    try:
        from distributed import Client
    except ImportError as error:
        raise BadInput("--scheduler wants Dask: pip install 'hfcount[dask]'") from error
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, *LATE) as error:
        raise OfflineError(f"{scheduler}: no Dask scheduler answers there; start one with `dask scheduler`") from error
    except ValueError as error:
        raise BadInput(f"{scheduler}: no address of a Dask scheduler, which is like tcp://127.0.0.1:8786") from error
    try:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except LATE as error:
            raise OfflineError(f"{scheduler}: has no workers; start some with `dask worker {scheduler}`") from error
        yield client
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone cannot be taken leave of
            client.close(timeout=5)


@contextlib.contextmanager
def _scheduler_there() -> Iterator[None]:
    """Raises OfflineError where what is done inside cannot be done, since the scheduler is lost."""
    try:
        yield
    except LATE:
        raise
    except (CancelledError, OSError) as error:
        raise OfflineError("the Dask scheduler is lost; go on with --resume when it is back") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's log says with a traceback what the errors here say in one line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "distributed.core")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class _Flow:
    """Partitions on their way, never more than a few for each thread of the cluster."""

    def __init__(self, client: Client, waiting: Iterator[Partition], audit_one: AuditOne, seconds: float) -> None:
        self._client = client
        self._waiting = waiting
        self._audit = pickle.dumps(audit_one)
        self._seconds = seconds
        self._run = uuid.uuid4().hex[:12]
        self._on_their_way: dict[Future, Partition] = {}
        self._suspects: list[Target] = []
        self._alone = False
        self._sent = itertools.count()

    def fill(self) -> bool:
        """Send out partitions as far as there is room; whether any is on its way.

        A model that may cost workers goes alone, when all others are back: Dask blames all that a lost worker had.
        """
        if self._suspects:
            if not self._on_their_way:
                self._alone = True
                self._send(Partition(0, (self._suspects.pop(),)))
            return True
        if self._alone and self._on_their_way:
            return True
        self._alone = False
        with _scheduler_there():
            room = IN_FLIGHT * max(1, sum(self._client.nthreads().values()))
        while len(self._on_their_way) < room and (partition := next(self._waiting, None)) is not None:
            self._send(partition)
        return bool(self._on_their_way)

    def _send(self, partition: Partition) -> None:
        future = self._client.submit(
            audit_partition,
            self._audit,
            partition,
            self._seconds,
            key=f"hfcount-audit-{self._run}-{next(self._sent)}",
            pure=False,
        )
        self._on_their_way[future] = partition

    def finished(self) -> Iterator[tuple[str, Findings]]:
        """(target's id, its findings) of the partitions that came back; nothing where none did for a moment."""
        from distributed import wait

        try:
            with _scheduler_there():
                done = wait(list(self._on_their_way), timeout=PATIENCE, return_when="FIRST_COMPLETED").done
        except LATE:
            return
        for future in done:
            yield from self._received(future, self._on_their_way.pop(future))

    def _received(self, future: Future, partition: Partition) -> Iterator[tuple[str, Findings]]:
        from distributed import KilledWorker

        try:
            with _scheduler_there():
                version, found = future.result()
        except KilledWorker:
            yield from self._killing(partition)
            return
        if version != __version__:
            raise BadInput(f"a Dask worker has hfcount {version}, this is {__version__}; install the same on both")
        yield from found

    def _killing(self, partition: Partition) -> Iterator[tuple[str, Findings]]:
        """What to do about a partition that Dask gave up, since it was there when several workers were lost."""
        if not self._alone:
            self._suspects += partition.targets
            return
        target = partition.targets[0]
        yield target.id, (failure(target, "cost several Dask workers, as for want of memory", "crash"),)


_own = threading.local()


def audit_partition(audit: bytes, partition: Partition, seconds: float) -> Audited:
    """The work of a Dask worker: the findings about each target, by the process that belongs to this thread."""
    worker: Any = getattr(_own, "worker", None)
    if worker is None or _own.audit != (audit, seconds):
        if worker is not None:
            worker.close()
        worker = _own.worker = Worker(pickle.loads(audit), seconds=seconds)
        _own.audit = (audit, seconds)
    return __version__, [(target.id, worker.audit(target)) for target in partition.targets]
