"""One training step, run as a recipe says, with a ledger of all that it holds.

The step is one in the middle of training, where the optimizer's state is there from the beginning. The order is that
of a plain training loop: forward, backward for each of the accumulated batches, step, gradients set to None.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from hfcount.simulation.cuda import CUDA_TRANSIENTS, ROUNDING, workspace_bytes
from hfcount.simulation.division import Undivided
from hfcount.simulation.inputs import make_inputs
from hfcount.simulation.ledger import TRANSIENTS, Ledger, named_modules
from hfcount.simulation.peak import PHASES
from hfcount.simulation.plan import Run
from hfcount.simulation.stepping import Scaler
from hfcount.simulation.subject import Subject

WARM_UP = "warm-up"


def run_step(
    subject: Subject,
    run: Run,
    *,
    seconds: float | None = None,
    entering: Callable[[str], None] | None = None,
    warm_up: bool = True,
    division: Undivided | None = None,
) -> Ledger:
    """Run a step as later ones are, and return its ledger, with the phases "forward", "backward" and "step".

    With `warm_up` a step is run before it, in a phase of that name. Without, what one step leaves behind (the
    optimizer's state) is entered as there from the beginning; that is the same unless gradients stay. The step runs
    where the parameters are. `entering` is told each phase as it begins. `division` is what divides the step over
    devices (sharding.py). Raises TimeIsUp after `seconds`.
    """
    division = division or Undivided()
    if run.capability is None:
        ledger = Ledger(seconds=seconds)
    else:
        ledger = Ledger(seconds=seconds, rounding=ROUNDING, device="cuda", transients=TRANSIENTS | CUDA_TRANSIENTS)
        ledger.reserve(workspace_bytes(run.capability), "workspace", "cuBLAS")
    ledger.sees_host = run.sharding is not None and run.sharding.offload
    enter = _enterer(ledger, entering)
    inputs = make_inputs(subject.base, batch=run.batch, seq=run.seq)
    inputs = {name: _as_computed(each, subject) for name, each in inputs.items()}
    ledger.declare(subject.model.named_parameters(), "weights")
    ledger.declare(subject.model.named_buffers(), "buffers")
    ledger.declare(inputs.items(), "inputs")
    trained = [(name, each) for name, each in subject.model.named_parameters() if each.requires_grad]
    for _, each in trained:  # the backward pass enters no module
        each.register_post_accumulate_grad_hook(lambda _: ledger.check_time())
    how: dict[str, Any] = {"optimizer": run.optimizer, "stepping": run.stepping, "zeroes": run.zeroes_gradients}
    scaler = Scaler(_device(subject).type) if run.scales(subject.precision) else None
    if scaler is not None:
        how["scaler"] = scaler
    with named_modules(ledger, subject.model), division.watched(ledger), _collected_by_hand(), ledger:
        stepper = division.stepper(trained, subject.precision, ledger, **how)
        for phases in ((WARM_UP,) * 3, PHASES)[0 if warm_up else 1 :]:
            gc.collect()  # what only cycles hold: when it goes is chance, so it goes now
            for batch in range(run.accumulation):
                last = batch == run.accumulation - 1
                enter(phases[0])
                division.begin_batch(last=last)
                loss, outputs = _loss(subject, inputs)
                kept = [outputs] if run.keeps_outputs else []
                del outputs
                ledger.declare([("loss", loss)], "inputs")
                enter(phases[1])
                division.begin_backward()
                (loss if scaler is None else scaler.scale(loss)).backward()
                del loss
                division.end_batch(last=last)
            ledger.declare(((name, each.grad) for name, each in trained if each.grad is not None), "gradients")
            enter(phases[2])
            stepper.step()
            kept.clear()
        gc.collect()
        ledger.settle(from_the_beginning=not warm_up)
    return ledger


def reached_names(subject: Subject, *, batch: int, seq: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the parameters that have a gradient after one backward pass, and of the modules that ran."""
    model, ran = subject.model, set()
    handles = [each.register_forward_pre_hook(lambda module, _: ran.add(id(module))) for each in model.modules()]
    inputs = make_inputs(subject.base, batch=batch, seq=seq)
    loss, _ = _loss(subject, {name: _as_computed(each, subject) for name, each in inputs.items()})
    loss.backward()
    for handle in handles:
        handle.remove()
    return (
        frozenset(name for name, each in model.named_parameters(remove_duplicate=False) if each.grad is not None),
        frozenset(name for name, each in model.named_modules(remove_duplicate=False) if id(each) in ran),
    )


def _enterer(ledger: Ledger, told: Callable[[str], None] | None) -> Callable[[str], None]:
    """What begins a phase in the ledger and tells whoever else asked."""

    def enter(phase: str) -> None:
        ledger.check_time()
        ledger.phase = phase
        if told is not None:
            told(phase)

    return enter


@contextlib.contextmanager
def _collected_by_hand() -> Iterator[None]:
    """A context in which Python does not look for cycles by itself, and when told to, among what is new alone.

    All that was there before (a million objects of torch and transformers, a third of a second to look through) is set
    aside, unless somebody else did that already.
    """
    before, ours = gc.isenabled(), gc.get_freeze_count() == 0
    gc.disable()
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()
        if before:
            gc.enable()


def _device(subject: Subject) -> torch.device:
    return next(subject.model.parameters()).device


def _as_computed(tensor: torch.Tensor, subject: Subject) -> torch.Tensor:
    """Where the model is, and images and sounds in the type that it is kept in."""
    dtype = getattr(torch, subject.precision.base) if tensor.is_floating_point() else tensor.dtype
    return tensor.to(_device(subject), dtype)


def _loss(subject: Subject, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Any]:
    """The loss of one batch, and all that the model gives back."""
    precision = subject.precision
    autocast: Any = contextlib.nullcontext()
    if precision.autocast:
        autocast = torch.autocast(_device(subject).type, dtype=getattr(torch, precision.autocast))
    with autocast:
        output = subject.model(**inputs)
    loss = getattr(output, "loss", None)
    if loss is None:  # a base model has no loss: the sum of what it gives stands for one
        first = next(each for each in output.values() if isinstance(each, torch.Tensor) and each.requires_grad)
        loss = first.float().sum()
    return loss, output
