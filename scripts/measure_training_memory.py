"""Real training steps, measured: the peak of each cell of a sweep, appended to benchmarks/memory/.

    python scripts/measure_training_memory.py                             # on the CPU, what is not measured yet
    python scripts/measure_training_memory.py --device cuda               # on a CUDA device
    python scripts/measure_training_memory.py --models gpt2,llama --cells 10 --again

The step is the one that hfcount simulates (hfcount/simulation/step.py), on tensors that have memory. It is measured in
two ways at once: the ledger of live tensors, and the allocator's own count. The allocator counts what kernels take for
themselves too; on CUDA its rounding is told apart (allocated against requested bytes).

A line of the file is one cell: its settings, the peak in bytes with its phase and buckets, the highest of each phase,
the allocator's figures, all versions and the device. A cell that stands in the file with the same versions and device
is left out unless --again is given. scripts/report_training_memory.py holds the simulation against the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from live_bytes import CpuAllocator, CudaAllocator
from memory_cells import MODELS, Cell, bench_of, grid, run_of, wished

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "memory"


def versions() -> dict[str, str]:
    """Of all that the bytes depend on."""
    from hfcount.result import PACKAGES
    from hfcount.result import versions as of_packages

    return {"python": platform.python_version(), **of_packages((*PACKAGES, "bitsandbytes"))}


def device_name(device: str) -> str:
    """What the kernels depend on: the card, or the CPU's instructions."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def measure(cell: Cell, device: str = "cpu") -> dict[str, Any]:
    """The line of one cell, but for versions and device."""
    from hfcount.simulation.simulate import Simulation, measured
    from hfcount.simulation.step import run_step
    from hfcount.simulation.subject import materialize, skeleton_of

    def step() -> Simulation:
        subject = skeleton_of(bench_of(cell.model), wished(cell))
        with allocator:
            with torch.device(device):
                materialize(subject)
            return measured(run_step(subject, run_of(cell), entering=allocator.enter))

    begun = time.monotonic()
    torch.manual_seed(0)
    gc.collect()  # nothing of the cell before is freed during this one
    allocator = CudaAllocator() if device == "cuda" else CpuAllocator()
    found = step()
    return {
        "cell": dataclasses.asdict(cell),
        "peak_bytes": found.peak.bytes,
        "phase": found.peak.phase,
        "buckets": dict(found.peak.buckets),
        "phases": {phase: moment.bytes for phase, moment in found.phases.items()},
        "highest": dict(found.highest),
        "allocator": allocator.peaks(),
        "seconds": round(time.monotonic() - begun, 2),
    }


def load(path: Path) -> list[dict[str, Any]]:
    """The lines of the file; none where it does not exist."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def identity(line: Mapping[str, Any]) -> str:
    """What two lines share that measure the same."""
    return json.dumps([line["cell"], line["versions"], line["device_name"]], sort_keys=True)


def wanted(models: Sequence[str], count: int | None) -> list[Cell]:
    """The cells of the named models, or of all; of them the first `count`, each model's first ones first."""
    by_model = {name: [cell for cell in grid() if cell.model == name] for name in models or MODELS}
    if count is None:
        return [cell for cells in by_model.values() for cell in cells]
    turns = range(max(map(len, by_model.values())))
    found = [cells[turn] for turn in turns for cells in by_model.values() if turn < len(cells)][:count]
    return sorted(found, key=lambda cell: list(by_model).index(cell.model))


def sweep(cells: Iterable[Cell], path: Path, *, device: str, again: bool) -> int:
    """Append a line for each cell that is not in the file; returns how many could not be measured."""
    named = {"device": device, "device_name": device_name(device), "versions": versions()}
    there = set() if again else {identity(line) for line in load(path)}
    failed = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        if identity({"cell": dataclasses.asdict(cell), **named}) in there:
            continue
        try:
            line = measure(cell, device)
        except Exception as error:  # a cell that a device cannot run leaves the others to be measured
            failed += 1
            print(f"{cell}: {type(error).__name__}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
            continue
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({**line, **named}) + "\n")
        print(f"{line['peak_bytes']:>12,} {line['phase']:8} {line['seconds']:5.1f} s  {cell}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--models", default="", help=f"names with commas, of {', '.join(MODELS)}")
    parser.add_argument("--cells", type=int, help="no more than so many")
    parser.add_argument("--out", type=Path, help="default: benchmarks/memory/DEVICE.jsonl")
    parser.add_argument("--again", action="store_true", help="measure what is in the file too")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # kernels take buffers for each thread
    models = [name for name in asked.models.split(",") if name]
    unknown = sorted(set(models) - set(MODELS))
    if unknown:
        parser.error(f"--models {','.join(unknown)}: of {', '.join(MODELS)}")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device")
    name = "cpu" if asked.device == "cpu" else device_name("cuda").replace(" ", "-")
    path = asked.out or FOLDER / f"{name}.jsonl"
    failed = sweep(wanted(models, asked.cells), path, device=asked.device, again=asked.again)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
