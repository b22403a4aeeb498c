"""How many parameters train with LoRA: PEFT attaches, each parameter is counted once, the closed form is checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hfcount.inventory import inventory
from hfcount.lora.attach import Attached, Refused, attach, suffix
from hfcount.lora.closed_form import BaseShapes, adapted_weights, closed_form, trained_biases
from hfcount.lora.options import LoraOptions
from hfcount.shown import Charted

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraCount(Charted):
    """What LoRA trains at one rank. Where PEFT attaches nothing, the figures are None and `reason` says why.

    Attributes:
        r: the rank asked.
        targets: the last names of what really got an adapter, sorted.
        trainable: parameters that train: adapters, and with PEFT's settings biases and copied modules.
        all: parameters of the base model and of everything attached, copied modules included.
        trainable_percent: 100·trainable / all.
        formula: the closed form, in `*` and `+`, with r for the rank.
        formula_value: its value.
        matches: whether that is `trainable`.
        unreached_share: of all base parameters, the share that no adapter reaches. An adapter reaches the weight
            that it is added to (the bias beside it stays frozen); a fused parameter only where it was wrapped.
            What trains by itself, a copied module or a bias, is reached.
        reason: why there are no figures.
    """

    r: int
    targets: tuple[str, ...]
    trainable: int | None = None
    all: int | None = None
    trainable_percent: float | None = None
    formula: str | None = None
    formula_value: int | None = None
    matches: bool | None = None
    unreached_share: float | None = None
    reason: str | None = None


class LoraRows(Charted, tuple[LoraCount, ...]):
    """A LoraCount for each rank that was asked for: a tuple that shows itself as one table."""

    __slots__ = ()


def count_lora(build: Callable[[], PreTrainedModel], options: Sequence[LoraOptions]) -> LoraRows:
    """A count for each of `options`; `build` gives a fresh skeleton for each, since PEFT changes it in place.

    Counts go by parameter, not by PEFT's total: `get_nb_trainable_parameters` counts an adapter that is tied to
    another (`ensure_weight_tying`) a second time. On plain models the two agree.
    Raises BadInput for targets that match nothing, with the names that would.
    """
    counts = []
    table = None
    for each in options:
        model = build()
        table = inventory(model) if table is None else table
        counts.append(_count(model, each, table))
    return LoraRows(counts)


def _count(model: PreTrainedModel, options: LoraOptions, table: pd.DataFrame) -> LoraCount:
    shapes = BaseShapes.of(table, dict(model.named_modules(remove_duplicate=False)))
    try:
        attached = attach(model, options, table)
    except Refused as refusal:
        return LoraCount(r=options.r, targets=(), reason=str(refusal))
    trainable, total = totals(attached.model)
    formula, value = closed_form(
        shapes,
        options,
        modules=attached.modules,
        parameters=attached.parameters,
        saved=attached.saved,
        rank_pattern=attached.rank_pattern,
    )
    return LoraCount(
        r=options.r,
        targets=_targets(attached),
        trainable=trainable,
        all=total,
        trainable_percent=100 * trainable / total,
        formula=formula,
        formula_value=value,
        matches=value == trainable,
        unreached_share=1 - _reached(shapes, options, attached) / int(table["numel"].sum()),
    )


def totals(model: nn.Module) -> tuple[int, int]:
    """(trainable, all) elements of the distinct parameters of `model`."""
    trainable: dict[object, int] = {}
    frozen: dict[object, int] = {}
    for parameter in model.parameters():
        (trainable if parameter.requires_grad else frozen)[_identity(parameter)] = parameter.numel()
    return sum(trainable.values()), sum(trainable.values()) + sum(frozen.values())


def _identity(parameter: torch.Tensor) -> object:
    """What two parameters share if they are the same numbers: PEFT ties an adapter as a transposed view."""
    return parameter.untyped_storage()._cdata, parameter.storage_offset(), parameter.numel()


def _targets(attached: Attached) -> tuple[str, ...]:
    """The last names of what got an adapter; a module's for its wrapped weight, a parameter's for a fused one."""
    return tuple(sorted({suffix(name.removesuffix(".weight")) for name in (*attached.modules, *attached.parameters)}))


def _reached(shapes: BaseShapes, options: LoraOptions, attached: Attached) -> int:
    """Elements of the base parameters that training can change, through an adapter, a copy or as a trained bias."""
    names = [name for module in attached.modules for name in adapted_weights(shapes, module)]
    names += [name for module in attached.saved for name in shapes.below(module)]
    rows = {shapes.rows[name] for name in (*names, *attached.parameters)}
    rows |= set(trained_biases(shapes, options, attached.modules, attached.parameters, attached.saved))
    return sum(math.prod(shapes.shapes[row]) for row in rows)
