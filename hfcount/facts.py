"""What a budget asks of a model besides its step: found out on the bench once, and kept in its record."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from hfcount.classes import text_config
from hfcount.inventory import tied_head_size
from hfcount.lora.attach import Refused
from hfcount.quantization import Scheme, Stored
from hfcount.records import key_of
from hfcount.simulation.flops_rule import matrix_parameters
from hfcount.workbench import Workbench

LONGEST_DEFAULT = 2048


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """A model in numbers.

    Attributes:
        model_class, model_type: what it is built as; notes: what was remarked on the way.
        parameters: how many; matrices: those that a token is multiplied by.
        buffers_bytes: what its buffers take.
        positions: how many tokens a row may have; usual_seq: the length of a row where nobody says it.
        encoder_decoder: whether a decoder reads tokens of its own.
        layers, width: of its text config, None where that does not say it.
        most_rank: the smaller side of its widest matrix.
    """

    model_class: str
    model_type: str
    notes: tuple[str, ...]
    parameters: int
    matrices: int
    buffers_bytes: int
    positions: int | None
    usual_seq: int
    encoder_decoder: bool
    layers: int | None
    width: int | None
    most_rank: int


def facts_of(bench: Workbench) -> Facts:
    """Return the facts of the model on `bench`."""
    found = bench.record.answer("facts", lambda: dataclasses.asdict(_facts(bench)))
    return Facts(**{**found, "notes": tuple(found["notes"])})


def _facts(bench: Workbench) -> Facts:
    from hfcount.simulation.media import usual_length

    text = text_config(bench.skeleton.config)
    return Facts(
        model_class=type(bench.model).__name__,
        model_type=str(bench.skeleton.config.model_type),
        notes=bench.skeleton.notes,
        parameters=bench.parameters,
        matrices=matrix_parameters(bench.table, tied_head=tied_head_size(bench.model)),
        buffers_bytes=bench.buffers_bytes,
        positions=bench.positions,
        usual_seq=usual_length(bench.model) or min(bench.positions or LONGEST_DEFAULT, LONGEST_DEFAULT),
        encoder_decoder=bool(getattr(bench.loaded.config, "is_encoder_decoder", False)),
        layers=_integer(text, "num_hidden_layers"),
        width=_integer(text, "hidden_size"),
        most_rank=max((min(shape) for shape in bench.table["shape"] if len(shape) == 2), default=1),
    )


def _integer(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    """What PEFT attaches to given targets.

    Attributes:
        given: the targets that PEFT was given; targets: the last names of what got an adapter.
        rank, parameters: the rank at which it was attached, and how many parameters that trains.
        note: what was done otherwise than asked, or "".
        refusal: why PEFT attaches nothing, or "".
    """

    given: str | tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    rank: int
    parameters: int = 0
    note: str = ""
    refusal: str = ""

    def trained(self, rank: int) -> int:
        """Return how many parameters train at a rank, to which their number is proportional."""
        return self.parameters * rank // self.rank


def lora_of(bench: Workbench, rank: int, targets: str | tuple[str, ...]) -> Lora:
    """Return what PEFT attaches at a rank. What it attaches at rank 1 it attaches at any.

    An adapter's matrices have the rank as a side, or for fused experts a multiple of it; only a grouped convolution
    asks for a multiple of its groups (lora/attach.py).
    """
    found = _attached(bench, 1, targets, f"lora {targets!r}")
    return found if not found.refusal else _attached(bench, rank, targets, f"lora r={rank} {targets!r}")


def _attached(bench: Workbench, rank: int, targets: str | tuple[str, ...], question: str) -> Lora:
    found = bench.record.answer(question, lambda: dataclasses.asdict(_lora(bench, rank, targets)))
    given = found["given"] if isinstance(found["given"], str) else tuple(found["given"])
    return Lora(**{**found, "given": given, "targets": tuple(found["targets"])})


def _lora(bench: Workbench, rank: int, targets: str | tuple[str, ...]) -> Lora:
    try:
        adapters = bench.adapters(rank, targets)
    except Refused as refusal:
        return Lora(rank=rank, refusal=str(refusal))
    parameters = sum(math.prod(shape) for shape in adapters.shapes)
    return Lora(given=adapters.given, targets=adapters.targets, rank=rank, parameters=parameters, note=adapters.note)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packed:
    """What bitsandbytes makes of a model.

    Attributes:
        converted: how many layers; stored: their bytes, term by term.
        fused: weights of experts that stay as they are.
        backend: where the figures come from, in words.
    """

    converted: int
    stored: Stored
    fused: int
    backend: str


def packed_of(bench: Workbench, scheme: Scheme) -> Packed:
    """Return what bitsandbytes makes of the model under `scheme`."""
    found = bench.record.answer(f"packed {key_of(scheme)}", lambda: dataclasses.asdict(_packed(bench, scheme)))
    return Packed(**{**found, "stored": Stored(**found["stored"])})


def _packed(bench: Workbench, scheme: Scheme) -> Packed:
    found = bench.quantized(scheme)
    return Packed(converted=len(found.modules), stored=found.stored, fused=found.fused, backend=found.backend)
