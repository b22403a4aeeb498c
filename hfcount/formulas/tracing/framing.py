"""What a config class brings to a form besides what its constructors read: names, defaults, configs inside it."""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form
from hfcount.formulas.given import filled_in
from hfcount.formulas.tracing.assemble import defaults_read, essential, picked
from hfcount.formulas.tracing.draws import without
from hfcount.formulas.tracing.plant import RUN_TIME, completed, given_by_owner, raw_value
from hfcount.formulas.tracing.writing import equals, literal


def canonical(raw: Mapping[str, Any], config_class: Any) -> dict[str, Any]:
    """`raw` with the names that the class itself uses, and nothing that only a run needs."""
    names = _aliases(config_class)
    result = {names.get(key, key): value for key, value in raw.items() if names.get(key) not in raw}
    result.setdefault("model_type", config_class.model_type)
    return {key: value for key, value in result.items() if key not in ("quantization_config", "torch_dtype", "dtype")}


def _aliases(config_class: Any) -> dict[str, str]:
    """The class's other names of fields -> the fields; a name that is a field itself stays what it is."""
    fields = {field.name for field in dataclasses.fields(config_class)}
    return {alias: name for alias, name in getattr(config_class, "attribute_map", {}).items() if alias not in fields}


def framed(form: Form, base: Mapping[str, Any], given: Mapping[str, Any], config_class: Any) -> Form:
    """`form`, traced from the fields `base` that `given` was completed to, with what the class brings along.

    That is its other names of fields, what else it would look at, and of which types the configs inside it are.
    """
    config = config_class.from_dict(copy.deepcopy(dict(given)))
    noticed = [name for name in _noticed(config) if not isinstance(raw_value(base, name), _Present)]
    present = [name for name in _noticed(config) if isinstance(raw_value(base, name), (bool, str, list, dict))]
    frozen = [f"{name} == {literal(raw_value(base, name))}" for name in present]
    types = [equals(f"{path}model_type", model_type) for path, model_type in _inner_types(config)]
    guards = dict.fromkeys((*types, *form.guards, *frozen))
    return dataclasses.replace(
        form,
        renamed=dict(_all_aliases(config)),
        noticed=tuple(noticed),
        guards=tuple(guards),
        versions={package: importlib.metadata.version(package) for package in ("transformers",)},
    )


_Present = (bool, int, float, str, list, tuple, dict, type(None))


def _noticed(config: Any, prefix: str = "") -> list[str]:
    """Dotted names, no fields of the class, that its own code asks of what it is given: older names, mostly."""
    fields = {field.name for field in dataclasses.fields(config)} | set(getattr(config, "attribute_map", {}))
    names = (name for name in asked_names(config) if name not in fields and name not in RUN_TIME)
    found = {f"{prefix}{name}": None for name in names}
    for field, inner in _inner_configs(config):
        found.update(dict.fromkeys(_noticed(inner, f"{prefix}{field}.")))
    return list(found)


def asked_names(config: Any) -> list[str]:
    """The names that stand as strings in the code that makes a config object: what it may ask of what it is given."""
    found: dict[str, None] = {}
    for cls in type(config).__mro__:
        if not cls.__module__.startswith(("transformers.models.", "hfcount.minigpt")):
            continue
        for name in ("__post_init__", "__init__"):
            code = getattr(vars(cls).get(name), "__code__", None)
            for text in _strings(code) if code is not None else ():
                if text.isidentifier() and len(text) > 2:
                    found.setdefault(text)
    return list(found)


def _strings(code: CodeType) -> list[str]:
    """The strings that stand in a function's code as they are, those of its comprehensions too."""
    found = [each for each in code.co_consts if isinstance(each, str) and each != code.co_consts[0]]
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found += _strings(each)
    return found


def _inner_configs(config: Any) -> Iterator[tuple[str, Any]]:
    """The configs straight inside this one, by their fields."""
    for name, value in vars(config).items():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield name, value


def _all_aliases(config: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted other names of fields, and the fields, of this config and those inside it."""
    for alias, name in _aliases(type(config)).items():
        yield f"{path}{alias}", f"{path}{name}"
    for field, value in _inner_configs(config):
        yield from _all_aliases(value, f"{path}{field}.")


def _inner_types(config: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted path (with its dot) and model type of each config inside: which class is built goes by it."""
    for field, value in _inner_configs(config):
        yield f"{path}{field}.", value.model_type
        yield from _inner_types(value, f"{path}{field}.")


IS_GIVEN = " is not ABSENT"
"""How a guard ends that wants a field to be given."""


def finished(form: Form, base: Mapping[str, Any], config_class: Any) -> Form:
    """A verified form with the conditions that say something, and the class's defaults of all fields that it reads."""
    guards = essential(form.guards)
    wanted = defaults_read(base, [*form.symbols.values(), *guards, *form.buffer_guards])
    try:
        usual = completed({"model_type": base["model_type"]}, config_class())
        if "num_labels" in wanted:
            usual["num_labels"] = config_class().num_labels
    except Exception:  # a class that has no default config
        usual = {}
    config = config_class.from_dict(copy.deepcopy(dict(base)))
    inner = [name for name, _ in _inner_configs(config) if name in wanted]
    defaults = {**usual, **{name: _where_given(name, usual.get(name), config_class) for name in inner}}
    for name in inner:
        _without_disputed(defaults[name], getattr(config, name))
    told, whole = picked(wanted, defaults), picked(wanted, usual)
    for path in (guard.removesuffix(IS_GIVEN) for guard in guards if guard.endswith(IS_GIVEN)):
        told = without(told, path)  # a default would stand for what must be given
    unsaid = {name: whole[name] for name in inner if whole.get(name) and whole[name] != told.get(name)}
    return dataclasses.replace(
        form,
        guards=tuple(guards),
        defaults=filled_in(form.defaults, told),
        unsaid={**form.unsaid, **unsaid},
        noticed=tuple(dict.fromkeys((*form.noticed, *misplaced(form, base, config_class)))),
        buffer_guards=tuple(dict.fromkeys((*form.buffer_guards, *halves(form)))),
    )


def halves(form: Form) -> list[str]:
    """That what rotary embeddings halve is even: some of their kinds round an odd size up, some down."""
    used = {size for row in form.buffers or () for size in row.shape}
    found = (re.fullmatch(r"\((.+) \+ 1\)//2", text) for name, text in form.symbols.items() if name in used)
    return [f"({each[1]}) % 2 == 0" for each in found if each]


def misplaced(form: Form, base: Mapping[str, Any], config_class: Any) -> list[str]:
    """Fields of configs inside that are no fields of their owner: given beside them, some owners hand them down."""
    declared = {field.name for field in dataclasses.fields(config_class)} | set(config_class.attribute_map)
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    inner = {path.rpartition(".")[2] for path in (*read, *form.renamed) if "." in path}
    return sorted(inner - declared - base.keys() - {"model_type"})


def _without_disputed(fields: dict[str, Any], config: Any) -> None:
    """Take out of the configs inside `config` what their own classes have otherwise: who gives them decides then."""
    for name, inner in _inner_configs(config):
        held = fields.get(name)
        if not isinstance(held, dict):
            continue
        try:
            own = completed({}, type(inner)())
        except Exception:  # a class without defaults of its own
            own = {}
        for key in [key for key, value in held.items() if not isinstance(value, dict) and own.get(key) != value]:
            if key != "model_type":
                del held[key]
        _without_disputed(held, inner)


def _where_given(name: str, usual: Any, config_class: Any) -> dict[str, Any]:
    """What the config `name` inside has where it is given and does not say; nothing where the class wants to be told.

    That may be other than what its owner makes of it where nothing is given: the defaults of its own class.
    """
    plain = {"model_type": config_class.model_type}
    model_type = usual.get("model_type") if isinstance(usual, Mapping) else None
    for given in ({}, {"model_type": model_type}):
        try:
            config = config_class.from_dict({**plain, name: dict(given)})
            inner = getattr(config, name)
            found = {**completed(given_by_owner(inner), inner), "model_type": inner.model_type}
        except Exception:  # a class that wants to be told, of the type perhaps
            continue
        if not given and found.get("model_type") == model_type:
            return dict(found)
        if given:
            return {key: value for key, value in found.items() if key != "model_type"}
    return {}


def take_out(fields: dict[str, Any], path: str) -> None:
    """Remove the field at a dotted path, in place."""
    *scopes, last = path.split(".")
    holder: Any = fields
    for scope in scopes:
        holder = holder.get(scope) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.pop(last, None)
