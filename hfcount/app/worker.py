"""A process in which the page's models are built: a question at a time, each with a limit on its time.

Building is not safe in the threads of a web server: `hfcount.limits` caps the memory of the process and interrupts its
main thread. A process of its own can also be killed when a model hangs, and torch stays out of the server.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from hfcount.errors import BadInput, HfcountError, one_line
from hfcount.limits import BUILD_BYTES, memory_limit

SECONDS = 90.0
"""For one question; building one model is limited to less in itself."""

START_SECONDS = 120.0
"""For an interpreter to start and import torch on a machine that is busy."""


class Worker:
    """A process that answers `ask(function, *arguments)`; started when first needed, and again after it was lost."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Any = None
        self._ready = False

    def start(self) -> None:
        """Start the process without waiting for it, so that torch is there when somebody asks."""
        if not (self._process and self._process.is_alive()):
            self._ready = False
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True, name="hfcount-worker")
            self._process.start()
            theirs.close()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function`, a module's own, gives for `arguments`; waits for its turn. HfcountError where it fails."""
        with self._lock:
            try:
                self.start()
                if not self._ready:
                    self._received(START_SECONDS)
                    self._ready = True
                self._pipe.send((function, arguments))
                good, answer = self._received(self._seconds)
            except (EOFError, OSError) as error:
                self.close()
                raise BadInput("the process that counts died over this model, perhaps for want of memory") from error
        if not good:
            raise answer
        return answer

    def _received(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            self.close()
            raise BadInput(f"this takes more than {seconds:g} s; the page gives up, `hfcount` on a terminal does not")
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()
            self._pipe.close()


def _serve(pipe: Any) -> None:
    """The process's side; it ends with its parent, which closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _cut_off()
    if not os.environ.get("HFCOUNT_DEBUG"):
        _silence()
    with contextlib.suppress(ImportError):
        import peft  # noqa: F401 - it loads torch and transformers, which take seconds
    pipe.send("ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, arguments = pipe.recv()
            pipe.send(_outcome(function, arguments))


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        with memory_limit():
            return True, function(*arguments)
    except MemoryError:
        return False, BadInput(f"this takes more than {BUILD_BYTES // 2**30} GiB of memory; check the config's sizes")
    except HfcountError as error:
        return False, BadInput(str(error))
    except Exception as error:  # whatever a class raises over a config that a visitor made up
        return False, BadInput(
            f"a fault in hfcount itself ({type(error).__name__}: {one_line(error)}); please report it"
        )


def _cut_off() -> None:
    """Let nothing here reach the Hub or know its token: what is asked came with its config."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(HF_HUB_DISABLE_IMPLICIT_TOKEN="1", HF_HUB_OFFLINE="1", HF_TOKEN_PATH=os.devnull)
    from huggingface_hub import constants  # it may have been imported, and then knows the old environment

    constants.HF_HUB_DISABLE_IMPLICIT_TOKEN = constants.HF_HUB_OFFLINE = True
    constants.HF_TOKEN_PATH = os.devnull


def _silence() -> None:
    """What libraries print over a model is not for the terminal of the one who serves the page."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
