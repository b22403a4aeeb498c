"""How long hfcount takes, whole processes from cold, as ratios within one run.

Each command is run in turn, several rounds over, and the median of its rounds counts, so that a slow moment of
the machine falls on all commands alike. The bounds are those that the project holds itself to; the script
prints whether each holds and exits with 1 if one does not, but no test asserts a time.

    python scripts/bench_startup.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

IMPORTS = [sys.executable, "-c", "import torch, transformers, peft"]
HFCOUNT = [sys.executable, "-m", "hfcount"]

FRESH = {"HFCOUNT_CACHE": "cache"}
"""A cache in the empty folder where a command starts: nothing is in it."""
CHANGED = ("--set", "rms_norm_eps=2e-5")
"""A model of the same sizes, that no record is of."""

COMMANDS = {
    "import torch, transformers, peft": (IMPORTS, {}),
    "hfcount gpt2 --lora-r 8": ([*HFCOUNT, "gpt2", "--lora-r", "8"], {}),
    "hfcount gpt2": ([*HFCOUNT, "gpt2"], {}),
    "hfcount deepseek-v3": ([*HFCOUNT, "deepseek-v3"], {}),
    "hfcount deepseek-v3 --lora-r 8 --lora-targets all-linear": (
        [*HFCOUNT, "deepseek-v3", "--lora-r", "8", "--lora-targets", "all-linear"],
        {},
    ),
    "memory llama-3.1-8b, on record": ([*HFCOUNT, "memory", "llama-3.1-8b"], FRESH),
    "memory llama-3.1-8b, another batch": (
        [*HFCOUNT, "memory", "llama-3.1-8b", "--batch", "6", "--seq", "999"],
        FRESH,
    ),
    "memory llama-3.1-8b, not on record": ([*HFCOUNT, "memory", "llama-3.1-8b", *CHANGED], FRESH),
    "the same with --fit": ([*HFCOUNT, "memory", "llama-3.1-8b", *CHANGED, "--gpu", "a100-80gb", "--fit"], FRESH),
    "memory llama-3.1-405b, not on record": ([*HFCOUNT, "memory", "llama-3.1-405b", *CHANGED], FRESH),
    "hfcount --help": ([*HFCOUNT, "--help"], {}),
    "shell completion": (
        HFCOUNT,
        {"_HFCOUNT_COMPLETE": "complete_bash", "COMP_WORDS": "hfcount ex", "COMP_CWORD": "1"},
    ),
}

RATIOS = (
    ("hfcount gpt2 --lora-r 8", "import torch, transformers, peft", 1.3),
    ("hfcount deepseek-v3", "hfcount gpt2", 1.5),
    ("hfcount deepseek-v3 --lora-r 8 --lora-targets all-linear", "hfcount gpt2 --lora-r 8", 1.5),
    ("memory llama-3.1-8b, on record", "import torch, transformers, peft", 3.0),
    ("memory llama-3.1-8b, not on record", "import torch, transformers, peft", 3.0),
    ("the same with --fit", "memory llama-3.1-8b, not on record", 2.0),
    ("memory llama-3.1-405b, not on record", "memory llama-3.1-8b, not on record", 1.2),
)
SECONDS = (
    ("hfcount --help", 0.3),
    ("shell completion", 0.3),
    ("memory llama-3.1-8b, on record", 0.5),
    ("memory llama-3.1-8b, another batch", 0.5),
)


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Seconds that one process takes, started in an empty folder so that it imports what is installed."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, check=False)
        return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, (command, environment) in COMMANDS.items():
            seconds[name].append(timed(command, environment))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{median:7.3f} s  (best {min(seconds[name]):.3f})  {name}")
    verdicts = []
    for name, base, bound in RATIOS:
        ratio = medians[name] / medians[base]
        verdicts.append(ratio <= bound)
        print(f"{ratio:7.2f} x  of '{base}': {name} (at most {bound}) {'ok' if verdicts[-1] else 'TOO SLOW'}")
    for name, bound in SECONDS:
        verdicts.append(medians[name] <= bound)
        verdict = "ok" if verdicts[-1] else "TOO SLOW"
        print(f"{medians[name]:7.3f} s  {name} (at most {bound} on a quiet machine) {verdict}")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
