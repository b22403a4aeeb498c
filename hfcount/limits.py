"""Limits on what a config may ask for, so that no config, however absurd, takes memory or minutes.

Two lines of defence: sizes are checked before anything is built, and the building itself runs in a guard that
caps memory and time, because a class may compute what no field name tells (a table of positions in numpy, say).
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfcount.errors import BadInput

MAX_LAYERS = 10_000
MAX_EXPERTS = 65_536
MAX_SIZE = 2**31 - 1
BUILD_BYTES = 2 * 1024**3
BUILD_SECONDS = 60.0

_COUNTED = re.compile(r"(^|_)(layers?|blocks?|depths?|stages?)$")
_EXPERTS = re.compile(r"experts?$")
_SIZE = re.compile(
    r"(_size|_dim|_heads?|_rank|_groups|_channels|layers?|experts?|_width|_positions|_embeddings|_features|_buckets)$"
    r"|^(d_model|d_ff|d_kv|d_inner|n_embd|n_inner|n_ctx|dim|ffn_dim|hidden_dim|depth|width)$"
)
_NEVER_ZERO = re.compile(
    r"^(vocab_size|hidden_size|d_model|n_embd|n_head|n_heads|num_heads|num_attention_heads|num_key_value_heads"
    r"|encoder_attention_heads|decoder_attention_heads|intermediate_size|max_position_embeddings|n_positions)$"
)


def check_sizes(config: Mapping[str, Any], *, where: str, prefix: str = "") -> None:
    """Raise BadInput if a size in the raw `config` (nested ones included) is negative, zero or absurdly large."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            check_sizes(value, where=where, prefix=f"{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            _check_size(key, name, value, where)


def _check_size(key: str, name: str, value: int, where: str) -> None:
    most = MAX_LAYERS if _COUNTED.search(key) else MAX_EXPERTS if _EXPERTS.search(key) else MAX_SIZE
    if value > most:
        raise BadInput(f"{where}: {name} = {value:,} is absurd; hfcount builds at most {most:,}")
    if value < 0 and _SIZE.search(key):
        raise BadInput(f"{where}: {name} = {value:,} is negative; a size is a positive integer")
    if value == 0 and _NEVER_ZERO.search(key):
        raise BadInput(f"{where}: {name} = 0; a size is a positive integer")


@contextlib.contextmanager
def guarded_build(what: str, *, seconds: float = BUILD_SECONDS) -> Iterator[None]:
    """A context in which memory beyond 2 GiB of growth and more than `seconds` end in BadInput naming `what`."""
    with _time_limit(what, seconds), _memory_limit():
        try:
            yield
        except MemoryError as error:
            raise _too_large(what) from error
        except RuntimeError as error:
            if "not enough memory" in str(error) or "can't allocate memory" in str(error):
                raise _too_large(what) from error
            raise


def _too_large(what: str) -> BadInput:
    return BadInput(f"{what}: building it empty asks for more than {BUILD_BYTES // 2**30} GiB; a size is absurd")


@contextlib.contextmanager
def _memory_limit() -> Iterator[None]:
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


@contextlib.contextmanager
def _time_limit(what: str, seconds: float) -> Iterator[None]:
    """Raise BadInput after `seconds`, where the platform and the thread can be interrupted by a timer."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expired(signum: int, frame: object) -> None:
        raise BadInput(f"{what}: building it empty took more than {seconds:g} s; a size is absurd, or give --timeout")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
