"""`memory`: what it takes to train a model, by closed forms or by a simulated step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfcount.api import as_settings
from hfcount.budget.recipes import named
from hfcount.budgeting import Asked, Way, memory_of
from hfcount.deadline import deadline, uncounted
from hfcount.memory_answer import Memory
from hfcount.sources import resolve
from hfcount.workbench import Workbench

METHODS = ("closed-form", "simulated")


def memory(
    model: str,
    *,
    regimes: str | Sequence[str] = ("full", "lora", "qlora"),
    lora_r: int | Sequence[int] = (),
    lora_targets: str | Sequence[str] = "default",
    settings: Mapping[str, Any] | Sequence[str] = (),
    class_name: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    trust_remote_code: bool = False,
    method: str = "closed-form",
    curves: bool = False,
    **way: Any,
) -> Memory:
    """What it takes to train `model`, in bytes by bucket: full fine-tuning, LoRA and QLoRA side by side.

    `regimes` is any of "full", "lora", "qlora" and "inference", or several. Without `lora_r` the ranks are 4, 8 and 16
    for LoRA and 8 for QLoRA; with it those asked, for both. `way` is the fields of `Way`: batch, seq, precision,
    optimizer, attention, gradient_checkpointing, double_quant, sharding, ...
    `method` is "closed-form", or "simulated": then the real step is run without memory, and the figures are those at
    its peak; `curves` asks it for memory over the whole step. The rest is as in `count`. Raises BadInput or
    SourceError.

    >>> memory("mini-gpt-lora-lab", batch=16, precision="lab").full.gradients_bytes
    459904
    """
    named(method, dict.fromkeys(METHODS), "method")
    chosen = Way.of(way)
    asked = Asked.of(regimes, lora_r, lora_targets, as_settings(settings))
    source = resolve(model, revision=revision, offline=offline, timeout=timeout)
    with deadline(timeout, source.model):
        bench = Workbench(source, asked.settings, class_name=class_name, trust_remote_code=trust_remote_code)
        if method == "closed-form":
            return memory_of(bench, chosen, asked)
        with uncounted():
            from hfcount.simulating import simulated_memory

        return simulated_memory(bench, chosen, asked, curves=curves)
