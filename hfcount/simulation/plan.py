"""What a step is asked to be: the kind of training, how it is run, and over how many devices."""

from __future__ import annotations

import dataclasses

from hfcount.budget.recipes import Precision, named
from hfcount.errors import BadInput, HfcountError
from hfcount.lora.options import LoraOptions
from hfcount.quantization.storage import Scheme
from hfcount.simulation.sizes import RANK, ROWS, TOKENS

FLASH = "flash_attention_2"
ATTENTIONS = ("sdpa", "eager", FLASH)

RATE = 16_000
FRAMES = 100
"""Samples and frames of features in a second of sound: speech models' usual 16 kHz, and their usual hop of 10 ms."""

MODES = ("zero1", "zero2", "zero3", "fsdp")

PIXELS = 224
"""The side of an image where a config does not say it: ImageNet's usual crop."""

SECONDS = 10
"""How long a clip of sound lasts where nobody says it."""

Capability = tuple[int, int]
"""A card's compute capability: (8, 0) is an A100's."""


def kernels_of(capability: str) -> Capability:
    """Return the first compute capability whose kernels are those of the one in words.

    cuda.py knows no difference between 8.0 and 8.9 (Ampere and Ada), so one form serves all of these cards.

    >>> kernels_of("8.9"), kernels_of("7.5")
    ((8, 0), (7, 5))
    """
    major, minor = map(int, capability.split("."))
    return (major, 0) if major == 8 else (major, minor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wished:
    """What kind of training is wished for.

    Attributes:
        precision: the element types.
        options: of LoRA; None for full fine-tuning. scheme: of QLoRA's base.
        attention: "sdpa", "eager" or "flash_attention_2".
        computed: what bitsandbytes' layers compute in (`bnb_4bit_compute_dtype`); None for its default.
        checkpointing: each layer keeps its input alone; `reentrant`: as torch did it first.
    """

    precision: Precision
    options: LoraOptions | None = None
    scheme: Scheme | None = None
    attention: str = "sdpa"
    computed: str | None = None
    checkpointing: bool = False
    reentrant: bool = False


@dataclasses.dataclass(frozen=True)
class Sharding:
    """How a step is divided.

    Attributes:
        mode: "zero1", "zero2", "zero3" or "fsdp".
        devices: over how many devices.
        offload: whether what is divided lies in the host's memory.
    """

    mode: str
    devices: int
    offload: bool = False

    def __post_init__(self) -> None:
        named(self.mode, dict.fromkeys(MODES), "sharding")
        if self.devices < 2:
            raise BadInput(f"--devices {self.devices}: nothing is divided over fewer than two")

    @property
    def by_layer(self) -> bool:
        """Whether each layer does the same, so that depth can be extrapolated; ZeRO's buffers span layers."""
        return self.mode == "fsdp" and not self.offload


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
        grad_scaler: whether torch's GradScaler scales the loss; None for what transformers' Trainer does (`scales`).
        zeroes_gradients: whether gradients are set to zero and stay (`zero_grad(set_to_none=False)`); torch's default
            since 2.0, and the Trainer's, is to let them go.
        sharding: how the step is divided over devices, of which one is looked at; None where it is one device's.
    """

    batch: int
    seq: int
    capability: Capability | None = None
    optimizer: str = "adamw"
    stepping: str = "foreach"
    accumulation: int = 1
    keeps_outputs: bool = False
    grad_scaler: bool | None = None
    zeroes_gradients: bool = False
    sharding: Sharding | None = None

    def scales(self, precision: Precision) -> bool:
        """Whether a GradScaler scales the loss.

        accelerate makes one where autocast computes in fp16, on a GPU alone (`Accelerator.__init__`). DeepSpeed has a
        scaler of its own.
        """
        if self.grad_scaler is not None:
            return self.grad_scaler
        return precision.autocast == "float16" and self.capability is not None and self.sharding is None

    @property
    def needs_warm_up(self) -> bool:
        """Whether a first step is not as later ones.

        Gradients stay, an optimizer makes more than its state, or ZeRO-3 has yet to learn the order of modules.
        """
        learns = self.sharding is not None and self.sharding.mode == "zero3"
        return self.zeroes_gradients or learns or self.optimizer not in ("adamw", "sgd")


class NoFlash(BadInput):
    """FlashAttention cannot run so: the message says what stands in its way."""


class NotSimulated(HfcountError):
    """A step that cannot be simulated; the message says what stopped it."""


def values_of(wished: Wished, run: Run) -> dict[str, int]:
    """The values of the symbols that a step has: rows, tokens, and the rank where there are adapters."""
    found = {ROWS: run.batch, TOKENS: run.seq}
    return found if wished.options is None else {**found, RANK: wished.options.r}
