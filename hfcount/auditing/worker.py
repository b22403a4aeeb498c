"""A process that audits one model at a time, and its parent's side of the conversation.

Building a model is not safe in threads: `hfcount.limits` caps the memory of the process and interrupts its main
thread, and transformers patches its classes while it builds. A process of its own can also be killed when a model
hangs, and take a model along when it dies, without harm to the rest. It is a plain child that speaks over its standard
input and output, and no `multiprocessing` one, because the processes of a Dask cluster may not have such children.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from hfcount.auditing.failures import AuditOne, audit_safely, failure
from hfcount.auditing.finding import Finding
from hfcount.auditing.targets import Target
from hfcount.errors import HfcountError, one_line

START_SECONDS = 120.0
"""For an interpreter to start and import what the audit needs, on a machine that is busy."""

MODEL_SECONDS = 600.0
"""For one model, waiting for the Hub included. Building one is limited in itself (`hfcount.limits`)."""

_READY = "ready"


class WorkerError(HfcountError):
    """A worker process that cannot even start, so that no other would."""


class Worker:
    """One process that audits; started when it is first needed, and again after it died.

    For one thread, except `kill`.
    """

    def __init__(self, audit_one: AuditOne, *, seconds: float = MODEL_SECONDS) -> None:
        """`audit_one` must be one that pickle can send; `seconds` is the time that one model may take."""
        self._audit_one = pickle.dumps(audit_one)
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._overdue = False
        self._killed = False

    def audit(self, target: Target) -> tuple[Finding, ...]:
        """The findings about `target`; one error finding where the process hung or died over it.

        Raises WorkerError where no process can be started.
        """
        if target.fault:
            return (failure(target, target.fault, "row"),)
        process = self._process or self._start()
        try:
            return self._asked(process, target, self._seconds)
        except (EOFError, OSError, pickle.UnpicklingError):
            return (self._lost(target),)

    def kill(self) -> None:
        """Kill the process, whatever it does, for good; from any thread. What `audit` then gives is worth nothing."""
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what was not yet sent is not wanted any more
                stream.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # The path of imports first, so that nothing in the working folder is taken for a module of ours.
        code = f"import sys; sys.path[:] = {sys.path!r}; from hfcount.auditing.worker import serve; serve()"
        process = self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_one_thread()},
        )
        if self._killed:  # while it was being started
            process.kill()
        try:
            answer = self._asked(process, self._audit_one, START_SECONDS)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.close()
            raise WorkerError(f"a worker process could not be started ({_how(process)}); try --workers 0") from error
        if answer != _READY:
            self.close()
            raise WorkerError(f"a worker process could not be started ({answer}); try --workers 0")
        return process

    def _asked(self, process: subprocess.Popen[bytes], question: Any, seconds: float) -> Any:
        """The answer to `question`; the process is killed where it takes longer than `seconds`."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._overdue = False
        timer = threading.Timer(seconds, self._too_long, [process])
        timer.daemon = True
        timer.start()
        try:
            pickle.dump(question, process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)
        finally:
            timer.cancel()

    def _too_long(self, process: subprocess.Popen[bytes]) -> None:
        self._overdue = True
        process.kill()

    def _lost(self, target: Target) -> Finding:
        process = self._process
        assert process is not None
        self.close()
        if self._overdue:
            return failure(target, f"took more than {self._seconds:g} s and was given up", "time limit")
        return failure(target, f"the process that audited it died ({_how(process)})", "crash")


def _one_thread() -> Mapping[str, str]:
    """Settings for a child, of which there are many: torch and numpy keep to one thread each."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: os.environ.get(name, "1") for name in (*names, "TOKENIZERS_PARALLELISM")}


def _how(process: subprocess.Popen[bytes]) -> str:
    """How a process ended: "signal SIGKILL, as for want of memory", "exit code 1"."""
    code = process.wait()
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"signal {name}, as for want of memory" if name == "SIGKILL" else f"signal {name}"


def serve() -> None:
    """The child's side: the audit first, then targets on standard input, findings on standard output.

    It ends with its parent: a thread reads standard input all the time, and where that is closed, ends the process.
    """
    questions, answers = _own_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        audit_one = pickle.loads(pickle.load(questions))
    except Exception as error:
        _say(answers, f"{type(error).__name__}: {one_line(error)}")
        return
    waiting: queue.SimpleQueue[Target] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(questions, waiting), daemon=True).start()
    _say(answers, _READY)
    while True:
        _say(answers, audit_safely(audit_one, waiting.get()))


def _own_streams() -> tuple[Any, Any]:
    """Standard input and output, put aside, so that what a library prints does not end among the answers."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return questions, answers


def _read(questions: Any, waiting: queue.SimpleQueue[Target]) -> None:
    try:
        while True:
            waiting.put(pickle.load(questions))
    except BaseException:  # whatever it is, there is nobody to work for
        os._exit(0)


def _say(answers: Any, answer: Any) -> None:
    answers.write(pickle.dumps(answer))
    answers.flush()
