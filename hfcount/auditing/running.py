"""The audit of any number of models on this machine: several processes, one store, one place that writes.

Each of `workers` threads takes the next target, has it audited by a process of its own (`worker.py`) and hands the
findings to the thread that called, which alone writes them. So a few targets are in flight at a time, however many
there are; the waiting for the Hub of one model overlaps with the counting of another; a model that hangs or kills its
process is one error finding; and a run that is killed has stored each model whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Protocol

from hfcount.auditing.failures import AuditOne, audit_safely
from hfcount.auditing.finding import Finding
from hfcount.auditing.stores import Store
from hfcount.auditing.targets import Target
from hfcount.auditing.worker import MODEL_SECONDS, Worker

PATIENCE = 0.2
"""Seconds until an interruption is noticed while no model is finished."""

Findings = tuple[Finding, ...]


class Watcher(Protocol):
    """Who is told of each model as it is stored: a progress bar."""

    def advance(self, findings: Findings) -> None: ...


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What became of a run.

    Attributes:
        audited: models that were audited and stored.
        skipped: targets that were in the store already, or came twice.
        stopped: whether it was interrupted; the store then has what was finished, and can be gone on from.
        verdicts: how many findings of each verdict were stored.
    """

    audited: int = 0
    skipped: int = 0
    stopped: bool = False
    verdicts: Counter[str] = dataclasses.field(default_factory=Counter)


def run(
    targets: Iterable[Target],
    audit_one: AuditOne,
    store: Store,
    *,
    workers: int = 1,
    seconds: float = MODEL_SECONDS,
    watcher: Watcher | None = None,
) -> Outcome:
    """Audit the `targets` that are not in `store` and store their findings as they come.

    `workers` processes; 0 is this process alone, one model after the other, without the limit of `seconds` a model.
    Ctrl-C and SIGTERM end the run at once: `Outcome.stopped`. Raises what reading the targets or writing the store
    raises, when what was finished before is stored.
    """
    outcome = Outcome()
    keeper = Keeper(store, outcome, watcher)
    with interruptible() as stopping:
        if workers:
            crew = [Worker(audit_one, seconds=seconds) for _ in range(workers)]
            with contextlib.closing(_Crew(keeper.fresh(targets), crew, stopping).results()) as results:
                for target, findings in results:
                    keeper.keep(target.id, findings)
        else:
            for target in keeper.fresh(targets):
                if stopping.is_set():
                    break
                keeper.keep(target.id, audit_safely(audit_one, target))
        outcome.stopped = stopping.is_set()
    return outcome


class Keeper:
    """What is common to all ways of running: each target once, and each model's findings into the store."""

    def __init__(self, store: Store, outcome: Outcome, watcher: Watcher | None) -> None:
        self._store = store
        self._outcome = outcome
        self._watcher = watcher
        self._handed_out: set[str] = set()

    def fresh(self, targets: Iterable[Target]) -> Iterator[Target]:
        """The targets that are neither stored nor on their way."""
        for target in targets:
            # Kept is first stored and then no longer on its way, so asked in the other order nothing slips through.
            if target.id in self._handed_out or target.id in self._store.done:
                self._outcome.skipped += 1
            else:
                self._handed_out.add(target.id)
                yield target

    def keep(self, target: str, findings: Findings) -> None:
        """Store what was found about a target, unless it is stored."""
        if self._store.add(target, findings):
            self._outcome.audited += 1
            self._outcome.verdicts.update(finding.verdict for finding in findings)
            if self._watcher is not None:
                self._watcher.advance(findings)
        self._handed_out.discard(target)


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of what they do else; a second Ctrl-C does what it does else.

    Only the main thread can be told of signals; in another the event is never set.
    """
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def stop(signum: int, frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class _Crew:
    """Threads that take targets and hand in findings, each by a process of its own."""

    def __init__(self, targets: Iterator[Target], workers: Sequence[Worker], stopping: threading.Event) -> None:
        self._targets = targets
        self._workers = workers
        self._stopping = stopping
        self._ended = threading.Event()
        self._taking = threading.Lock()
        # What is found waits for the writer in a queue that is soon full, so that a slow disk slows the run.
        self._found: queue.Queue[tuple[Target, Findings] | BaseException | None] = queue.Queue(len(workers))

    def results(self) -> Generator[tuple[Target, Findings], None, None]:
        """(target, findings) as they come, until all targets are done or the run is stopped.

        Raises what reading the targets raises, and WorkerError where no process can be started.
        """
        threads = [threading.Thread(target=self._work, args=(worker,), daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        working, error = len(threads), None
        try:
            while working and not self._stopping.is_set():
                try:
                    found = self._found.get(timeout=PATIENCE)
                except queue.Empty:
                    continue
                if isinstance(found, tuple):
                    yield found
                else:
                    working, error = working - 1, error or found
        finally:
            self._dismiss(threads)
        if error is not None:
            raise error

    def _dismiss(self, threads: Sequence[threading.Thread]) -> None:
        """End all processes at once, and the threads, save one that still waits for its next target."""
        self._ended.set()
        for worker in self._workers:
            worker.kill()
        for thread in threads:
            with contextlib.suppress(queue.Empty):
                while True:  # nobody may wait for room
                    self._found.get_nowait()
            thread.join(PATIENCE)

    def _work(self, worker: Worker) -> None:
        """A thread's life: the last it hands in is None, or what went wrong beyond one model."""
        last: BaseException | None = None
        try:
            while (target := self._next()) is not None:
                findings = worker.audit(target)
                if self._ended.is_set():
                    break
                self._found.put((target, findings))
        except BaseException as error:
            last = error
        finally:
            worker.close()
            if not self._ended.is_set():
                self._found.put(last)

    def _next(self) -> Target | None:
        with self._taking:
            return None if self._ended.is_set() else next(self._targets, None)
