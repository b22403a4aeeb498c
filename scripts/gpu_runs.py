"""Real steps on real GPUs, beside the same steps simulated: peaks by phase, and how far the two are apart.

    python scripts/gpu_runs.py                    # every run of benchmarks/memory/gpu_runs.json
    python scripts/gpu_runs.py --only TinyLlama --jobs 2
    python scripts/gpu_runs.py --write            # the table of docs/simulation.md too

The runs are public (each row says where), and each was made in its own way: which tensors its loop holds, how it loads
the base, which kernel its attention takes. These habits are given to the simulation; nothing else is, and no constant
is fitted. "allocated" is `torch.cuda.max_memory_allocated`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import re
import statistics
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "benchmarks" / "memory" / "gpu_runs.json"
DOCUMENT = ROOT / "docs" / "simulation.md"
BETWEEN = re.compile(r"(<!-- gpu runs: begin -->\n).*?(<!-- gpu runs: end -->)", re.DOTALL)
MIB = 2**20
PHASES = {"forward": "peak_forward_mib", "backward": "peak_backward_mib", "step": "peak_optimizer_mib"}
PRECISIONS = {
    "fp16": {"base": "float16", "trained": "float32"},
    "pure-bf16": {"base": "bfloat16", "trained": "bfloat16"},
    "bf16": {"base": "bfloat16", "trained": "bfloat16"},
    "autocast-bf16": {"base": "float32", "trained": "float32", "autocast": "bfloat16"},
    "bf16 base, fp32 adapters": {"base": "bfloat16", "trained": "float32"},
    "fp32 base under bf16 autocast": {"base": "float32", "trained": "float32", "autocast": "bfloat16"},
}


def measured(run: Mapping[str, Any]) -> dict[str, float]:
    """The peaks of a run in bytes: "whole", and each phase that it has."""
    said = run["measured"]
    if "peak_allocated_gb" in said:
        return {"whole": said["peak_allocated_gb"] * 1e9}
    whole = {"whole": said["peak_allocated_mib"] * MIB}
    return whole | {phase: said[name] * MIB for phase, name in PHASES.items() if name in said}


def simulated(run: Mapping[str, Any]) -> dict[str, float]:
    """The same of the simulated step."""
    from hfcount.simulation.simulate import simulate
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    bench = Workbench(resolve(run["model_id"].replace("2.5-1.5B-Instruct", "2.5-1.5B")), ())
    with _shim(run):
        found = simulate(bench, _wished(run), _how(run))
    return {"whole": found.peak.bytes} | {phase: moment.bytes for phase, moment in found.phases.items()}


def _wished(run: Mapping[str, Any]) -> Any:
    from hfcount.budget.recipes import Precision
    from hfcount.lora import LoraOptions
    from hfcount.quantization import Scheme
    from hfcount.simulation.plan import Wished

    kinds = PRECISIONS[run["precision"]]
    is_packed = run.get("quant") == "nf4"
    adapted = run["lora_rank"] is not None
    return Wished(
        precision=Precision(gradients=kinds["trained"], moments=kinds["trained"], upcast=is_packed, **kinds),
        options=LoraOptions(r=run["lora_rank"], targets=tuple(run["lora_targets"])) if adapted else None,
        scheme=Scheme(kind="nf4") if is_packed else None,
        attention=run["kernel"] if run["kernel"] == "eager" else "sdpa",
        computed=kinds["base"],
        checkpointing=run["grad_checkpoint"],
    )


def _how(run: Mapping[str, Any]) -> Any:
    """The loop: both sources hold the outputs until the step is over, the A6000's sets gradients to zero."""
    from hfcount.budget.gpus import gpu
    from hfcount.simulation.plan import Run

    major, minor = gpu(run["gpu"].removesuffix(" 48 GB")).capability.split(".")
    return Run(
        batch=run["batch"],
        seq=run["seq"],
        capability=(int(major), int(minor)),
        keeps_outputs=True,
        zeroes_gradients="mode" in run,
    )


@contextlib.contextmanager
def _shim(run: Mapping[str, Any]) -> Iterator[None]:
    """What a run's own code does to attention.

    The T4's fused runs copy keys and values up to the queries' heads, as no kernel of that card groups them. The A6000's
    are of transformers 4.57, which makes the mask of packed rows wherever no cache is used: then keys and values are
    copied up too, and the kernel that takes a mask runs.
    """
    from transformers import masking_utils

    from hfcount.simulation import attention as kernels

    own = kernels.attention_on
    if run["kernel"] == "eager":
        yield
        return
    if "mode" in run:
        with mock.patch.object(masking_utils, "find_packed_sequence_indices", _packed):
            yield
        return

    def repeated(capability: Any) -> Any:
        attention = own(capability)

        def call(query: Any, key: Any, value: Any, *args: Any, enable_gqa: bool = False, **kwargs: Any) -> Any:
            if enable_gqa and query.device.type == "cuda":
                times = query.shape[1] // key.shape[1]
                key, value = (each.repeat_interleave(times, dim=1) for each in (key, value))
                enable_gqa = False
            return attention(query, key, value, *args, enable_gqa=enable_gqa, **kwargs)

        return call

    with mock.patch.object(kernels, "attention_on", repeated):
        yield


def _packed(position_ids: Any) -> Any:
    """One row, said to be packed."""
    return position_ids - position_ids


def compared(run: Mapping[str, Any]) -> tuple[str, dict[str, float], dict[str, float] | str]:
    """A run's id, its measured peaks, and the simulated ones, or why there are none."""
    warnings.simplefilter("ignore")
    try:
        return run["id"], measured(run), simulated(run)
    except Exception as error:  # a row that cannot be simulated is a row of the table
        return run["id"], measured(run), f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"


Row = tuple[Mapping[str, Any], dict[str, float], dict[str, float]]
"""A run, its measured peaks and the simulated ones."""


def off(real: float, found: float) -> float:
    """How far the simulation is from the card, as a share of what the card had."""
    return found / real - 1


def table(rows: Sequence[Row]) -> str:
    """The table of the documents: a line for each card, kernel and base, and the distances of each phase."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for run, real, found in rows:
        base = {"nf4": "NF4, LoRA", "none": "fp16, LoRA"}.get(run.get("quant"), run.get("mode"))
        groups.setdefault((run["gpu"].removesuffix(" 48 GB"), run["kernel"], base), []).append((run, real, found))
    lines = [
        "| card | attention | base | runs | peak: median | worst | forward | backward | step |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for names, each in (*sorted(groups.items()), (("**all**", "", ""), list(rows))):
        whole = [abs(off(real["whole"], found["whole"])) for _, real, found in each]
        worst = [_worst(each, phase) for phase in PHASES]
        cells = [*names, str(len(each)), f"{statistics.median(whole):.2%}", f"{max(whole):.2%}", *worst]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _worst(rows: Sequence[Row], phase: str) -> str:
    apart = [abs(off(real[phase], found[phase])) for _, real, found in rows if phase in real]
    return f"{max(apart):.2%}" if apart else ""


def main() -> int:
    """Print a row for each run, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="path", type=Path, default=RUNS)
    parser.add_argument("--only", default="", help="runs whose id contains this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table into docs/simulation.md")
    asked = parser.parse_args()
    runs = [run for run in json.loads(asked.path.read_text(encoding="utf-8")) if asked.only in run["id"]]
    runs = [run for run in runs if run.get("mode") != "inference"]
    rows: list[Row] = []
    with multiprocessing.Pool(asked.jobs) as pool:
        for run, (name, real, found) in zip(runs, pool.imap(compared, runs), strict=True):
            if isinstance(found, str):
                print(f"{name}: {found}", flush=True)
                continue
            rows.append((run, real, found))
            cells = [
                f"{phase} {found[phase] / MIB:,.1f} for {size / MIB:,.1f} ({off(size, found[phase]):+.1%})"
                for phase, size in real.items()
            ]
            print(f"{name}: {', '.join(cells)} MiB", flush=True)
    print(table(rows))
    if asked.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(
            BETWEEN.sub(lambda found: f"{found[1]}\n{table(rows)}\n\n{found[2]}", text), encoding="utf-8"
        )
    return 0 if len(rows) == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
