"""What a user may ask of LoRA: the rank, the targets, and the settings of PEFT that change the count."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from hfcount.errors import BadInput

TARGET_GROUPS = ("default", "all-linear", "attention", "mlp")
BIASES = ("none", "all", "lora_only")
MAX_RANK = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """One LoRA configuration, checked when it is made; BadInput carries the offending value.

    PEFT's settings that leave the count alone (alpha, dropout, rsLoRA, the initialisation) are not asked.

    Attributes:
        r: the rank, at least 1.
        targets: "default" (what PEFT takes for the model type), "all-linear" (PEFT's shorthand), "attention" or
            "mlp" (by the components of the inventory), else names of modules: a tuple, or one string with commas.
        modules_to_save: modules that are copied and trained in full.
        target_parameters: parameters wrapped directly, such as fused experts.
        rank_pattern: other ranks for the modules whose names fit a pattern.
        use_dora: DoRA's magnitude vector besides the two matrices.
        bias: which biases of the base train: "none", "all" or "lora_only" (of the modules with an adapter).
        ensure_weight_tying: adapters on tied modules are tied too, as PEFT offers it.
    """

    r: int
    targets: str | tuple[str, ...] = "default"
    modules_to_save: tuple[str, ...] = ()
    target_parameters: tuple[str, ...] = ()
    rank_pattern: Mapping[str, int] = dataclasses.field(default_factory=dict)
    use_dora: bool = False
    bias: str = "none"
    ensure_weight_tying: bool = False

    def __post_init__(self) -> None:
        _check_rank("r", self.r)
        object.__setattr__(self, "targets", _targets(self.targets))
        for field in ("modules_to_save", "target_parameters"):
            object.__setattr__(self, field, _names(field, getattr(self, field)))
        if not self.targets and not self.target_parameters:
            raise BadInput("LoRA targets: none given; name modules, or take default, all-linear, attention or mlp")
        if not isinstance(self.rank_pattern, Mapping):
            raise BadInput(f"LoRA rank_pattern = {self.rank_pattern!r}: maps names of modules to ranks")
        for name, rank in self.rank_pattern.items():
            _check_rank(f"rank_pattern[{name!r}]", rank)
            _check_pattern(name)
        if self.bias not in BIASES:
            raise BadInput(f"LoRA bias = {self.bias!r}: one of {', '.join(BIASES)}")


def _check_rank(field: str, rank: Any) -> None:
    if not isinstance(rank, int) or isinstance(rank, bool):
        raise BadInput(f"LoRA {field} = {rank!r}: a rank is a positive integer")
    if rank < 1:
        raise BadInput(f"LoRA {field} = {rank:,}: a rank is a positive integer, 1 or more")
    if rank > MAX_RANK:
        raise BadInput(f"LoRA {field} = {rank:,} is absurd; hfcount counts ranks up to {MAX_RANK:,}")


def _check_pattern(name: Any) -> None:
    try:
        re.compile(name)
    except (TypeError, re.error) as error:
        raise BadInput(f"LoRA rank_pattern: {name!r} is no regular expression ({error})") from error


def _targets(targets: Any) -> str | tuple[str, ...]:
    if isinstance(targets, str):
        if targets.strip().lower() in TARGET_GROUPS:
            return targets.strip().lower()
        targets = tuple(part.strip() for part in targets.split(",") if part.strip())
    return _names("targets", targets)


def _names(field: str, names: Any) -> tuple[str, ...]:
    """`names` as a tuple without repeats; BadInput where they are not names."""
    if isinstance(names, str) or not isinstance(names, (list, tuple, set, frozenset)):
        raise BadInput(f"LoRA {field} = {names!r}: names of modules are wanted, as a tuple")
    ordered = sorted(names, key=str) if isinstance(names, (set, frozenset)) else names
    for name in ordered:
        if not isinstance(name, str) or not name.strip():
            raise BadInput(f"LoRA {field}: {name!r} is no name of a module")
    return tuple(dict.fromkeys(name.strip() for name in ordered))
