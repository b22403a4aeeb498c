"""What PEFT attaches to a class, recorded by name with its form, so that a count needs neither PEFT nor the model.

What is adapted goes by names and classes, not by sizes, so one small model of the class tells it for all configs that
the form covers. It is recorded from what PEFT really attached, and kept only where the count that it gives is PEFT's
own at another, randomly drawn config.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import importlib.metadata
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.errors import BadInput
from hfcount.formulas.form import Form
from hfcount.lora.attach import Attached, Refused, attach
from hfcount.lora.count import LoraCount, count_lora
from hfcount.lora.fast import fast_lora, rows_of, starred
from hfcount.lora.options import TARGET_GROUPS, LoraOptions

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from hfcount.formulas.tracing.search import Subject

_RANK, _OTHER_RANK = 2, 3


def recorded_targets(form: Form, subject: Subject) -> dict[str, Any]:
    """The `lora` of `form`: see `hfcount.lora.fast`. `subject` is what the form was found for."""
    if not form.covers(subject.raw):
        return {}
    small = _small(form, subject)
    if not _has_all(form, small):
        return {}  # kinds of layers that this config has none of: nothing is known of them
    model = subject.with_fields(small).model()
    peft = importlib.metadata.version("peft")
    record: dict[str, Any] = {"peft": peft, "layers": _layers(model), "others": _others(model), "sets": {}}
    for targets in TARGET_GROUPS:
        found = _recorded(form, subject.with_fields(small), targets, small)
        if found is not None:
            record["sets"][targets] = found
    return _proven(dataclasses.replace(form, lora=record), subject, small)


def _small(form: Form, subject: Subject) -> dict[str, Any]:
    """A config of few layers that the form covers, else the subject's own."""
    from hfcount.formulas.tracing.draws import layer_fields

    raw = copy.deepcopy(form.fields(subject.raw))
    for path in sorted(layer_fields(form)):
        *scopes, last = path.split(".")
        tried = copy.deepcopy(raw)
        holder: Any = tried
        for scope in scopes:
            holder = holder.get(scope) if isinstance(holder, Mapping) else None
        if not isinstance(holder, dict) or type(holder.get(last)) is not int or holder[last] <= 4:
            continue
        holder[last] = 4
        if form.covers(tried) and _has_all(form, tried):
            raw = tried
    try:
        subject.with_fields(raw).model()
    except BadInput:
        return dict(subject.raw)
    return raw


def _has_all(form: Form, raw: Mapping[str, Any]) -> bool:
    """Whether a config has at least one parameter of every row."""
    return all(value.times > 0 for value in form.evaluated(raw))


def _layers(model: PreTrainedModel) -> dict[str, str]:
    """The starred path of each layer that LoRA adapts -> its kind."""
    found: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        kind = _kind(module)
        if kind is not None and found.setdefault(starred(path), kind) != kind:
            found[starred(path)] = "other"
    return found


def _kind(module: nn.Module) -> str | None:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Linear):
        return "linear" if "weight" in dict(module.named_parameters(recurse=False)) else "other"
    if isinstance(module, Conv1D):
        return "conv1d"
    if isinstance(module, nn.Embedding):
        return "embedding"
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return "convolution" if module.groups == 1 and "weight" in dict(module.named_parameters()) else "other"
    return "other" if isinstance(module, nn.MultiheadAttention) else None


def _others(model: PreTrainedModel) -> list[str]:
    """The last names of the modules that LoRA does not adapt."""
    return sorted({path.rpartition(".")[2] for path, module in model.named_modules() if path and not _kind(module)})


def _recorded(form: Form, subject: Subject, targets: str, raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """What PEFT attaches for a group of targets, by starred names; None where names do not tell it."""
    from hfcount.inventory import inventory

    model = subject.model()
    try:
        attached = attach(model, LoraOptions(r=_RANK, targets=targets), inventory(model))
    except Refused as refusal:
        return {"reason": str(refusal)}
    except BadInput:
        return None
    modules, parameters = collections.Counter(map(starred, attached.modules)), _parameters(attached)
    numbers = {id(value.row): value.times for value in form.evaluated(raw)}
    counts = {**{f"{path}.weight": count for path, count in modules.items()}, **parameters}
    for name, count in counts.items():
        if name.removesuffix(".weight").endswith("*") or count != sum(numbers[id(r)] for r in rows_of(form, name)):
            return None
    ranks = _multiples(attached)
    if ranks is None:
        return None
    result: dict[str, Any] = {"modules": list(modules)}
    if parameters:
        result["parameters"] = {name: ranks[name] for name in parameters}
    if attached.saved:
        result["saved"] = list(dict.fromkeys(map(starred, attached.saved)))
    return result


def _parameters(attached: Attached) -> dict[str, int]:
    return dict(collections.Counter(map(starred, attached.parameters)))


def _multiples(attached: Attached) -> dict[str, dict[str, Any]] | None:
    """Of each wrapped parameter the multiple of the rank that it got; None where that is no multiple."""
    from hfcount.lora.closed_form import Ranks

    ranks = Ranks(LoraOptions(r=_RANK, targets="all-linear"), attached.rank_pattern)
    if any(ranks.of(name)[1] != _RANK for name in attached.modules):
        return None
    base = attached.model.get_base_model()  # type: ignore[operator]
    found: dict[str, dict[str, Any]] = {}
    for name in attached.parameters:
        rank = ranks.of(name)[1]
        owner = base.get_submodule(name.rpartition(".")[0])
        transposed = bool(getattr(_innermost(owner), "is_transposed", False))
        entry = {"ranks": rank // _RANK, "transposed": transposed}
        if rank % _RANK or found.setdefault(starred(name), entry) != entry:
            return None
    return found


def _innermost(module: nn.Module) -> nn.Module:
    """The base module inside PEFT's wrappers, of which a module with two fused parameters has two."""
    while hasattr(module, "base_layer"):
        module = module.base_layer  # type: ignore[assignment]
    return module


def _proven(form: Form, subject: Subject, small: Mapping[str, Any]) -> dict[str, Any]:
    """The record without the sets whose count is not PEFT's at another config."""
    chance, raw = random.Random(form.model_class), dict(small)
    from hfcount.formulas.tracing.draws import drawn

    for _ in range(12):
        tried = drawn(form, small, chance, share=0.5)
        try:
            subject.with_fields(tried).model()
        except BadInput:
            continue
        raw = tried
        break
    record = copy.deepcopy(dict(form.lora))
    for targets in list(record["sets"]):
        options = LoraOptions(r=_OTHER_RANK, targets=targets)
        try:
            (real,) = count_lora(subject.with_fields(raw).model, [options])
        except BadInput:
            del record["sets"][targets]
            continue
        if not same(fast_lora(form, raw, options), real):
            del record["sets"][targets]
    return record


def same(fast: LoraCount | None, real: LoraCount) -> bool:
    """Whether the count without a model is PEFT's, in every figure; the formula's text may be another of its value."""
    if fast is None or (real.formula_value is not None and not real.matches):
        return False
    near = abs((fast.unreached_share or 0) - (real.unreached_share or 0)) < 1e-9
    return near and all(
        getattr(fast, field.name) == getattr(real, field.name)
        for field in dataclasses.fields(LoraCount)
        if field.name not in ("formula", "unreached_share")
    )
