"""`memory`: what it takes to train a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfcount.api import as_settings
from hfcount.budget.recipes import named
from hfcount.budgeting import Asked, Way
from hfcount.deadline import deadline
from hfcount.memory_answer import Memory
from hfcount.simulating import bench_of, memory_of
from hfcount.sources import resolve

METHODS = ("simulated", "closed-form")


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
    method: str = "simulated",
    detail: bool = False,
    curves: bool = False,
    **way: Any,
) -> Memory:
    """What it takes to train `model`, in bytes by bucket: full fine-tuning, LoRA and QLoRA side by side.

    `regimes` is any of "full", "lora", "qlora" and "inference", or several. Without `lora_r` the ranks are 4, 8 and 16
    for LoRA and 8 for QLoRA; with it those asked, for both. `way` is the fields of `Way`: batch, seq, precision,
    optimizer, attention, gradient_checkpointing, double_quant, sharding, ...
    The figures are those at the peak of the real step, which is run without memory. The `method` "closed-form" has the
    lasting buckets by their closed forms and an estimate of the activations, without any step. `detail` holds the
    buckets of the step against their closed forms, `curves` has memory over the whole step. The rest is as in `count`.
    Raises BadInput or SourceError.

    >>> memory("mini-gpt-lora-lab", batch=16, precision="lab", method="closed-form").full.gradients_bytes
    459904
    """
    named(method, dict.fromkeys(METHODS), "method")
    chosen = Way.of(way)
    asked = Asked.of(regimes, lora_r, lora_targets, as_settings(settings))
    source = resolve(model, revision=revision, offline=offline, timeout=timeout)
    with deadline(timeout, source.model), bench_of(source, asked, class_name, trust_remote_code) as bench:
        return memory_of(bench, chosen, asked, method=method, detail=detail, curves=curves)
