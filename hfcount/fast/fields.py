"""A raw config.json read without its config class: settings laid over it, its fields as attributes, their kinds."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hfcount.classes import text_config
from hfcount.fast.reasons import NotCovered
from hfcount.formulas.config_fields import HEAD_SIZES, PlainConfig, example_of
from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form
from hfcount.overrides import json_value
from hfcount.sources.cards import load_card

_MISSING = object()


def lay_over(raw: dict[str, Any], settings: Sequence[str], forms: Iterable[Form]) -> None:
    """Lay each "KEY=VALUE" over `raw` in place.

    What a field may be is known from the published value or, where there is none, from the default in a form of the
    model type; NotCovered for any other field or kind of value, so that the config class decides.
    """
    known = list(forms) if settings else []
    for setting in settings:
        key, separator, text = setting.partition("=")
        path = key.strip().split(".")
        if not separator or not key.strip() or path[-1] == "model_type":
            raise NotCovered(f"--set {setting} is for the config class to judge")
        name = _own_name(raw, path, known)
        holder: dict[str, Any] = raw
        for part in path[:-1]:
            nested = holder.get(part)
            holder[part] = nested if isinstance(nested, dict) else {}
            holder = holder[part]
        value, old = json_value(text.strip()), _known_value(holder, [*path[:-1], name], known)
        if old is _MISSING or not _same_kind(value, old):
            raise NotCovered(f"--set {setting} is for the config class to judge")
        if _may_be_a_length(old, holder.values()):
            raise NotCovered(f"--set {setting} may want lists of another length")
        holder[name] = value


def _may_be_a_length(old: Any, beside: Iterable[Any]) -> bool:
    """Whether a list `beside` the field has as many entries as the field says, so that it may have to follow."""
    is_count = isinstance(old, int) and not isinstance(old, bool)
    return is_count and any(isinstance(each, list) and len(each) == old for each in beside)


def _own_name(raw: Mapping[str, Any], path: list[str], forms: Sequence[Form]) -> str:
    """The last part of the path as the class calls it; NotCovered where the config has the field by two names."""
    if len(path) > 1:
        return path[-1]
    renamed = {alias: name for form in forms for alias, name in form.renamed.items()}
    name = renamed.get(path[0], path[0])
    if any(alias in raw for alias, own in renamed.items() if own == name and alias != name):
        raise NotCovered(f"{name} goes by another name in the config")
    return name


def _known_value(holder: Mapping[str, Any], path: list[str], forms: Iterable[Form]) -> Any:
    """What the config says in the field, else a form's default; _MISSING where the field is unknown."""
    if path[-1] in holder:
        return holder[path[-1]]
    for form in forms:
        value: Any = form.defaults
        for part in path:
            value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is not _MISSING:
            return value
    return _MISSING


def _same_kind(value: Any, old: Any) -> bool:
    """Whether a field that holds `old` may hold `value`: an int for an int; where nothing is said, an int."""
    if old is None:
        return value is None or type(value) is int
    return type(value) is type(old)


def check_fields(form: Form, raw: Mapping[str, Any]) -> None:
    """NotCovered where a field that the form reads is of another kind than it was traced with, or may stand elsewhere.

    `raw` is covered by the form. Of the usual kind is what is like the default, like the field of the config that the
    form was traced from, or what a guard asks for to the letter.
    """
    fields = form.fields(raw)
    for path in {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}:
        value, default = _at(fields, path), _at(form.defaults, path)
        if default is _MISSING or isinstance(default, Mapping) or _same_kind(value, default):
            continue
        traced = _at(traced_fields(form), path)
        if (traced is _MISSING or type(value) is not type(traced)) and not _asked_for(form, path, value):
            raise NotCovered(f"{path} is not of its usual kind")
    for name, default in form.defaults.items():
        if isinstance(default, Mapping) and not isinstance(raw.get(name), Mapping):
            flat = [inner for inner in default if inner in raw]
            if flat:  # older configs have the fields of a nested config beside it, which some classes understand
                raise NotCovered(f"{flat[0]} stands outside {name}")
    _check_heads(PlainConfig(fields, form.renamed))


def traced_fields(form: Form) -> Mapping[str, Any]:
    """The config that the form was traced from; a card is read once."""
    card = form.example.get("card")
    return _fields_of_card(card) if isinstance(card, str) else example_of(form)


@functools.lru_cache(maxsize=256)
def _fields_of_card(card: str) -> Mapping[str, Any]:
    return {key: value for key, value in load_card(card).config.items() if key != "quantization_config"}


def _asked_for(form: Form, path: str, value: Any) -> bool:
    """Whether a guard says that the field is just this: `path is None`, `path == [...]`."""
    return any(guard in (f"{path} is {value!r}", f"{path} == {value!r}") for guard in form.guards)


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for part in path.split("."):
        value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


def _check_heads(config: PlainConfig) -> None:
    """NotCovered where heads do not divide: the long way knows which classes allow it."""
    text = text_config(config)  # type: ignore[arg-type]
    heads, kv_heads, hidden = (
        getattr(text, name, None) for name in ("num_attention_heads", "num_key_value_heads", "hidden_size")
    )
    if type(heads) is not int or heads < 1:
        return
    if type(kv_heads) is int and kv_heads > 0 and heads % kv_heads:
        raise NotCovered("the heads are no multiple of the key-value heads")
    given = any(getattr(text, name, None) for name in HEAD_SIZES)
    if type(hidden) is int and hidden % heads and not given:
        raise NotCovered("the width is no multiple of the heads")
