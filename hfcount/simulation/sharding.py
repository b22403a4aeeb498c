"""A step as one of several devices runs it: what is divided over them, and what each gathers from the others.

    zero1   the optimizer's state with the fp32 masters is divided
    zero2   the gradients too
    zero3   the parameters too, each gathered for its module (zero.py: all three, by DeepSpeed's rules)
    fsdp    everything, gathered for each layer (fully_sharded.py: torch's own FSDP2, as accelerate sets it up)

Rows and tokens of a step are a device's own. The device looked at is the first: no other has larger shards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hfcount.errors import BadInput
from hfcount.simulation import fully_sharded, zero
from hfcount.simulation.depth import stack_of
from hfcount.simulation.division import Undivided
from hfcount.simulation.plan import Run, Sharding, Wished
from hfcount.simulation.subject import Subject
from hfcount.workbench import Workbench


def as_kept(subject: Subject, sharding: Sharding | None) -> Subject:
    """The subject with the element types that the way of dividing keeps it in; to be asked before it has memory."""
    if sharding is None:
        return subject
    return fully_sharded.kept(subject) if sharding.mode == "fsdp" else zero.kept(subject)


@contextlib.contextmanager
def divided(subject: Subject, wished: Wished, sharding: Sharding | None) -> Iterator[Undivided]:
    """A context in which the subject is divided, and what its step does otherwise.

    To be entered where the subject has memory, or the semblance of it.
    """
    if sharding is None:
        yield Undivided()
    elif sharding.mode == "fsdp":
        with fully_sharded.fully_sharded(
            subject, wished.precision, devices=sharding.devices, offload=sharding.offload
        ) as division:
            yield division
    else:
        settings = zero.Settings.automatic(subject.base.config)
        yield zero.STAGES[sharding.mode](subject, sharding.devices, settings, offload=sharding.offload)


def check(bench: Workbench, wished: Wished, run: Run) -> None:
    """Raise BadInput for what cannot be simulated divided; it names the mode and what stands in its way."""
    if (sharding := run.sharding) is None:
        return
    precision = wished.precision
    narrow = precision.base != "float32"
    unlike_deepspeed = wished.options is None and not precision.master and (narrow or precision.autocast is not None)
    obstacles = {
        "is simulated with CUDA's kernels alone: use --device cuda": run.capability is None,
        "divides no bitsandbytes weights: use zero1 or zero2": wished.scheme is not None
        and sharding.mode in ("zero3", "fsdp"),
        f"is simulated with adamw or sgd, not {run.optimizer}": run.optimizer not in ("adamw", "sgd"),
        "lets gradients go: use --zero-grad to-none": run.zeroes_gradients,
        "adds gradients up in 16 bits here: megatron-bf16 is for fsdp": sharding.mode != "fsdp"
        and precision.master
        and precision.gradients == "float32",
        "keeps fp32 masters of a 16-bit model: use mixed-bf16, mixed-fp16 or fp32": sharding.mode != "fsdp"
        and unlike_deepspeed,
        "needs one stack of layers": sharding.mode == "fsdp" and stack_of(bench.model) is None,
    }
    for obstacle, there in obstacles.items():
        if there:
            raise BadInput(f"--sharding {sharding.mode} {obstacle}")
