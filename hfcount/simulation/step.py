"""One training step, run as a recipe says, with a ledger of all that it holds.

The step is one in the middle of training, where the optimizer's state is there from the beginning. The order is that
of a plain training loop: forward, backward for each of the accumulated batches, step, gradients set to None.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from hfcount.simulation.cuda import CUDA_TRANSIENTS, ROUNDING, Capability, workspace_bytes
from hfcount.simulation.inputs import make_inputs
from hfcount.simulation.ledger import TRANSIENTS, Ledger, named_modules
from hfcount.simulation.peak import PHASES
from hfcount.simulation.subject import Subject

WARM_UP = "warm-up"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How a step is run.

    Attributes:
        batch, seq: rows, and tokens a row.
        capability: of the card whose kernels run, (8, 0); None for the CPU's.
        optimizer: a name of budget/optimizers.py.
        stepping: whether the optimizer steps all tensors at once ("foreach", torch's default on CUDA), one after the
            other ("loop"), or in a kernel of its own ("fused").
        accumulation: batches whose gradients are added up before the step.
        keeps_outputs: whether a variable of the loop holds the model's outputs, logits too, until the step is over;
            transformers' Trainer holds the loss only.
        zeroes_gradients: whether gradients are set to zero and stay (`zero_grad(set_to_none=False)`); torch's default
            since 2.0, and the Trainer's, is to let them go.
    """

    batch: int
    seq: int
    capability: Capability | None = None
    optimizer: str = "adamw"
    stepping: str = "foreach"
    accumulation: int = 1
    keeps_outputs: bool = False
    zeroes_gradients: bool = False

    @property
    def needs_warm_up(self) -> bool:
        """Whether a first step is not as later ones: gradients stay, or an optimizer makes more than its state."""
        return self.zeroes_gradients or self.optimizer not in ("adamw", "sgd")


def run_step(
    subject: Subject,
    run: Run,
    *,
    seconds: float | None = None,
    entering: Callable[[str], None] | None = None,
    warm_up: bool = True,
) -> Ledger:
    """Run a step as later ones are, and return its ledger, with the phases "forward", "backward" and "step".

    With `warm_up` a step is run before it, in a phase of that name. Without, what one step leaves behind (the
    optimizer's state) is entered as there from the beginning; that is the same unless gradients stay. The step runs
    where the parameters are. `entering` is told each phase as it begins. Raises TimeIsUp after `seconds`.
    """
    if run.capability is None:
        ledger = Ledger(seconds=seconds)
    else:
        ledger = Ledger(seconds=seconds, rounding=ROUNDING, device="cuda", transients=TRANSIENTS | CUDA_TRANSIENTS)
        ledger.reserve(workspace_bytes(run.capability), "workspace", "cuBLAS")
    enter = _enterer(ledger, entering)
    inputs = make_inputs(subject.base, batch=run.batch, seq=run.seq)
    inputs = {name: _as_computed(each, subject) for name, each in inputs.items()}
    ledger.declare(subject.model.named_parameters(), "weights")
    ledger.declare(subject.model.named_buffers(), "buffers")
    ledger.declare(inputs.items(), "inputs")
    trained = [(name, each) for name, each in subject.model.named_parameters() if each.requires_grad]
    for _, each in trained:  # the backward pass enters no module
        each.register_post_accumulate_grad_hook(lambda _: ledger.check_time())
    with named_modules(ledger, subject.model), _collected_by_hand(), ledger:
        stepper = _Stepper(subject, trained, run, ledger)
        for phases in ((WARM_UP,) * 3, PHASES)[0 if warm_up else 1 :]:
            gc.collect()  # what only cycles hold: when it goes is chance, so it goes now
            for _ in range(run.accumulation):
                enter(phases[0])
                loss, outputs = _loss(subject, inputs)
                kept = [outputs] if run.keeps_outputs else []
                del outputs
                ledger.declare([("loss", loss)], "inputs")
                enter(phases[1])
                loss.backward()
                del loss
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


class _Stepper:
    """The optimizer, over the parameters themselves or over their fp32 master copies."""

    def __init__(self, subject: Subject, trained: list[tuple[str, nn.Parameter]], run: Run, ledger: Ledger):
        self._trained = [each for _, each in trained]
        self._names = [name for name, _ in trained]
        self._ledger = ledger
        self._masters: list[nn.Parameter] = []
        self._wide = subject.precision.gradients == "float32"
        if subject.precision.master:
            self._masters = [_master(each) for each in self._trained]
            copies = zip(self._names, self._masters, self._trained, strict=True)
            ledger.declare(((name, master) for name, master, each in copies if master is not each), "master")
            if self._wide:
                self._add_up_wide()
        self._zeroes = run.zeroes_gradients
        self._optimizer = OPTIMIZERS[run.optimizer](self._masters or self._trained, run.stepping)

    def _add_up_wide(self) -> None:
        """Gradients added up in fp32 beside the 16-bit ones, each of which goes as soon as it is added."""
        for parameter, master in zip(self._trained, self._masters, strict=True):
            if master is parameter:
                continue

            def added(each: torch.Tensor, master: nn.Parameter = master) -> None:
                assert each.grad is not None
                wide = each.grad.float()
                master.grad = wide if master.grad is None else master.grad.add_(wide)
                each.grad = None

            parameter.register_post_accumulate_grad_hook(added)

    def step(self) -> None:
        """Step, and drop the gradients."""
        if self._masters:
            self._drop_unreached()
        if self._masters and not self._wide:
            self._step_one_by_one()
        else:
            if self._masters:
                grads = ((name, each.grad) for name, each in zip(self._names, self._masters, strict=True))
                self._ledger.declare(((name, grad) for name, grad in grads if grad is not None), "gradients")
            self._optimizer.step()
            self._copy_back()
        self._declare_state()
        self._optimizer.zero_grad(set_to_none=not self._zeroes)
        for each in self._trained if not self._zeroes else ():
            each.grad = None

    def _drop_unreached(self) -> None:
        """Let go of the copies of what got no gradient: they would never be stepped."""
        pairs = zip(self._names, self._trained, self._masters, strict=True)
        kept = [each for each in pairs if each[1].grad is not None or each[2].grad is not None]
        if len(kept) < len(self._masters):
            self._names, self._trained, self._masters = (list(each) for each in zip(*kept, strict=True))
            self._optimizer.param_groups[0]["params"] = list(self._masters)

    def _step_one_by_one(self) -> None:
        """Each gradient is widened for its own tensor's step alone."""
        for parameter, master in zip(self._trained, self._masters, strict=True):
            if parameter.grad is None:
                continue
            self._ledger.check_time()
            master.grad = parameter.grad.float()
            self._optimizer.step()
            master.grad = None
            parameter.grad = None
        self._copy_back()

    @torch.no_grad()
    def _copy_back(self) -> None:
        for parameter, master in zip(self._trained, self._masters, strict=bool(self._masters)):
            parameter.copy_(master)

    def _declare_state(self) -> None:
        held = (pair for state in self._optimizer.state.values() for pair in state.items())
        self._ledger.declare(((str(name), each) for name, each in held if isinstance(each, torch.Tensor)), "optimizer")


def _master(parameter: nn.Parameter) -> nn.Parameter:
    """Return the fp32 copy that is stepped for a parameter; what is in fp32 is stepped itself."""
    return parameter if parameter.dtype == torch.float32 else nn.Parameter(parameter.detach().clone().float())


Parameters = list[nn.Parameter]


def _adamw(parameters: Parameters, stepping: str) -> Any:
    return torch.optim.AdamW(parameters, foreach=stepping == "foreach", fused=stepping == "fused")


def _sgd(parameters: Parameters, stepping: str) -> Any:
    return torch.optim.SGD(parameters, momentum=0.9, foreach=stepping == "foreach", fused=stepping == "fused")


def _adafactor(parameters: Parameters, stepping: str) -> Any:
    from transformers.optimization import Adafactor

    return Adafactor(parameters, scale_parameter=False, relative_step=False, lr=1e-3)


def _bitsandbytes(name: str) -> Callable[[Parameters, str], Any]:
    def make(parameters: Parameters, stepping: str) -> Any:
        import bitsandbytes

        return getattr(bitsandbytes.optim, name)(parameters)

    return make


OPTIMIZERS: dict[str, Callable[[Parameters, str], Any]] = {
    "adamw": _adamw,
    "adamw-8bit": _bitsandbytes("AdamW8bit"),
    "paged-adamw-8bit": _bitsandbytes("AdamW8bit"),
    "paged-adamw": _bitsandbytes("AdamW"),
    "adafactor": _adafactor,
    "sgd": _sgd,
}
