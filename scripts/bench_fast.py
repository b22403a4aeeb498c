"""How long an answer from the catalogue takes, whole processes from cold, as ratios within one run.

The same question, how large is gpt2, put to four programs in turn, several rounds over; the median of the rounds
counts, so that a slow moment of the machine falls on all alike. `accelerate estimate-memory` asks a stand-in of the
Hub on loopback, so that no network is in its time, and keeps its cache from one round to the next. The bounds are
those that the project holds itself to; the script exits with 1 if one does not hold, but no test asserts a time.

    python scripts/bench_fast.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hfcount.sources.cards import load_card

MODEL = "gpt2"
FAST = f"hfcount {MODEL} --fast --format json"
ACCELERATE = f"accelerate estimate-memory {MODEL}"
SLOW = f"hfcount {MODEL} --format json"
PYTHON = "python -c pass"

COMMANDS = {
    FAST: [sys.executable, "-m", "hfcount", MODEL, "--fast", "--format", "json"],
    ACCELERATE: [sys.executable, "-m", "accelerate.commands.accelerate_cli", "estimate-memory", MODEL],
    SLOW: [sys.executable, "-m", "hfcount", MODEL, "--format", "json"],
    PYTHON: [sys.executable, "-c", "pass"],
}
SECONDS = 0.3
TIMES_FASTER = 15


class StandIn(BaseHTTPRequestHandler):
    """As much of the Hub as a config takes: what a repository is, and its config.json."""

    protocol_version = "HTTP/1.1"
    config = json.dumps(dict(load_card(MODEL).config)).encode()
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == f"/api/models/{MODEL}":
            about = {
                "id": MODEL,
                "sha": self.commit,
                "library_name": "transformers",
                "config": json.loads(self.config),
            }
            self._answer(json.dumps(about).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/{MODEL}/resolve/") and path.endswith("/config.json"):
            etag = hashlib.sha256(self.config).hexdigest()
            self._answer(self.config, {"X-Repo-Commit": self.commit, "ETag": f'"{etag}"'})
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _answer(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def timed(name: str, environment: Mapping[str, str], folder: str) -> float:
    """Seconds that one process takes; it is started in an empty folder, so that it imports what is installed."""
    begin = time.perf_counter()
    done = subprocess.run(COMMANDS[name], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{name}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    if name == FAST and "no model was built" not in done.stdout:
        sys.exit(f"{name}: took the long way: {done.stderr.strip()}")
    return seconds


def measured(rounds: int) -> dict[str, list[float]]:
    """name -> the seconds of each round, after one round that fills the caches and does not count."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty"
        empty.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        endpoint = f"http://127.0.0.1:{server.server_port}"
        environment = {
            **kept,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": folder,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
        }
        for turn in range(rounds + 1):
            for name in COMMANDS:
                taken = timed(name, environment, str(empty))
                if turn:
                    seconds[name].append(taken)
    server.shutdown()
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    seconds = measured(parser.parse_args().rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        ratio = median / medians[FAST]
        print(f"{median:7.3f} s  (best {min(seconds[name]):.3f})  {ratio:7.2f} x the fast answer  {name}")
    quick = medians[FAST] <= SECONDS
    faster = medians[ACCELERATE] / medians[FAST]
    print(f"{medians[FAST]:7.3f} s  at most {SECONDS} on a quiet machine: {'ok' if quick else 'TOO SLOW'}")
    print(
        f"{faster:7.1f} x  faster than {ACCELERATE}, at least {TIMES_FASTER}: "
        f"{'ok' if faster >= TIMES_FASTER else 'TOO SLOW'}"
    )
    return 0 if quick and faster >= TIMES_FASTER else 1


if __name__ == "__main__":
    sys.exit(main())
