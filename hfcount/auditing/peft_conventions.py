"""The ways in which PEFT's printed line came out otherwise than it does today: a closed list, each worked out.

Each convention answers what the line would say by it, from the model and the adapters alone; none of them knows a
published figure. They are not combined with each other, save that renamed targets are found first.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.auditing.peft_methods import Adapted, Unattached, adapt, base_skeleton
from hfcount.configs import LoadedConfig
from hfcount.errors import BadInput

if TYPE_CHECKING:
    from torch import nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A printed line's configuration.

    Attributes:
        loaded: the base's config.
        peft: the configuration of the line.
        adapted: what it attaches today.
        note: what the claim says beside it.
        others: the configurations of the other lines about the same model.
    """

    loaded: LoadedConfig
    peft: Mapping[str, Any]
    adapted: Adapted
    note: str = ""
    others: tuple[Mapping[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """What a line says by one convention.

    Attributes:
        name: of the convention.
        trainable, all: the two figures.
        why: a line: what is counted otherwise, and who counted so.
    """

    name: str
    trainable: int
    all: int
    why: str


RENAMED = "modules renamed since"
"""Of targets that are called otherwise today; see `peft_methods.adapt`."""


def ways(case: Case) -> Iterator[Way]:
    """What the line says by each convention that applies, the cheap ones first."""
    for convention in CONVENTIONS:
        yield from convention(case)


def _head_in_place(case: Case) -> Iterator[Way]:
    """Before it wrapped them, PEFT set `requires_grad` on the modules to save and made no copy of them."""
    adapted = case.adapted
    if adapted.copied:
        yield Way(
            name="head trained in place",
            trainable=adapted.trainable,
            all=adapted.all - adapted.copied,
            why=f"all less {adapted.copied:,}: the first PEFT (2023, `_set_trainable`) trained the modules to save in "
            "place, now it trains a copy and keeps the original",
        )


def _head_twice(case: Case) -> Iterator[Way]:
    """The first `ModulesToSaveWrapper` left the original trainable beside its copy."""
    adapted = case.adapted
    if adapted.copied:
        yield Way(
            name="head and its copy both trainable",
            trainable=adapted.trainable + adapted.copied,
            all=adapted.all,
            why=f"trainable and {adapted.copied:,}: PEFT's first `ModulesToSaveWrapper` (2023) left the original of a "
            "module to save trainable beside its copy",
        )


def _separate_head(case: Case) -> Iterator[Way]:
    adapted = case.adapted
    if adapted.separate_head:
        yield Way(
            name="separate LM head",
            trainable=adapted.trainable,
            all=adapted.all + adapted.separate_head,
            why=f"all and {adapted.separate_head:,}: config.json says tie_word_embeddings = false, and before "
            "transformers 5 the class kept the head a matrix of V·d of its own",
        )


def _early_biases(case: Case) -> Iterator[Way]:
    """The first LoRA layer was a new `nn.Linear` with its default bias, whatever the layer in its place had."""
    biases = sum(each.out_features for each in _adapted_linears(case.adapted.model) if each.bias is None)
    if biases and case.peft.get("peft_type") == "LORA":
        yield Way(
            name="biases of the early LoRA Linear",
            trainable=case.adapted.trainable,
            all=case.adapted.all + biases,
            why=f"all and {biases:,}: the LoRA layer of PEFT's first versions (early 2023) brought a frozen bias for "
            "each adapted Linear that had none",
        )


def _adapted_linears(wrapped: nn.Module) -> Iterator[Any]:
    """The Linear layers of the base that got an adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    for module in wrapped.modules():
        base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else None
        if isinstance(base, nn.Linear):
            yield base


def _packed(case: Case) -> Iterator[Way]:
    packed = lost_by_packing(case.loaded, case.peft)
    if packed:
        yield Way(
            name="packed 4-bit elements",
            trainable=case.adapted.trainable,
            all=case.adapted.all - packed,
            why=f"all less {packed:,}: of a 4-bit base the packed bytes were counted as elements, half of the weights "
            "in the layers that bitsandbytes converts",
        )


def lost_by_packing(loaded: LoadedConfig, peft: Mapping[str, Any]) -> int:
    """How many elements a 4-bit base seems to have less: bitsandbytes keeps two weights in a byte, and the packed
    tensor's `numel` is of bytes."""
    from hfcount.quantization.conversion import converted_modules
    from hfcount.quantization.storage import Scheme

    model = base_skeleton(loaded, peft).model
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    converted = converted_modules(model, Scheme(kind="nf4"))
    return sum(sizes[f"{name}.weight"] // 2 for name in converted if f"{name}.weight" in sizes)


def _block_diagonal(case: Case) -> Iterator[Way]:
    """PEFT's block-diagonal LoRA: B in blocks where tensor parallelism splits the outputs, A where it splits the
    inputs (peft/tuners/lora/config.py, `BdLoraConfig`); transformers' plan says which layers are which."""
    said = re.search(r"block-diagonal|bd-?lora", case.note, re.IGNORECASE)
    if not said or case.peft.get("peft_type") != "LORA" or case.peft.get("use_bdlora"):
        return
    plan = getattr(case.loaded.config, "base_model_tp_plan", None) or {}
    split = {kind: _names_split(plan, kind) for kind in ("rowwise", "colwise")}
    for blocks in (2, 4, 8, 16):
        asked = {"target_modules_bd_a": split["rowwise"], "target_modules_bd_b": split["colwise"], "nblocks": blocks}
        found = _attached(case, {**case.peft, "use_bdlora": asked})
        if found is not None:
            less = case.adapted.trainable - found.trainable
            yield Way(
                name="block-diagonal LoRA",
                trainable=found.trainable,
                all=found.all,
                why=f"both less {less:,}: BdLoraConfig with {blocks} blocks, B of {', '.join(split['colwise'])} and A "
                f"of {', '.join(split['rowwise'])} hold 1/{blocks} of their elements",
            )


def _names_split(plan: Mapping[str, Any], kind: str) -> list[str]:
    """The last names of the layers that the plan for tensor parallelism splits in this way."""
    return sorted({name.rpartition(".")[2] for name, how in plan.items() if str(how).startswith(kind)})


def _left_in_the_model(case: Case) -> Iterator[Way]:
    """`get_peft_model` changes the model in place: called again on it, the first adapters stay, frozen."""
    others = [(each, _attached(case, each)) for each in case.others]
    there = [(str(each.get("peft_type")), found.added) for each, found in others if found is not None]
    for many in (1, 2):
        for left in itertools.combinations(there, many):
            more = sum(added for _, added in left)
            names = " and ".join(name for name, _ in left)
            yield Way(
                name="earlier adapters left in the model",
                trainable=case.adapted.trainable,
                all=case.adapted.all + more,
                why=f"all and {more:,}: the {names} of another line about this model, still attached and frozen, "
                "since get_peft_model changes the model in place",
            )


def _attached(case: Case, peft: Mapping[str, Any]) -> Adapted | None:
    try:
        return adapt(case.loaded, peft)
    except (BadInput, Unattached):
        return None


CONVENTIONS: tuple[Callable[[Case], Iterator[Way]], ...] = (
    _head_in_place,
    _head_twice,
    _separate_head,
    _early_biases,
    _block_diagonal,
    _left_in_the_model,
    _packed,
)
