"""FSDP2 as one rank sees it: torch's own `fully_shard`, over a process group that talks to nobody.

What is divided, and into which units, is what accelerate's `fsdp2_prepare_model` does: each layer, the input
embedding, final norm and head together, and the root with what is left. Tied embeddings stand in one unit with norm
and head. All but that unit and the root are divided again after their forward pass (`reshard_after_forward`).

Gathering, prefetching and reduce-scattering are torch's code, so the ledger sees the real buffers. Three things are
answered here, since there is no CUDA:

1. Streams and events, which order kernels and allocate nothing.
2. FSDP's hooks within the backward pass make tensors by their device, which autograd's engine was told is none.
3. Parameters are gathered into storages that are resized: the ledger is told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import nn

from hfcount.budget.recipes import Precision
from hfcount.simulation.cuda import outside_the_engine
from hfcount.simulation.depth import stack_of
from hfcount.simulation.division import COMMUNICATION, Undivided, entered_as, resizes_seen
from hfcount.simulation.ledger import Ledger
from hfcount.simulation.stepping import Stepper
from hfcount.simulation.subject import Subject


@contextlib.contextmanager
def fully_sharded(subject: Subject, precision: Precision, devices: int, *, offload: bool) -> Iterator[FullySharded]:
    """A context in which the model of `subject` is divided over `devices`, of which this is the first.

    `precision` is the recipe's; `subject` has that of `kept`. To be entered where the model is, under `without_memory`
    with a compute capability.
    """
    import torch.distributed.fsdp as fsdp

    policy = fsdp.MixedPrecisionPolicy()
    if (compute := precision.autocast or (precision.base if precision.master else None)) is not None:
        reduced = precision.gradients if precision.master else compute
        policy = fsdp.MixedPrecisionPolicy(param_dtype=getattr(torch, compute), reduce_dtype=getattr(torch, reduced))
    with _without_streams(), _one_of(devices) as mesh, _with_own_device():
        how: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
        if offload:
            how["offload_policy"] = fsdp.CPUOffloadPolicy(pin_memory=False)
        for unit, last in units(subject):
            again = {"reshard_after_forward": False} if last else {}
            fsdp.fully_shard(unit, **how, **again)  # type: ignore[call-overload]
        subject.model._get_fsdp_state()._lazy_init()  # type: ignore[operator, union-attr]  # which a first step does
        yield FullySharded(subject.model)


def kept(subject: Subject) -> Subject:
    """The subject as FSDP2 keeps it: what has an fp32 master copy is the fp32 copy, and is gathered in 16 bits."""
    precision = subject.precision
    if not precision.master:
        return subject
    return dataclasses.replace(
        subject,
        precision=dataclasses.replace(precision, master=False, gradients="float32"),
        dtypes=dict.fromkeys(subject.dtypes, torch.float32),
    )


class FullySharded(Undivided):
    """A step over this device's shards."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @contextlib.contextmanager
    def watched(self, ledger: Ledger) -> Iterator[None]:
        """Have the ledger know what FSDP makes, and what it makes of storages that are there."""
        from torch.distributed.fsdp._fully_shard import _fsdp_param_group

        group, _ = _parts()

        def communicating(*_: Any) -> Any:
            return entered_as(ledger, COMMUNICATION)

        def in_unit(unit: Any, *_: Any) -> Any:
            return ledger.within(unit._module_fqn or "")

        with (
            resizes_seen(ledger),
            _wrapped(group, "pre_backward", in_unit),
            _wrapped(group, "post_backward", in_unit),
            _wrapped(group, "unshard", communicating),
            _wrapped(group, "wait_for_unshard", communicating),
            _wrapped(_fsdp_param_group, "foreach_reduce", communicating),
        ):
            yield

    def begin_batch(self, *, last: bool) -> None:
        """Gradients are reduced in the step's last batch alone, as under accelerate's `no_sync`."""
        self._model.set_requires_gradient_sync(last)

    def stepper(
        self, trained: Sequence[tuple[str, nn.Parameter]], precision: Precision, ledger: Ledger, **how: Any
    ) -> Any:
        return _Shards(trained, precision, ledger, **how)


class _Shards(Stepper):
    """The optimizer over the shards themselves, where FSDP's tensors pass each operation on to theirs."""

    def __init__(self, trained: Sequence[tuple[str, Any]], precision: Precision, ledger: Ledger, **how: Any) -> None:
        self._divided = [each for _, each in trained]
        super().__init__(
            [(name, nn.Parameter(each._local_tensor)) for name, each in trained], precision, ledger, **how
        )

    def step(self) -> None:
        for shard, each in zip(self._trained, self._divided, strict=True):
            shard.grad = None if each.grad is None else each.grad._local_tensor
            each.grad = None
        super().step()


def units(subject: Subject) -> Iterator[tuple[Any, bool]]:
    """What is gathered together, in the order in which it is divided, and whether it stays so after the forward."""
    base = subject.base
    _, layers = stack_of(base) or ("", ())
    for layer in layers:
        yield layer, False
    entry, head = base.get_input_embeddings(), base.get_output_embeddings()
    tied = head is not None and head.weight is entry.weight
    if not tied:
        yield entry, False
    last = [each for each in (_final_norm(base), entry if tied else None, head) if each is not None]
    if last:
        yield last, True
    yield subject.model, False


def _final_norm(base: Any) -> nn.Module | None:
    norms = [each for each in base.base_model.children() if "Norm" in type(each).__name__]
    return norms[-1] if norms else None


@contextlib.contextmanager
def _one_of(devices: int) -> Iterator[Any]:
    """The mesh of so many devices, of which this process is the first and the only one."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import DeviceMesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    before = sys.excepthook  # which torch wraps, to print the rank before each line
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=devices)
    try:
        yield DeviceMesh("cuda", list(range(devices)), mesh_dim_names=("dp",))
    finally:
        dist.destroy_process_group()
        sys.excepthook = before


class _Event:
    """Nothing happens on the device, so nothing is waited for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def record(self, *_: Any) -> _Event:
        return self

    def wait(self, *_: Any) -> None:
        pass

    synchronize = wait


class _Stream(_Event):
    wait_stream = wait_event = _Event.wait

    def record_event(self, *_: Any) -> _Event:
        return _Event()


@contextlib.contextmanager
def _without_streams() -> Iterator[None]:
    answers: dict[str, Any] = {
        "current_device": lambda: 0,
        "current_stream": lambda *_: _Stream(),
        "stream": lambda _: contextlib.nullcontext(),
        "Stream": _Stream,
        "Event": _Event,
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        stack.enter_context(mock.patch.object(torch.accelerator, "current_stream", answers["current_stream"]))
        yield


def _parts() -> tuple[Any, Any]:
    from torch.distributed.fsdp._fully_shard import _fsdp_param_group, _fsdp_state

    return _fsdp_param_group.FSDPParamGroup, _fsdp_state.FSDPState


def _wrapped(owner: Any, name: str, around: Callable[..., Any]) -> Any:
    """The patch that has a function run in the context that `around` makes of its arguments."""
    method = getattr(owner, name)

    def within(*args: Any, **kwargs: Any) -> Any:
        with around(*args):
            return method(*args, **kwargs)

    return mock.patch.object(owner, name, within)


@contextlib.contextmanager
def _with_own_device() -> Iterator[None]:
    group, state = _parts()

    def outside(*_: Any) -> Any:
        return outside_the_engine()

    with (
        _wrapped(group, "post_backward", outside),
        _wrapped(state, "_pre_backward", outside),
        _wrapped(state, "_root_post_backward_final_callback", outside),
    ):
        yield
