"""From what a header says is stored to what it stands for: every packed weight unpacked on paper.

Formats are recognised by the names, dtypes and shapes of their tensors; the config's `quantization_config` decides
where these leave a choice, and is not believed where they contradict it. What no format knows and is stored in
integers is taken as it stands, and said to be uncertain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hfcount.sources.headers.checkpoint import Checkpoint, Role
from hfcount.sources.headers.header import Header, StoredTensor
from hfcount.sources.headers.packed import FORMATS, GGUF, PackedFormat, Table
from hfcount.sources.headers.packed.format import FLOATS, Settings, method, quantization

PACKABLE = frozenset({"U8", "I8", "U16", "I16", "I32", "U32"})
"""Element types that formats pack in. BOOL and I64 are those of masks, positions and counters."""

UNPAIRED = frozenset(
    {
        *("k_scale", "v_scale", "q_scale", "prob_scale", "input_scale", "output_scale", "input_global_scale"),
        *("input_zero_point", "output_zero_point", "weight_scale", "weight_scale_inv", "weight_zero_point", "SCB"),
        *("activation_scale", "absmax", "quant_map", "nested_absmax", "nested_quant_map"),
    }
)
"""What packed checkpoints hold beside weights, as the scales of the KV cache: no parameter of the model."""


def unpack(header: Header, config: Mapping[str, Any] | None = None) -> Checkpoint:
    """The checkpoint's table: an entry for each tensor of the model, in the header's order.

    Every stored tensor is in one entry, so that the entries' stored elements and bytes add up to the header's.
    `config` is config.json as read; nothing in it is trusted to be well formed. Never raises.
    """
    settings = quantization(config)
    table = Table(header.tensors)
    kinds: Counter[str] = Counter()
    for packed in (GGUF(),) if header.format == "gguf" else _in_order(settings):
        own = settings if method(settings) in ("", *packed.methods) else {}
        kinds.update(packed.unpack(table, own, header.metadata))
    notes = _plain(table, packed=bool(kinds), stated=bool(settings))
    if not kinds and method(settings):
        notes.append(f"the config says {method(settings)}, and no tensor is packed in a way that is known")
    uncertain = [entry.name for entry in table.entries if not entry.exact and entry.stored != (entry.name,)]
    if uncertain:
        notes.append(_uncertain(uncertain))
    place = {tensor.name: index for index, tensor in enumerate(header.tensors)}
    entries = sorted(table.entries, key=lambda entry: place[entry.stored[0]])
    packing = ", ".join(kind for kind, _ in kinds.most_common())
    return Checkpoint(header=header, packing=packing, entries=tuple(entries), notes=tuple(notes))


def _in_order(settings: Settings) -> list[PackedFormat]:
    """The formats, those that the config names first."""
    stated = method(settings)
    return sorted(FORMATS, key=lambda packed: stated not in packed.methods)


def _plain(table: Table, *, packed: bool, stated: bool) -> list[str]:
    """Claims what is left, a tensor an entry, and says what is uncertain about it."""
    rest = list(table)
    doubtful = [tensor for tensor in rest if _doubtful(tensor, stated=stated)]
    modules = {_module(tensor) for tensor in doubtful}
    names = {tensor.name for tensor in doubtful}
    for tensor in rest:
        last = tensor.name.rpartition(".")[2]
        beside = _module(tensor) in modules and last not in ("weight", "bias")
        if (packed or stated) and last in UNPAIRED and tensor.name not in names:
            table.claim(tensor.name, [tensor.name], dtype=tensor.dtype, shape=tensor.shape, parameters=0, role="scale")
            continue
        exact = tensor.name not in names and not beside
        role: Role = "weight" if exact or "weight" in last else "unknown"
        table.claim(tensor.name, [tensor.name], dtype=tensor.dtype, shape=tensor.shape, role=role, exact=exact)
    return [_unknown(doubtful)] if doubtful else []


def _doubtful(tensor: StoredTensor, *, stated: bool) -> bool:
    """Whether its elements may be several weights each: integers under a weight's name, or where packing is stated."""
    if tensor.dtype in FLOATS or tensor.dtype not in PACKABLE or not tensor.shape:
        return False
    return stated or "weight" in tensor.name.rpartition(".")[2]


def _module(tensor: StoredTensor) -> str:
    return tensor.name.rpartition(".")[0]


def _unknown(tensors: list[StoredTensor]) -> str:
    dtypes = ", ".join(sorted({tensor.dtype for tensor in tensors}))
    return (
        f"{_counted(len(tensors), 'tensor')} of {dtypes} may be packed in a way that is not known ({tensors[0].name}):"
        " stored elements are counted as parameters"
    )


def _uncertain(names: list[str]) -> str:
    return (
        f"the header does not tell the sizes of {_counted(len(names), 'packed weight')} ({names[0]}): their parameters"
        " are an estimate"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
