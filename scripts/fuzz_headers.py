"""Feeds damaged checkpoint headers to the readers for as long as asked, guided by coverage where atheris is installed.

    python scripts/fuzz_headers.py --seconds 300
    pip install atheris            # Linux, CPython up to 3.13; without it the bytes are changed at random

A reader must return a header or raise an HfcountError of one line, soon. What else happens is printed with the bytes
(base64) that made it happen, and the exit code is 1. Memory is limited to --megabytes, so that a reader that takes too
much fails too.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import os
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ATHERIS = importlib.util.find_spec("atheris") is not None
if ATHERIS:
    import atheris

    with atheris.instrument_imports(include=["hfcount"]):
        from hfcount.errors import HfcountError
        from hfcount.sources.headers import InMemory, read_header
        from hfcount.sources.headers.sharded import read_index
else:
    from hfcount.errors import HfcountError
    from hfcount.sources.headers import InMemory, read_header
    from hfcount.sources.headers.sharded import read_index

NAMES = ("a.safetensors", "a.gguf", "a.bin", "index.json", "pickle", "json")
"""The first byte of an input says which of these it is: "pickle" is put into a zip archive, "json" into a header."""
SLOW_SECONDS = 5.0


def seeds() -> list[bytes]:
    """A good file of every kind, each behind its byte."""
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "a": entry, "b": {**entry, "data_offsets": [24, 48]}}
    ).encode()
    gguf = b"GGUF" + struct.pack("<I2Q", 3, 1, 2)
    gguf += struct.pack("<Q1sIQ2s", 1, b"k", 8, 2, b"ab") + struct.pack("<Q1sIIQ2I", 1, b"n", 9, 4, 2, 7, 8)
    gguf += struct.pack("<Q1sI2QIQ", 1, b"t", 2, 32, 2, 2, 0)
    gguf += bytes(-len(gguf) % 32) + bytes(36)
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
    rebuild = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\0K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
    )
    program = b"\x80\x02}q\0X\x0a\0\0\0state_dictq\1}q\2(X\x01\0\0\0a" + rebuild + b"X\x01\0\0\0b" + rebuild + b"us."
    old = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}." + program
    index = b'{"metadata": {"total_size": 12}, "weight_map": {"a": "one.safetensors"}}'
    files = (struct.pack("<Q", len(header)) + header + bytes(48), gguf, zipped(program), index, program, header)
    return [bytes([kind]) + data for kind, data in enumerate(files)] + [b"\x02" + old]


def zipped(program: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", bytes(16))
    return buffer.getvalue()


class Run:
    """What the readers did with what they were given."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.executions = 0
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self.found: dict[str, bytes] = {}
        self.folder = ""

    def one(self, data: bytes) -> None:
        """Reads one input and keeps what became of it."""
        if not data:
            return
        name = NAMES[data[0] % len(NAMES)]
        began = time.monotonic()
        try:
            read(name, data[1:])
            outcome = "read"
        except HfcountError as error:
            outcome = "refused"
            if "\n" in str(error):
                self.keep("a message of two lines", data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "crashed"
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
            self.keep(f"{type(error).__name__} at {where}", data)
        taken = time.monotonic() - began
        if taken > SLOW_SECONDS:
            self.keep(f"{taken:.0f} seconds", data)
        self.slowest = max(self.slowest, taken)
        self.outcomes[f"{name} {outcome}"] += 1
        self.executions += 1
        if time.monotonic() > self.end:
            self.report()

    def keep(self, what: str, data: bytes) -> None:
        self.found.setdefault(what, data)

    def report(self) -> None:
        """Prints what was found and ends the process, which is the only way out of atheris."""
        print(f"{self.executions:,} executions, the slowest {self.slowest:.2f} s, guided by coverage: {ATHERIS}")
        for outcome, count in sorted(self.outcomes.items()):
            print(f"  {count:>10,} {outcome}")
        for what, data in self.found.items():
            print(f"FOUND {what}: {base64.b64encode(data[:2_000]).decode()}")
        print(f"{len(self.found)} found")
        sys.stdout.flush()
        if self.folder:
            shutil.rmtree(self.folder)
        os._exit(1 if self.found else 0)


def read(name: str, data: bytes) -> None:
    if name == "index.json":
        read_index(InMemory(data, name))
    elif name == "pickle":
        read_header(InMemory(zipped(data), "a.bin"))
    elif name == "json":
        read_header(InMemory(struct.pack("<Q", len(data)) + data + bytes(48), "a.safetensors"))
    else:
        read_header(InMemory(data, name))


def at_random(one: Callable[[bytes], None], corpus: list[bytes], seed: int) -> None:
    """Changes good files at random, for ever."""
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(1, len(data) + 1)
            how = chance.randrange(4)
            if how == 0:
                data[at : at + 1] = chance.randbytes(chance.randint(0, 4))
            elif how == 1:
                data[at : at + 8] = struct.pack("<Q", chance.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)))
            elif how == 2:
                del data[at : at + chance.randint(1, 50)]
            else:
                data[at:at] = data[at : at + chance.randint(1, 50)] * chance.randint(1, 4)
        one(bytes(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--megabytes", type=int, default=2_000, help="of memory for the whole process")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run = Run(options.seconds)
    corpus = seeds()
    for data in corpus:
        run.one(data)
    assert len([outcome for outcome in run.outcomes if outcome.endswith(" read")]) == len(NAMES), run.outcomes
    if not ATHERIS:
        limit = options.megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        at_random(run.one, corpus, options.seed)
    run.folder = tempfile.mkdtemp()
    for number, data in enumerate(corpus):
        (Path(run.folder) / str(number)).write_bytes(data)
    limits = [f"-rss_limit_mb={options.megabytes}", "-timeout=60", "-max_len=4096", f"-seed={options.seed + 1}"]
    atheris.Setup([sys.argv[0], *limits, "-verbosity=0", run.folder], run.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
