"""Limits on what a config may ask for, so that no config, however absurd, takes memory or minutes.

Two lines of defence: sizes are checked before anything is built, and the building itself runs in a guard that
caps memory and time, because a class may compute what no field name tells (a table of positions in numpy, say).
"""

from __future__ import annotations

import contextlib
import math
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfcount.deadline import Overdue, check_deadline, in_time, time_left
from hfcount.errors import BadInput
from hfcount.sealed import sealed

MAX_LAYERS = 4_000
MAX_EXPERTS = 16_384
MAX_LABELS = 1_000_000
MAX_SIZE = 2**31 - 1
BUILD_BYTES = 2 * 1024**3
BUILD_SECONDS = 30.0

MAX_PARAMETERS = 10**15
"""A thousand times the largest published models; sums of such sizes stay exact in 64 bits."""

_COUNTED = re.compile(r"(^|_)(layers|blocks?|depths?|stages?)$|^(n|num)_layer$")
_EXPERTS = re.compile(r"experts?$")
# Not here, since -1 means "none" or "the last" in them: the index of a layer, a chunk's size, relative positions.
_SIZE = re.compile(
    r"((?<!chunk)_size|_dim|_heads?|_rank|_groups|_channels|_layers|experts?|_width|(?<!relative)_positions|_embeddings"
    r"|_features|num_buckets)$"
    r"|^(d_model|d_ff|d_kv|d_inner|n_embd|n_inner|n_ctx|n_layer|dim|ffn_dim|hidden_dim|layers|depth|width)$"
)
# What a constructor makes one object for has the tightest limits; the first name that fits decides.
_LIMITS = (
    (_COUNTED, MAX_LAYERS),
    (_EXPERTS, MAX_EXPERTS),
    (re.compile(r"^_?num_labels$"), MAX_LABELS),
    (_SIZE, MAX_SIZE),
)
_NEVER_ZERO = re.compile(
    r"^(vocab_size|hidden_size|d_model|n_embd|n_head|n_heads|num_heads|num_attention_heads|num_key_value_heads"
    r"|encoder_attention_heads|decoder_attention_heads|d_kv|max_position_embeddings|n_positions)$"
)
"""Sizes without which a model is none. Layers and MLPs are not among them: a stack of no layers has its embeddings."""


def check_sizes(config: Mapping[str, Any], *, where: str, prefix: str = "") -> None:
    """Raise BadInput if a size in the raw `config` is negative, zero or absurdly large.

    Sizes are known by their names; nested configs and lists (one entry a stage, say) are looked through.
    """
    for key, value in config.items():
        _check_value(key, f"{prefix}{key}", value, where)


def _check_value(key: str, name: str, value: object, where: str) -> None:
    if isinstance(value, Mapping):
        check_sizes(value, where=where, prefix=f"{name}.")
    elif isinstance(value, list):
        for place, each in in_time(enumerate(value)):
            _check_value(key, f"{name}[{place}]", each, where)
    elif isinstance(value, int) and not isinstance(value, bool):
        _check_size(key, name, value, where, listed=name.endswith("]"))


def _check_size(key: str, name: str, value: int, where: str, *, listed: bool) -> None:
    """The check of one integer; a list of layers may be a list of their indices, so its zeros mean nothing."""
    most = next((limit for names, limit in _LIMITS if names.search(key)), None)
    if most is not None and value > most:
        raise BadInput(f"{where}: {name} = {_shown(value)} is absurd; hfcount builds at most {most:,}")
    if value < 0 and _SIZE.search(key) and not listed:
        raise BadInput(f"{where}: {name} = {_shown(value)} is negative; a size is a positive integer")
    if value == 0 and _NEVER_ZERO.search(key) and not listed:
        raise BadInput(f"{where}: {name} = 0; a size is a positive integer")


def _shown(value: int) -> str:
    """The integer, or its power of ten where it has too many digits to read."""
    magnitude = abs(value)
    return f"{value:,}" if magnitude < 10**30 else f"{'-' if value < 0 else ''}10^{int(math.log10(magnitude))}"


def check_total(parameters: int, *, where: str) -> None:
    """Raise BadInput if a model of so many `parameters` cannot be meant, though each of its sizes may be."""
    if parameters > MAX_PARAMETERS:
        raise BadInput(
            f"{where}: {_shown(parameters)} parameters are absurd; hfcount counts at most {MAX_PARAMETERS:,}: "
            "check the sizes in config.json"
        )


def null_sizes(config: object) -> str:
    """ "; null: num_key_value_heads" for the sizes that a config object leaves open, "" where there is none."""
    names = [name for name, value in vars(config).items() if value is None and _SIZE.search(name)]
    return f"; null: {', '.join(names)}" if names else ""


@contextlib.contextmanager
def guarded_build(what: str, *, seconds: float | None = None, own_code: bool = False) -> Iterator[None]:
    """A context in which memory beyond 2 GiB of growth and more than `seconds` end in BadInput naming `what`.

    Without `seconds` the deadline around it decides, or BUILD_SECONDS where there is none; with both the nearer one.
    Its thread is cut off from all else, see `sealed`, which also says what `own_code` is.
    """
    check_deadline()
    with sealed(own_code=own_code), _time_limit(what, seconds), memory_limit():
        try:
            yield
            check_deadline()  # in a thread no timer ends the work
        except MemoryError as error:
            raise _too_large(what) from error
        except RuntimeError as error:
            if any(sign in str(error) for sign in _OUT_OF_MEMORY):
                raise _too_large(what) from error
            raise


# What torch says: of memory, and of a tensor whose elements 64 bits cannot count.
_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "bad_alloc", "overflow")


def _too_large(what: str) -> BadInput:
    return BadInput(f"{what}: building it empty asks for more than {BUILD_BYTES // 2**30} GiB; check its sizes")


@contextlib.contextmanager
def memory_limit() -> Iterator[None]:
    """Cap the process's data at what it has now plus BUILD_BYTES (Linux; elsewhere no cap is set)."""
    try:
        import resource

        kib = re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())
    except (ImportError, OSError):
        kib = None
    if kib is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    cap = int(kib.group(1)) * 1024 + BUILD_BYTES
    if hard != resource.RLIM_INFINITY:
        cap = min(cap, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _allowed(seconds: float | None) -> tuple[float, float, type[BadInput]]:
    """Return the seconds until the nearer of two limits, those that it was given, and the error that it ends in."""
    around = time_left()
    if around is not None and (seconds is None or around[0] < seconds):
        return (*around, Overdue)
    given = BUILD_SECONDS if seconds is None else seconds
    return given, given, BadInput


@contextlib.contextmanager
def _time_limit(what: str, seconds: float | None) -> Iterator[None]:
    """Raise BadInput after `seconds`, where the platform and the thread can be interrupted by a timer."""
    seconds, given, ending = _allowed(seconds)
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expired(signum: int, frame: object) -> None:
        raise ending(
            f"{what}: building it empty took more than {given:g} s; check its sizes, or give more with --timeout"
        )

    before = signal.signal(signal.SIGALRM, expired)
    begun = time.monotonic()
    left, again = signal.getitimer(signal.ITIMER_REAL)  # of a limit around this one, which stays in force
    signal.setitimer(
        signal.ITIMER_REAL, min(seconds, left or seconds), 1.0
    )  # again every second: the class may swallow an exception
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 0.001), again)
