"""Dotted names of fields in nested configs: "text_config.hidden_size"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def at(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a path; None where there is none."""
    value: Any = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def put(fields: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a path, in place; what stands in the way of a nested config is replaced by one."""
    *scopes, last = path.split(".")
    for scope in scopes:
        inner = fields.get(scope)
        fields[scope] = inner if isinstance(inner, dict) else {}
        fields = fields[scope]
    fields[last] = value


def take_out(fields: dict[str, Any], path: str) -> None:
    """Take the field at a path out, in place, if it is there."""
    scope, _, last = path.rpartition(".")
    holder = at(fields, scope) if scope else fields
    if isinstance(holder, dict):
        holder.pop(last, None)


def every(fields: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of all fields, those of nested configs and those inside them."""
    for key, value in fields.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from every(value, f"{prefix}{key}.")


def related(path: str, paths: Iterable[str]) -> bool:
    """Whether a field is one of `paths`, holds one of them, or stands inside one.

    >>> related("a.b", ["a.b.c"]), related("a.b", ["a"]), related("a.b", ["a.c"])
    (True, True, False)
    """
    return any(path == each or path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in paths)
