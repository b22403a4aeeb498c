"""Small models on the bench, and what is asked of a simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hfcount.budget.recipes import recipe
from hfcount.lora import LoraOptions
from hfcount.simulation.plan import Run, Wished
from hfcount.simulation.simulate import Simulation, measured
from hfcount.simulation.step import run_step
from hfcount.simulation.subject import materialize, skeleton_of
from hfcount.sources import resolve
from hfcount.workbench import Workbench


def bench_of(folder: Path, config: Any, model_class: str) -> Workbench:
    """A model of that class; `folder` is where its config is written."""
    config.architectures = [model_class]
    config.save_pretrained(folder)
    return Workbench(resolve(str(folder)), [])


def wished(precision: str = "fp32", *, rank: int = 0, **how: Any) -> Wished:
    """Full fine-tuning, or LoRA of that rank."""
    named = recipe(precision)
    options = LoraOptions(r=rank, targets="all-linear") if rank else None
    return Wished(precision=named.adapters if rank else named.full, options=options, **how)


def run_of(*, batch: int = 1, seq: int = 16, **how: Any) -> Run:
    return Run(batch=batch, seq=seq, **how)


def really(bench: Workbench, kind: Wished, run: Run) -> Simulation:
    """The same step with memory, on the CPU."""
    torch.manual_seed(0)
    subject = skeleton_of(bench, kind)
    materialize(subject)
    return measured(run_step(subject, run))
