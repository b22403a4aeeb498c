"""The optimizer of a training step, over the parameters themselves or over their fp32 master copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from hfcount.budget.recipes import Precision
from hfcount.quiet import quiet_bitsandbytes
from hfcount.simulation.ledger import Ledger


class Scaler(torch.amp.GradScaler):
    """A scaler of a step that goes well: gradients are finite, so the optimizer steps.

    It keeps the scale (fp32) and a counter (int32); gradients are unscaled in place.
    """

    def _maybe_opt_step(self, optimizer: Any, optimizer_state: Any, *args: Any, **kwargs: Any) -> Any:
        return optimizer.step(*args, **kwargs)


class Stepper:
    """The optimizer, over the parameters themselves or over their fp32 master copies."""

    def __init__(
        self,
        trained: Sequence[tuple[str, nn.Parameter]],
        precision: Precision,
        ledger: Ledger,
        *,
        optimizer: str,
        stepping: str,
        zeroes: bool = False,
        scaler: Scaler | None = None,
    ) -> None:
        self._trained = [each for _, each in trained]
        self._names = [name for name, _ in trained]
        self._ledger = ledger
        self._masters: list[nn.Parameter] = []
        self._wide = precision.gradients == "float32"
        if precision.master:
            self._masters = [_master(each) for each in self._trained]
            copies = zip(self._names, self._masters, self._trained, strict=True)
            ledger.declare(((name, master) for name, master, each in copies if master is not each), "master")
            if self._wide:
                self._add_up_wide()
        self._zeroes = zeroes
        self._scaler = scaler
        self._optimizer = OPTIMIZERS[optimizer](self._masters or self._trained, stepping)

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
            self._step_all()
            self._copy_back()
        self._declare_state()
        self._optimizer.zero_grad(set_to_none=not self._zeroes)
        for each in self._trained if not self._zeroes else ():
            each.grad = None

    def _step_all(self) -> None:
        if self._scaler is None:
            self._optimizer.step()
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()

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
            if self._zeroes:
                parameter.grad.zero_()
            else:
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
        with quiet_bitsandbytes():
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
