"""The kinds of a config class's fields, read from the types that it declares."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from hfcount.formulas.kinds import ANY

_NAMES = {int: "int", float: "float", bool: "bool", str: "str", dict: "dict", list: "list", type(None): "null"}


def kinds_of(config: Any) -> dict[str, str]:
    """Return dotted field -> kind for every field that the class of `config`, or of a config inside it, checks.

    Fields that take any value are left out.
    """
    return {path: kind for path, kind in _kinds(config, "") if kind != ANY}


def _kinds(config: Any, prefix: str) -> Iterator[tuple[str, str]]:
    checked = getattr(type(config), "__validators__", {})
    for field in dataclasses.fields(config):
        if field.name in checked:
            yield f"{prefix}{field.name}", kind_of(field.type)
    for name, value in vars(config).items():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from _kinds(value, f"{prefix}{name}.")


def kind_of(annotation: Any) -> str:
    """Return the kind that stands for a declared type, for values as JSON has them (which has no tuples or sets).

    Follows huggingface_hub.dataclasses.type_validator.
    """
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation in _NAMES:
        return _NAMES[annotation] if annotation is not None else "null"
    if origin in (typing.Union, types.UnionType):
        return "|".join(dict.fromkeys(_alternatives(inside)))
    if origin is typing.Literal:
        return "|".join(map(repr, inside))
    if origin in (list, collections.abc.Sequence):
        strings = "str|" if origin is collections.abc.Sequence and inside in ((), (str,)) else ""
        return strings + (f"list[{kind_of(inside[0])}]" if inside else "list")
    if origin is dict:
        return "dict"
    if origin in (tuple, set) or annotation in (tuple, set):
        return "never"
    if isinstance(annotation, type):
        return "dict" if issubclass(annotation, Mapping) or _is_config(annotation) else "never"
    return ANY


def _alternatives(inside: tuple[Any, ...]) -> list[str]:
    kinds = [kind_of(each) for each in inside]
    return [ANY] if ANY in kinds else [kind for kind in kinds if kind != "never"] or ["never"]


def _is_config(annotation: type) -> bool:
    return hasattr(annotation, "model_type") and hasattr(annotation, "to_dict")
