"""ZeRO as one rank sees it, by DeepSpeed's rules: what is divided, and the buffers that its stages hold.

DeepSpeed itself cannot run without a GPU, so its rules are followed here by tensors of the same sizes, made and
dropped at the same moments of the real step. They are those of deepspeed/runtime/zero (stage_1_and_2.py, stage3.py,
partitioned_param_coordinator.py), with the settings that transformers fills in for "auto", h being the hidden size:

    reduce_bucket_size                  h²          elements of gradients that are reduced together
    stage3_prefetch_bucket_size         0.9 h²      elements that are gathered ahead
    stage3_param_persistence_threshold  10 h        parameters up to this stay gathered
    stage3_max_live_parameters          1e9         no more are gathered ahead
    stage3_max_reuse_distance           1e9         what is used again within so many elements stays gathered
    sub_group_size                      1e9         elements of a shard that are stepped together

`overlap_comm` is on for the stages 2 and 3, as in the configs that transformers' documentation gives, and makes two
buckets of one; off for stage 1, whose gradients therefore wait for the end of the backward pass. Gradients are
contiguous. Parameters train in 16 bits beside fp32 masters, adapters too, since DeepSpeed casts the whole model; fp32
models have a second fp32 copy. All trained parameters are one group, as without a weight decay of their own for norms.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from hfcount.budget.recipes import Precision
from hfcount.simulation.coordinator import Coordinator
from hfcount.simulation.cuda import outside_the_engine
from hfcount.simulation.division import COMMUNICATION, Undivided, entered_as, resizes_seen
from hfcount.simulation.ledger import Ledger
from hfcount.simulation.stepping import OPTIMIZERS
from hfcount.simulation.subject import Subject


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """DeepSpeed's, in elements; see above."""

    reduce_bucket: int
    prefetch_bucket: int
    persistence: int
    max_live: int = 10**9
    max_reuse: int = 10**9
    sub_group: int = 10**9

    @classmethod
    def automatic(cls, config: Any) -> Settings:
        """What transformers fills in (transformers/integrations/deepspeed.py, `trainer_config_finalize`)."""
        hidden = config.get_text_config().hidden_size
        return cls(reduce_bucket=hidden**2, prefetch_bucket=int(0.9 * hidden**2), persistence=10 * hidden)


def kept(subject: Subject) -> Subject:
    """The subject as DeepSpeed keeps it: everything in the base's type, adapters too."""
    precision = subject.precision
    dtype = getattr(torch, precision.base)
    precision = dataclasses.replace(
        precision, trained=precision.base, gradients=precision.base, master=True, autocast=None
    )
    return dataclasses.replace(subject, precision=precision, dtypes=dict.fromkeys(subject.dtypes, dtype))


class Zero(Undivided):
    """What all stages do: gradients go through a bucket, and the step is that of one shard's fp32 masters."""

    reduces_as_they_come = True
    buckets = 2

    def __init__(self, subject: Subject, devices: int, settings: Settings, *, offload: bool) -> None:
        self.devices, self.settings = devices, settings
        self.host = torch.device("cpu" if offload else "cuda")
        self.dtype = getattr(torch, subject.precision.base)
        self.trained = [each for each in subject.model.parameters() if each.requires_grad]
        self.model = subject.model
        self.waiting: list[nn.Parameter] = []
        self.filled = 0
        self.buffers: list[torch.Tensor] = []

    @contextlib.contextmanager
    def watched(self, ledger: Ledger) -> Iterator[None]:
        self.ledger = ledger
        handles = []
        if self.reduces_as_they_come:
            handles = [each.register_post_accumulate_grad_hook(self._came) for each in self.trained]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def communicating(self) -> Any:
        """A context in which what is made is for the other devices."""
        return entered_as(self.ledger, COMMUNICATION)

    def make(
        self, elements: int, dtype: torch.dtype, kind: str, *, device: torch.device | None = None
    ) -> torch.Tensor:
        """A flat buffer that is entered as of a kind."""
        with entered_as(self.ledger, kind):
            return torch.empty(elements, dtype=dtype, device=device or "cuda")

    def _came(self, parameter: nn.Parameter) -> None:
        with outside_the_engine(), torch.no_grad():
            self.into_bucket(parameter)

    def into_bucket(self, parameter: nn.Parameter) -> None:
        """Move a gradient into the bucket, which is reduced first where it has no room; too large a one stays."""
        size = self.settings.reduce_bucket
        if self.waiting and self.filled + parameter.numel() > size:
            self.reduce()
        if self.filled + parameter.numel() <= size:
            room = self.buffers[0].narrow(0, self.filled, parameter.numel())
            room.copy_(parameter.grad.view(-1))  # type: ignore[union-attr]
            parameter.grad = room.view_as(parameter)
        self.waiting.append(parameter)
        self.filled += parameter.numel()

    def reduce(self) -> None:
        """Reduce what the bucket holds, and keep of it what is this device's."""
        sent = self._sent()
        del sent
        for each in self.waiting:
            self.keep(each)
        self.waiting, self.filled = [], 0

    def _sent(self) -> torch.Tensor | None:
        raise NotImplementedError

    def keep(self, parameter: nn.Parameter) -> None:
        """What is done with a gradient that has been reduced."""
        raise NotImplementedError


class Partitioned(Zero):
    """The stages 1 and 2: one shard is every so-many-th part of all trained parameters, laid side by side."""

    def __init__(self, subject: Subject, devices: int, settings: Settings, *, offload: bool) -> None:
        super().__init__(subject, devices, settings, offload=offload)
        total = sum(each.numel() for each in self.trained)
        self.shard = -(-total // (2 * devices)) * 2  # aligned for two elements (nccl_start_alignment_factor)
        ends = [0]
        for each in self.trained:
            ends.append(ends[-1] + each.numel())
        self.mine = {each: None for each, begin in zip(self.trained, ends, strict=False) if begin < self.shard}
        self.partition: torch.Tensor | None = None
        self.gathered: list[torch.Tensor] = []
        self.offset = 0

    def begin_backward(self) -> None:
        self.buffers = [self.make(self.settings.reduce_bucket, self.dtype, COMMUNICATION) for _ in range(self.buckets)]

    @torch.no_grad()
    def end_batch(self, *, last: bool) -> None:
        if not self.reduces_as_they_come and last:
            for each in self.trained:
                if each.grad is not None:
                    self.into_bucket(each)
        if self.waiting:
            self.reduce()
        self.buffers, self.partition, self.offset = [], None, 0
        if self.reduces_as_they_come or last:
            self._add_up()

    def _sent(self) -> torch.Tensor | None:
        """What goes to the other devices: a copy of the bucket, where it holds more than one gradient."""
        return self.make(self.filled, self.dtype, COMMUNICATION) if len(self.waiting) > 1 else None

    def keep(self, parameter: nn.Parameter) -> None:
        if parameter in self.mine:
            parameter.grad = self._own(parameter)
        elif self.reduces_as_they_come:
            parameter.grad = None

    def _own(self, parameter: nn.Parameter) -> torch.Tensor | None:
        """The reduced gradient's place among this device's own; on the host in fp32, by way of a copy."""
        assert parameter.grad is not None
        if self.host.type == "cpu":
            parameter.grad.float()  # widened before it is sent
            return None
        if self.partition is None:
            self.partition = self.make(sum(each.numel() for each in self.mine), self.dtype, "gradients")
        place = self.partition.narrow(0, self.offset, parameter.numel()).view_as(parameter)
        self.offset += parameter.numel()
        place.copy_(parameter.grad)
        return place

    def _add_up(self) -> None:
        """Add this device's gradients to those of the batches before."""
        found = [each.grad for each in self.mine if each.grad is not None]
        if self.gathered and self.reduces_as_they_come:
            for before, each in zip(self.gathered, found, strict=True):
                before.add_(each)
        else:
            self.gathered = found
        if self.reduces_as_they_come:
            for each in self.mine:
                each.grad = None

    def stepper(self, trained: Sequence[Any], precision: Precision, ledger: Ledger, **how: Any) -> Any:
        masters = [torch.empty(self.shard, dtype=torch.float32, device=self.host)]
        if self.host.type == "cpu":  # the optimizer's gradients, and the parameters on their way back
            kinds = (torch.float32, self.dtype)
            self.on_host = [self.make(self.shard, each, "host", device=self.host) for each in kinds]
        return _Masters(self, masters, ledger, **how)

    def gradient(self, index: int) -> torch.Tensor:
        """The shard's gradient in fp32, after what it is made of has been let go."""
        for each in self.trained:
            if each not in self.mine:
                each.grad = None
        if self.host.type == "cpu":
            return self.on_host[0]
        with entered_as(self.ledger, "gradients"):
            flat = torch.cat(list(self._pieces()))
            wide = flat.new_empty(self.shard, dtype=torch.float32)
            wide.narrow(0, 0, flat.numel()).copy_(flat)
        self.gathered = []
        for each in self.trained:
            each.grad = None
        return wide

    def _pieces(self) -> Iterator[torch.Tensor]:
        """The gradients of the shard's parameters, the last one as far as the shard goes."""
        left = self.shard
        for each in self.gathered:
            size = min(left, each.numel())
            left -= size
            yield each.reshape(-1).narrow(0, 0, size)


class FirstStage(Partitioned):
    """Gradients stay whole until the backward pass is over."""

    reduces_as_they_come = False
    buckets = 1


class ThirdStage(Zero):
    """Each parameter is divided, gathered for its module and let go after it (coordinator.py)."""

    def __init__(self, subject: Subject, devices: int, settings: Settings, *, offload: bool) -> None:
        super().__init__(subject, devices, settings, offload=offload)
        self.shards = {
            each: each.detach().view(-1).narrow(0, 0, -(-each.numel() // devices)).to(self.host, copy=True)
            for each in subject.model.parameters()
        }
        for each in self.shards:
            if each.numel() > settings.persistence:
                each.untyped_storage().resize_(0)
        self.groups = self._groups()

    def _groups(self) -> list[int]:
        """How many elements of this device's are stepped together: parameters until there are enough."""
        found = [0]
        for each in self.trained:
            if found[-1] >= self.settings.sub_group:
                found.append(0)
            found[-1] += self.shards[each].numel()
        return found

    @contextlib.contextmanager
    def watched(self, ledger: Ledger) -> Iterator[None]:
        self.coordinator = Coordinator(self, ledger)
        ledger.declare(((f"shard {index}", each) for index, each in enumerate(self.shards.values())), "weights")
        with super().watched(ledger), resizes_seen(ledger), self.coordinator.hooked(self.model):
            yield

    @torch.no_grad()
    def end_batch(self, *, last: bool) -> None:
        if self.waiting:
            self.reduce()
        self.coordinator.reset()

    def _sent(self) -> torch.Tensor | None:
        return self.make(
            sum(self.shards[each].numel() for each in self.waiting) * self.devices, self.dtype, COMMUNICATION
        )

    def keep(self, parameter: nn.Parameter) -> None:
        parameter.grad = None  # its part is in the buffer that all gradients' parts have

    def stepper(self, trained: Sequence[Any], precision: Precision, ledger: Ledger, **how: Any) -> Any:
        self.gradients = self.make(sum(self.groups), self.dtype, "gradients", device=self.host)
        self.buffers = [self.make(self.settings.reduce_bucket, self.dtype, COMMUNICATION)]
        return _Masters(
            self, [torch.empty(each, dtype=torch.float32, device=self.host) for each in self.groups], ledger, **how
        )

    def gradient(self, index: int) -> torch.Tensor:
        """A sub-group's gradient in fp32, by way of a copy in 16 bits."""
        begin = sum(self.groups[:index])
        with entered_as(self.ledger, "gradients"):
            found = self.gradients.narrow(0, begin, self.groups[index])
            return found.clone().float()


class _Masters:
    """The optimizer over the fp32 masters of this device's shard, one sub-group after the other."""

    def __init__(
        self, zero: Any, masters: Sequence[torch.Tensor], ledger: Ledger, *, optimizer: str, stepping: str, **_: Any
    ) -> None:
        self._zero, self._ledger = zero, ledger
        self._masters = [nn.Parameter(each) for each in masters]
        ledger.declare(((f"shard {index}", each) for index, each in enumerate(self._masters)), "master")
        self._optimizer = OPTIMIZERS[optimizer](self._masters, stepping)

    def step(self) -> None:
        for index, master in enumerate(self._masters):
            self._ledger.check_time()
            master.grad = self._zero.gradient(index)
            self._optimizer.step()  # the others have no gradient
            master.grad = None
        held = (pair for state in self._optimizer.state.values() for pair in state.items())
        self._ledger.declare(((str(name), each) for name, each in held if isinstance(each, torch.Tensor)), "optimizer")


STAGES: dict[str, type[Zero]] = {"zero1": FirstStage, "zero2": Partitioned, "zero3": ThirdStage}
