"""A printed line without its configuration: the base is held, and a usual LoRA that gives both figures is looked for.

Such a line proves little: it is `explained` only where exactly one of the usual configurations gives both figures to
the unit, and `unverifiable` where several do, or none.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hfcount.auditing.finding import Finding
from hfcount.auditing.peft_conventions import lost_by_packing
from hfcount.auditing.peft_methods import base_skeleton
from hfcount.auditing.stating import found, unverifiable
from hfcount.configs import LoadedConfig
from hfcount.errors import BadInput
from hfcount.inventory import tied_head_size
from hfcount.lora.attach import linear_modules, suffix
from hfcount.lora.count import count_lora, totals
from hfcount.lora.options import LoraOptions
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hfcount.auditing.peft_lines import Line

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# What people adapt: hfcount's groups, the query and value of the LoRA paper (Hu et al. 2021, section 7.1) in the names
# that classes have for them, and all of attention.
TARGETS: tuple[str | tuple[str, ...], ...] = (
    "default", "all-linear", "attention", "mlp",
    ("q_proj", "v_proj"), ("query", "value"), ("q_lin", "v_lin"), ("q", "v"),
    ("q_proj", "k_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj"), ("c_attn",), ("query_key_value",),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usual:
    """A usual LoRA: the last names of what gets an adapter, its parameters for each rank, those of copied heads."""

    targets: tuple[str, ...]
    per_rank: int
    copied: int


def judge_bare(claim: Claim, described: Described, line: Line, loaded: LoadedConfig) -> Finding:
    """The finding for a `line` without a configuration about the model of `loaded`; BadInput if it cannot be built."""
    model = described.model
    skeleton = base_skeleton(loaded, {})
    base = totals(skeleton.model)[1]
    bases = {base: ""}
    if skeleton.published_untied:
        bases[base + tied_head_size(skeleton.model)] = ", separate LM head"
    if line.base not in bases:
        bases[base - lost_by_packing(loaded, {})] = ", packed 4-bit elements"
    if line.base not in bases:
        why = f"all less trainable is {line.base:,}; the model has {base:,}, {line.base - base:+,}"
        return found(model, claim, "mismatch", why)
    if not line.percent_holds():
        why = f"{line.percent} % is not 100·trainable/all"
        return found(model, claim, "mismatch", why)
    fitting = _fitting(loaded, line.trainable)
    held = f"all less trainable is {line.base:,}, the model's count{bases[line.base]}"
    if len(fitting) == 1:
        only = f"of the usual LoRAs {fitting[0]} alone gives {line.trainable:,}"
        return found(
            model,
            claim,
            "explained",
            f"{held}; the line does not say what was attached: {only}",
            expected=line.trainable,
            claimed=line.trainable,
            convention=f"LoRA {fitting[0]}{bases[line.base]}",
        )
    which = f"as well {' as '.join(fitting)}" if fitting else "no usual LoRA"
    why = f"{held}; the line does not say what was attached: {which} gives {line.trainable:,}"
    return unverifiable(model, claim, why)


def _fitting(loaded: LoadedConfig, trainable: int) -> list[str]:
    """The usual LoRAs ("r = 8 on c_attn") that train as many parameters."""
    return [
        f"r = {rank} on {', '.join(each.targets)}"
        for each in usual_adapters(loaded)
        for rank in RANKS
        if each.copied + rank * each.per_rank == trainable
    ]


def usual_adapters(loaded: LoadedConfig) -> list[Usual]:
    """What each of TARGETS attaches to the model, by PEFT at ranks 1 and 2; targets that come to the same once."""

    def build() -> PreTrainedModel:
        return base_skeleton(loaded, {}).model

    names = {suffix(name) for name, _ in linear_modules(build())}
    found: dict[tuple[object, ...], Usual] = {}
    for targets in TARGETS:
        if isinstance(targets, tuple) and not names.issuperset(targets):
            continue
        try:
            one, two = count_lora(build, [LoraOptions(r=rank, targets=targets) for rank in (1, 2)])
        except BadInput:  # a group that this model does not have
            continue
        if one.trainable is not None and two.trainable is not None:
            step = two.trainable - one.trainable
            usual = Usual(targets=one.targets, per_rank=step, copied=one.trainable - step)
            found.setdefault((one.targets, step), usual)
    return list(found.values())
