"""A config.json as a form reads it: own names for other names, defaults for what is left out.

The Python function of a form carries the source of what is here and in `hfcount.formulas.kinds`, so both read a config
by the same code: nothing is used but builtins and each other, and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def disputes(raw: Mapping[str, Any], noticed: Iterable[str], renamed: Mapping[str, str]) -> Iterator[str]:
    """Yield the conditions on what is given that `raw` breaks.

    A form knows nothing of the fields in `noticed`; a field has one value by all of its names; and a classifier has as
    many labels as `id2label` names.
    """
    for path in noticed:
        if given_at(raw, path)[0]:
            yield f"{path} is not given"
    for alias, name in renamed.items():
        one, other = given_at(raw, alias), given_at(raw, name)
        if one[0] and other[0] and one != other:
            yield f"{alias} and {name} are the same"
    if labels_disputed(raw):
        yield "id2label has as many labels as num_labels says"


def given_at(raw: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Return (True, the value) of a dotted field, (False, None) where `raw` has none."""
    value: Any = raw
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return True, value


def labels_disputed(raw: Mapping[str, Any]) -> bool:
    """Say whether `num_labels` and `id2label` say two things, here or in a config inside."""
    named, number = raw.get("id2label"), raw.get("num_labels")
    if isinstance(named, dict) and number is not None and number != len(named):
        return True
    return any(labels_disputed(value) for value in raw.values() if isinstance(value, dict))


def by_own_names(raw: Mapping[str, Any], renamed: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """Return `raw` by the names that a form's expressions use, configs inside it too."""
    result: dict[str, Any] = {}
    for key, value in raw.items():
        name = renamed.get(f"{prefix}{key}", f"{prefix}{key}")[len(prefix) :]
        if name == key or name not in raw:
            inside = isinstance(value, dict) and any(each.startswith(f"{prefix}{name}.") for each in renamed)
            result[name] = by_own_names(value, renamed, f"{prefix}{name}.") if inside else value
    return result


def completed(
    given: Mapping[str, Any], unsaid: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return `given` with what it leaves out: configs inside by `unsaid`, fields by `defaults`, labels counted."""
    inner = {name: value for name, value in unsaid.items() if not isinstance(given.get(name), dict)}
    return with_labels(filled_in({**given, **inner}, defaults))


def filled_in(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` over `defaults`, configs inside too; one that is null has its defaults."""
    filled = dict(given)
    for key, default in defaults.items():
        if isinstance(default, dict):
            inner = filled.get(key)
            filled[key] = filled_in(inner if isinstance(inner, dict) else {}, default)
        else:
            filled.setdefault(key, default)
    return filled


def with_labels(given: dict[str, Any]) -> dict[str, Any]:
    """Return `given` with `num_labels`: as many as `id2label` names, else 2, as transformers' PreTrainedConfig."""
    named = given.get("id2label")
    number = len(named) if isinstance(named, dict) else given.get("num_labels", 2)
    inner = {
        key: with_labels(value) if isinstance(value, dict) and key.endswith("config") else value
        for key, value in given.items()
    }
    return {**inner, "num_labels": number}
