"""What a command is at, on stderr: a line on a terminal after two seconds, or the log where it is asked for.

The library says what it does to the logger "hfcount"; here that becomes one line that is redrawn, and is gone before
anything else is printed. HFCOUNT_LOG=info (or debug, warning) writes every message on a line of its own instead.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from hfcount.errors import BadInput
from hfcount.visible import visible

AFTER_SECONDS = 2.0
EVERY_SECONDS = 0.1
LEVELS = ("debug", "info", "warning", "error")
SIGNS, PLAIN_SIGNS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
CLEAR = "\r\x1b[2K"

logger = logging.getLogger("hfcount")


class Progress(logging.Handler):
    """A line of the latest message and the seconds so far, drawn by a thread of its own from `after` seconds on."""

    def __init__(self, stream: TextIO, *, after: float) -> None:
        super().__init__(logging.INFO)
        self.stream = stream
        self.after = after
        self._message = "starting"
        self._begun = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="hfcount-progress", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message; it is shown with the next drawing."""
        self._message = visible(record.getMessage())

    def stop(self) -> None:
        """Take the line away, for good."""
        self._done.set()
        self._thread.join()

    def _draw(self) -> None:
        if self._done.wait(self.after):
            return
        signs = SIGNS if "utf" in (self.stream.encoding or "").lower() else PLAIN_SIGNS
        for sign in itertools.cycle(signs):
            line = f"{sign} {self._message}, {time.monotonic() - self._begun:.0f} s"
            self._write(CLEAR + line[: shutil.get_terminal_size().columns - 1])
            if self._done.wait(EVERY_SECONDS):
                break
        self._write(CLEAR)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone, or lacks a sign of a model's name
            self.stream.write(text)
            self.stream.flush()


_shown: list[Progress] = []


def clear() -> None:
    """End the progress line, if there is one: something is about to be printed."""
    while _shown:
        _shown.pop().stop()


class OneLine(logging.Formatter):
    """A message on one line, whatever a model's name brings into it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return visible(super().format(record))


class Lines(logging.StreamHandler):  # type: ignore[type-arg]  # StreamHandler[TextIO] only from Python 3.11 on
    """Messages as lines on stderr, after the progress line was taken away."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        clear()
        super().emit(record)


def say(line: str) -> None:
    """A line on stderr, with the program's name before it."""
    clear()
    with contextlib.suppress(OSError, ValueError):  # stderr is gone, and nobody is left to be told
        print(f"hfcount: {visible(line)}", file=sys.stderr)


@contextlib.contextmanager
def _libraries_visible() -> Iterator[None]:
    """A context in which what any library logs or warns of, a server's words among it, steers no terminal."""
    make, write = logging.getLogRecordFactory(), warnings.formatwarning

    def made(*arguments: Any, **how: Any) -> logging.LogRecord:
        record = make(*arguments, **how)
        with contextlib.suppress(Exception):  # arguments that do not fit the message: logging itself says so
            record.msg, record.args = visible(record.getMessage(), keep="\n\t"), ()
        return record

    def written(*arguments: Any, **how: Any) -> str:
        return visible(write(*arguments, **how), keep="\n\t")

    logging.setLogRecordFactory(made)
    warnings.formatwarning = written
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
        warnings.formatwarning = write


@contextlib.contextmanager
def watched(arguments: Sequence[str]) -> Iterator[None]:
    """A context in which what the library says is shown. Raises BadInput for an unknown HFCOUNT_LOG."""
    asked = os.environ.get("HFCOUNT_LOG", "").strip().lower()
    if asked and asked not in LEVELS:
        raise BadInput(f"HFCOUNT_LOG={asked}: one of {', '.join(LEVELS)}")
    lines = Lines()  # on the stderr of now
    lines.setFormatter(OneLine("hfcount: %(message)s"))
    lines.setLevel(asked.upper() or logging.WARNING)
    handlers: list[logging.Handler] = [lines]
    if not asked and _on_terminal(sys.stderr) and not {"-q", "--quiet"} & set(arguments):
        _shown.append(Progress(sys.stderr, after=AFTER_SECONDS))
        handlers.append(_shown[-1])
    before = logger.level
    logger.setLevel(min(handler.level for handler in handlers))
    for handler in handlers:
        logger.addHandler(handler)
    try:
        with _libraries_visible():
            yield
    finally:
        clear()
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)


def _on_terminal(stream: TextIO) -> bool:
    """Whether lines can be redrawn there, and it is no shell that asks for completions."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and "_HFCOUNT_COMPLETE" not in os.environ
