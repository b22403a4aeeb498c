"""What PEFT attaches to a class, recorded by name with its form, so that a count needs neither PEFT nor the model.

What is adapted goes by names and classes, not by sizes, so one small model of the class tells it for all configs that
the form covers. It is recorded from what PEFT really attached, and kept only where the counts that it gives are PEFT's
own at other configs too: the one that the form was found at, where that is not too large, and randomly drawn ones.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import importlib.metadata
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.errors import BadInput
from hfcount.fast.lora import fast_lora, rows_of, starred
from hfcount.formulas.form import Form, parsed
from hfcount.inventory import inventory
from hfcount.lora.attach import Attached, Refused, attach, suffix
from hfcount.lora.count import LoraCount, count_lora
from hfcount.lora.options import TARGET_GROUPS, LoraOptions

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn
    from transformers import PreTrainedModel

    from hfcount.formulas.tracing.search import Subject

_RANK = 2
_RANKS = (8, 1)
"""The rank at each config that a record is held against."""
_LAYERS = 4
_AFFORDABLE = 250
"""How many parameters a model may have, counted one by one, to be held against the record at its own config."""


def recorded_targets(form: Form, subject: Subject) -> dict[str, Any]:
    """The `lora` of `form`: see `hfcount.fast.lora`. `subject` is what the form was found for.

    Empty where the form holds for no config that is known here.
    """
    given = _covered(form, subject)
    if given is None:
        return {}
    small = given.with_fields(_small(form, given))
    model = small.model()
    table = inventory(model)
    layers = _layers(form, model, small.raw)
    record: dict[str, Any] = {"peft": importlib.metadata.version("peft"), "layers": layers, "sets": {}}
    for targets in TARGET_GROUPS:
        found = _recorded(form, small, targets, table)
        if found is not None:
            record["sets"][targets] = found
    record.update(_names(small, layers, _others(model), table))
    unseen = [value.row.name for value in form.evaluated(small.raw) if not value.times]
    if unseen:
        record["unseen"] = unseen
    return _proven(form, given, small, record)


def _covered(form: Form, subject: Subject) -> Subject | None:
    """`subject`, with its class's defaults filled in where the form holds only so; None where it does not hold."""
    if form.covers(subject.raw):
        return subject
    from hfcount.formulas.tracing.plant import completed

    try:
        raw = completed(subject.raw, subject.config_class.from_dict(copy.deepcopy(dict(subject.raw))))
        filled = subject.with_fields(raw)
        filled.model()
    except Exception:  # whatever the class makes of its own defaults, it is no config to record from
        return None
    return filled if form.covers(raw) else None


def _small(form: Form, subject: Subject) -> dict[str, Any]:
    """A config of few layers that the form covers, with all kinds of them that the subject has, else its own."""
    from hfcount.formulas.tracing.draws import layer_fields

    raw = copy.deepcopy(form.fields(subject.raw))
    wanted = _kinds_there(form, raw)
    for path in sorted(layer_fields(form)):
        tried = _with_fewer(raw, path)
        if tried is not None and form.covers(tried) and _kinds_there(form, tried) == wanted:
            raw = tried
    try:
        subject.with_fields(raw).model()
    except BadInput:
        return dict(subject.raw)
    return raw


def _with_fewer(raw: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """A copy with four layers by the field at a dotted path, and lists that are as long shortened; None: few already.

    A list keeps the first of each of its values, so that no kind of layer is lost.
    """
    tried = copy.deepcopy(dict(raw))
    *scopes, last = path.split(".")
    holder: Any = tried
    for scope in scopes:
        holder = holder.get(scope) if isinstance(holder, Mapping) else None
    if not isinstance(holder, dict) or type(holder.get(last)) is not int or holder[last] <= _LAYERS:
        return None
    before = holder[last]
    lists = {key: each for key, each in holder.items() if isinstance(each, list) and len(each) == before}
    kept = _places(lists.values(), before)
    holder[last] = len(kept)
    for key, each in lists.items():
        holder[key] = [each[place] for place in kept]
    return tried


def _places(lists: Iterable[list[Any]], length: int) -> list[int]:
    """The first four places, or those at which the lists show something new and others up to four."""
    seen: set[str] = set()
    new = []
    for place in range(length):
        shown = repr([each[place] for each in lists])
        if shown not in seen:
            new.append(place)
        seen.add(shown)
    rest = [place for place in range(length) if place not in new]
    return sorted([*new, *rest[: max(0, _LAYERS - len(new))]])


def _kinds_there(form: Form, raw: Mapping[str, Any]) -> set[str]:
    """The rows of which a config has parameters."""
    return {value.row.name for value in form.evaluated(raw) if value.times > 0}


def _layers(form: Form, model: PreTrainedModel, raw: Mapping[str, Any]) -> dict[str, str]:
    """The starred path of each layer that LoRA adapts -> its kind; "other" where its row does not tell its size."""
    found: dict[str, str] = {}
    there: collections.Counter[str] = collections.Counter()
    for path, module in model.named_modules():
        kind, name = _kind(module), starred(path)
        if kind is None:
            continue
        there[name] += 1
        if found.setdefault(name, kind) != kind:
            found[name] = "other"
    times = {id(value.row): value.times for value in form.evaluated(raw)}
    return {
        path: kind if there[path] == sum(times[id(row)] for row in rows_of(form, f"{path}.weight")) else "other"
        for path, kind in found.items()
    }


def _kind(module: nn.Module) -> str | None:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    if not isinstance(module, (nn.Linear, Conv1D, nn.Embedding, nn.MultiheadAttention, *convolutions)):
        return None
    parts = {name for name, _ in module.named_parameters()}
    if parts not in ({"weight"}, {"weight", "bias"}) or isinstance(module, nn.MultiheadAttention):
        return "other"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, Conv1D):
        return "conv1d"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return "convolution" if module.groups == 1 else "other"


def _others(model: PreTrainedModel) -> set[str]:
    """The last names of the modules that LoRA does not adapt."""
    return {path.rpartition(".")[2] for path, module in model.named_modules() if path and not _kind(module)}


def _recorded(form: Form, subject: Subject, targets: str, table: pd.DataFrame) -> dict[str, Any] | None:
    """What PEFT attaches for a group of targets, by starred names; None where names do not tell it."""
    try:
        attached = attach(subject.model(), LoraOptions(r=_RANK, targets=targets), table)
    except Refused as refusal:
        return {"reason": str(refusal)}
    except BadInput:
        return None
    modules, parameters = collections.Counter(map(starred, attached.modules)), _parameters(attached)
    numbers = {id(value.row): value.times for value in form.evaluated(subject.raw)}
    counts = {**{f"{path}.weight": count for path, count in modules.items()}, **parameters}
    if any(count != sum(numbers[id(row)] for row in rows_of(form, name)) for name, count in counts.items()):
        return None
    ranks, indexed = _multiples(attached), _indexed(attached)
    if ranks is None or indexed is None:
        return None
    result: dict[str, Any] = {"modules": list(modules)}
    if indexed:
        result["indexed"] = indexed
    if parameters:
        result["parameters"] = {name: ranks[name] for name in parameters}
    if attached.saved:
        result["saved"] = list(dict.fromkeys(map(starred, attached.saved)))
    return result


def _parameters(attached: Attached) -> dict[str, int]:
    return dict(collections.Counter(map(starred, attached.parameters)))


def _indexed(attached: Attached) -> dict[str, list[str]] | None:
    """Of modules whose name is a number the names that a count shows; None where such a module is all of the path."""
    found: dict[str, set[str]] = {}
    for path in attached.modules:
        if starred(path).endswith("*"):
            found.setdefault(starred(path), set()).add(suffix(path))
    return None if "*" in found else {path: sorted(names) for path, names in found.items()}


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


def _names(subject: Subject, layers: Mapping[str, str], others: set[str], table: pd.DataFrame) -> dict[str, Any]:
    """`names` and `saved`: the last names of layers at which PEFT adapts all that have them, and nothing else."""
    kinds: dict[str, set[str]] = {}
    for path, kind in layers.items():
        kinds.setdefault(path.rpartition(".")[2], set()).add(kind)
    usable = [name for name in kinds if name.isidentifier() and "other" not in kinds[name] and name not in others]
    saved = _saved_at(subject, layers, usable, table)
    if saved is not None:
        return {"names": sorted(usable), "saved": saved}
    each = {name: _saved_at(subject, layers, [name], table) for name in usable}
    copies = [saved for saved in each.values() if saved is not None]
    if any(saved != copies[0] for saved in copies):
        return {"names": [], "saved": []}
    return {
        "names": sorted(name for name, saved in each.items() if saved is not None),
        "saved": copies[0] if copies else [],
    }


def _saved_at(
    subject: Subject, layers: Mapping[str, str], names: Sequence[str], table: pd.DataFrame
) -> list[str] | None:
    """What PEFT copies where it adapts the layers of these last names; None where it adapts others, or refuses."""
    if not names:
        return None
    model = subject.model()
    expected = [path for path, _ in model.named_modules() if path.rpartition(".")[2] in names]
    try:
        attached = attach(model, LoraOptions(r=_RANK, targets=tuple(names)), table)
    except BadInput:
        return None
    if sorted(attached.modules) != sorted(expected) or attached.parameters or attached.rank_pattern:
        return None
    return list(dict.fromkeys(map(starred, attached.saved)))


def _proven(form: Form, subject: Subject, small: Subject, record: dict[str, Any]) -> dict[str, Any]:
    """The record without what is not PEFT's at other configs."""
    trials = list(_trials(form, subject, small))
    for place, raw in enumerate(trials):
        tried = subject.with_fields(raw)
        model = tried.model()
        for path, kind in _layers(form, model, raw).items():
            if record["layers"].get(path) != kind:
                record["layers"][path] = "other"
        others, unfit = _others(model), {path.rpartition(".")[2] for path in _unfit(record["layers"])}
        record["names"] = [name for name in record["names"] if name not in others | unfit]
        tested = [*record["sets"], *([tuple(record["names"])] if record["names"] else [])]
        recorded = dataclasses.replace(form, lora=record)
        wrong = _disagreeing(recorded, tried, tested, _RANKS[place % len(_RANKS)])
        for targets in wrong:
            if isinstance(targets, str):
                del record["sets"][targets]
            else:
                record["names"] = []
    for targets in _doubtful(form, record["sets"], [small.raw, *trials]):
        del record["sets"][targets]
    return record


def _doubtful(form: Form, sets: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sets whose modules by number were the same in all `configs` only because these have as many of them.

    The two layers of a small network in each block have the same two numbers, the blocks themselves others with depth.
    """
    values = [{id(value.row): value.times for value in form.evaluated(raw)} for raw in configs]
    found = []
    for targets, entry in sets.items():
        for path in entry.get("indexed", ()):
            rows = rows_of(form, f"{path}.weight")
            fixed = not any(parsed(row.times).symbols for row in rows)
            if not fixed and len({sum(times[id(row)] for row in rows) for times in values}) == 1:
                found.append(targets)
                break
    return found


def _unfit(layers: Mapping[str, str]) -> Iterator[str]:
    return (path for path, kind in layers.items() if kind == "other")


def _trials(form: Form, subject: Subject, small: Subject) -> Iterator[Mapping[str, Any]]:
    """Two configs to hold a record against: a drawn one, and the subject's own, or where that is large another."""
    from hfcount.formulas.tracing.draws import drawn

    chance, wanted = random.Random(form.model_class), len(_RANKS)
    if sum(value.times for value in form.evaluated(subject.raw)) <= _AFFORDABLE:
        wanted -= 1
        yield subject.raw
    for _ in range(12):
        raw = drawn(form, small.raw, chance, share=0.5)
        try:
            subject.with_fields(raw).model()
        except BadInput:
            continue
        yield raw
        wanted -= 1
        if not wanted:
            return
    yield small.raw


def _disagreeing(
    form: Form, subject: Subject, tested: Sequence[str | tuple[str, ...]], rank: int
) -> list[str | tuple[str, ...]]:
    """Those of the targets for which the record gives a count, and not PEFT's.

    What the record does not tell of a config without some kind of layer is no disagreement.
    """
    options = [LoraOptions(r=rank, targets=targets) for targets in tested]
    lacks, wrong = _lacks(form, subject), []
    for each, real in zip(options, _counts(subject, options), strict=True):
        told = fast_lora(form, subject.raw, each)
        if not (told is None and (real is None or lacks)) and not (real is not None and same(told, real)):
            wrong.append(each.targets)
    return wrong


def _counts(subject: Subject, options: Sequence[LoraOptions]) -> list[LoraCount | None]:
    """PEFT's counts; None for targets that are bad input."""
    try:
        return list(count_lora(subject.model, options))
    except BadInput:
        pass
    found: list[LoraCount | None] = []
    for each in options:
        try:
            found += count_lora(subject.model, [each])
        except BadInput:
            found.append(None)
    return found


def _lacks(form: Form, subject: Subject) -> bool:
    """Whether a config has none of some kind of parameters that the form has."""
    return any(not value.times for value in form.evaluated(subject.raw))


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
