"""Every field of a class's config changed alone, and what a form says of it beside what the class builds.

Random draws change the fields that a form reads, so they cannot see a field that the form does not know. Here every
name that the class could look at is changed: declared fields, attributes that its config works out itself (an extra
key in config.json replaces them), other names of fields, and names that its code asks for.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.deadline import Overdue
from hfcount.errors import BadInput
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.draws import few_layers, layer_fields, without
from hfcount.formulas.tracing.framing import asked_names, canonical
from hfcount.formulas.tracing.plant import completed, raw_value
from hfcount.formulas.tracing.reality import built

if TYPE_CHECKING:
    from hfcount.formulas.tracing.search import Subject

_IS_ABSENT = " is ABSENT"
_FEW = 2
_ASKING = ("transformers.models.", "transformers.modeling_", "transformers.configuration_utils", "hfcount.minigpt")
_OF_ALL = ("validate_token_ids", "__iter__")
"""Functions that ask for every field."""

_NEVER = frozenset({"model_type", "architectures", "auto_map", "transformers_version", "quantization_config"})
"""Fields that choose the class or that hfcount reads itself; no variant changes them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A config that differs from its base in one field: `value` at the dotted `path`, or the field left out."""

    path: str
    value: Any
    base: Mapping[str, Any]
    raw: Mapping[str, Any]

    @property
    def is_left_out(self) -> bool:
        return self.value is LEFT_OUT


class _LeftOut:
    def __repr__(self) -> str:
        return "left out"


LEFT_OUT = _LeftOut()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """What a form and its class say of one variant.

    `said` and `built` are parameters; `said` is None where the form refuses, `built` where the class does, and
    `reason` says why. `agrees` also compares the shapes.
    """

    variant: Variant
    said: int | None
    built: int | None
    agrees: bool
    reason: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the form gives a number that the class does not: another one, or one where the class refuses."""
        return self.said is not None and not self.agrees


def bases(form: Form, subject: Subject) -> Iterator[dict[str, Any]]:
    """Yield the configs to change fields of: with all fields filled in, then as given, both of few layers."""
    plain = canonical(subject.raw, subject.config_class)
    whole = completed(plain, subject.config_class.from_dict(copy.deepcopy(plain)))
    absent = (guard.removesuffix(_IS_ABSENT) for guard in form.guards if guard.endswith(_IS_ABSENT))
    for path in (*form.noticed, *absent):
        whole = without(whole, path) if is_given(whole, path) and not is_given(plain, path) else whole
    whole = few_layers(form, json.loads(json.dumps(whole)))  # with lists for the tuples that defaults may be
    short = few_layers(form, plain)
    for path in layer_fields(form):
        if is_given(whole, path) and not is_given(short, path):
            short = with_value(short, path, raw_value(whole, path)) or short
    for raw in (whole, short if form.covers(short) else plain):
        if form.covers(raw) and _shapes_built(subject, raw) is not None:
            yield raw


def variants(base: Mapping[str, Any], subject: Subject, *, most: int | None = None) -> Iterator[Variant]:
    """Yield `base` with each field changed alone, to at most so many values.

    A field that no code of transformers asks for has fewer.
    """
    config = subject.config_class.from_dict(copy.deepcopy(dict(base)))
    read = _names_read(base, subject)
    for path in dict.fromkeys(_names(config, "")):
        present = is_given(base, path)
        old = raw_value(base, path) if present else _attribute(config, path)
        names = {path.rpartition(".")[2], type(config).attribute_map.get(path, path)}
        is_read = bool(names & read)
        yield from changed(base, path, itertools.islice(_values(old), most if is_read else _FEW))
        if present and is_read:
            yield Variant(path=path, value=LEFT_OUT, base=base, raw=without(base, path))


def changed(base: Mapping[str, Any], path: str, values: Iterable[Any]) -> Iterator[Variant]:
    """Yield `base` with each of the values at a dotted path, but for the one that it has there."""
    present, given = is_given(base, path), raw_value(base, path)
    for value in values:
        if not present or value != given or type(value) is not type(given):
            raw = with_value(base, path, value)
            if raw is not None:
                yield Variant(path=path, value=value, base=base, raw=raw)


def more_sizes(base: Mapping[str, Any], path: str) -> Iterator[Variant]:
    """Yield `base` with more integers at a dotted path that holds one: what tells divisors and bounds apart."""
    old = raw_value(base, path) if is_given(base, path) else None
    if type(old) is int:
        near = (old + 2, old + 4, old + 8, 3 * old, old + old // 2, 10 * old)
        yield from changed(base, path, dict.fromkeys((*near, 3, 4, 6, 10, 12, 16, 30, 33, 64, 100)))


def _names_read(base: Mapping[str, Any], subject: Subject) -> set[str]:
    """The names that config and model classes ask a config for while a model is made, or look for in what is given."""
    from transformers import PreTrainedConfig

    original, found = PreTrainedConfig.__getattribute__, set[str]()

    def read(self: Any, key: str) -> Any:
        frame = sys._getframe(1)
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.startswith(_ASKING) and function not in _OF_ALL:
            found.add(key)
        return original(self, key)

    PreTrainedConfig.__getattribute__ = read  # type: ignore[method-assign]
    try:
        model = built(base, subject.config_class, subject.model_class)
    finally:
        PreTrainedConfig.__getattribute__ = original  # type: ignore[method-assign]
    parts = (module.config for module in model.modules() if hasattr(getattr(module, "config", None), "model_type"))
    return found.union(*(asked_names(config) for config in {id(each): each for each in parts}.values()))


def _names(config: Any, prefix: str) -> Iterator[str]:
    declared = [field.name for field in dataclasses.fields(config)]
    worked_out = [name for name in vars(config) if not name.startswith("_")]
    for name in (*declared, *worked_out, *type(config).attribute_map, *asked_names(config)):
        if name not in _NEVER and not name.startswith("_") and name.isidentifier():
            yield f"{prefix}{name}"
    for name, value in vars(config).items():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from _names(value, f"{prefix}{name}.")


def _attribute(config: Any, path: str) -> Any:
    value = config
    for part in path.split("."):
        try:
            value = getattr(value, part, None)
        except Exception:  # a property that cannot be worked out
            return None
    return value


def _values(old: Any) -> Iterator[Any]:
    """Yield the other values that a field which holds `old` is tried with, values of wrong kinds too."""
    if isinstance(old, bool):
        yield from (not old, None, 1)
    elif isinstance(old, int):
        yield from (old + 1, 2 * old, None, 1, 2, 0, -1, old + 0.5, str(old))
    elif isinstance(old, float):
        yield from (2 * old, 1.0, 0.0, 1, None, "1")
    elif isinstance(old, str):
        yield from (f"no_such_{old}"[:40], None, 1)
    elif isinstance(old, (list, tuple)):
        yield from (list(old)[:-1], [*old, *list(old)[-1:]], [], None, 1)
        if old and all(type(each) is int for each in old):
            yield from ([2 * each for each in old], [each + 1 for each in old], [0.5 for _ in old])
    elif isinstance(old, Mapping):
        yield from ({}, None, 1, "config")
        for key in list(old)[:8]:
            yield {name: value for name, value in old.items() if name != key}
    elif old is None:
        yield from (1, 2, 8, True, 0.5, "x", [1], {})


def is_given(raw: Mapping[str, Any], path: str) -> bool:
    """Say whether `raw` has a field at a dotted path."""
    holder: Any = raw
    *scopes, last = path.split(".")
    for scope in scopes:
        holder = holder.get(scope) if isinstance(holder, Mapping) else None
    return isinstance(holder, Mapping) and last in holder


def with_value(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any] | None:
    """Return a copy with `value` at the dotted path; None where what holds it is no config."""
    changed = copy.deepcopy(dict(raw))
    *scopes, last = path.split(".")
    holder = changed
    for scope in scopes:
        inner = holder.setdefault(scope, {})
        if not isinstance(inner, dict):
            return None
        holder = inner
    holder[last] = value
    return changed


def held(form: Form, variant: Variant, subject: Subject) -> Held:
    """Return what the form and the class say of a variant. The class is not asked where the form refuses."""
    said = _shapes_said(form, variant.raw)
    if said is None:
        return Held(variant=variant, said=None, built=None, agrees=True)
    try:
        real = shapes_of(built(variant.raw, subject.config_class, subject.model_class))
    except Overdue:
        raise
    except BadInput as error:
        return Held(variant=variant, said=_total(said), built=None, agrees=False, reason=str(error))
    return Held(variant=variant, said=_total(said), built=_total(real), agrees=said == real)


def write_no_configs() -> None:
    """Have this process write no config out: `from_dict` does, for a log that nobody reads, in half of its time."""
    from transformers import PreTrainedConfig

    PreTrainedConfig.__repr__ = object.__repr__  # type: ignore[method-assign]


def _shapes_built(subject: Subject, raw: Mapping[str, Any]) -> Counter[tuple[int, ...]] | None:
    try:
        return shapes_of(built(raw, subject.config_class, subject.model_class))
    except Overdue:
        raise
    except BadInput:
        return None


def shapes_of(model: Any) -> Counter[tuple[int, ...]]:
    """Count a model's parameters by shape, tied ones once."""
    return Counter(tuple(each.shape) for each in model.parameters())


def _shapes_said(form: Form, raw: Mapping[str, Any]) -> Counter[tuple[int, ...]] | None:
    try:
        rows = form.evaluated(raw)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        return None
    found: Counter[tuple[int, ...]] = Counter()
    for row in rows:
        found[row.shape] += row.times
    return +found


def _total(shapes: Counter[tuple[int, ...]]) -> int:
    total = 0
    for shape, times in shapes.items():
        size = times
        for each in shape:
            size *= each
        total += size
    return total
