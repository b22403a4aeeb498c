"""Random configs that meet a form's conditions: small, and other than the traced one in as many fields as can be."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hfcount.formulas.activations import ACTIVATIONS
from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.plant import RUN_TIME

_SIZES = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    12,
    14,
    16,
    18,
    20,
    24,
    28,
    30,
    32,
    36,
    40,
    48,
    56,
    60,
    64,
    72,
    80,
    96,
    112,
    128,
)
_FEW_LAYERS = 3
_TRIES = 6
Place = tuple[str | int, ...]


def drawn(form: Form, base: Mapping[str, Any], chance: random.Random, *, share: float = 1.0) -> dict[str, Any]:
    """A config that the form covers, made from the completed fields `base` by changing fields one after the other.

    `share` is the part of the fields that are tried. Fields that the form reads are changed most; of the others some,
    to see that they do not matter.
    """
    raw: dict[str, Any] = copy.deepcopy(dict(base))
    layers = layer_fields(form)
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    places = list(_places(raw))
    chance.shuffle(places)
    for place in places:
        path = _path(place)
        wanted = share if path in read else share / 6
        if chance.random() > wanted:
            continue
        for _ in range(_TRIES if _is_there(raw, place) else 0):
            changed = _changed(raw, place, path, chance, layer=path in layers, choices=_choices(form, path))
            if changed is not None and form.covers(changed):
                raw = changed
                break
    return raw


def one_by_one(form: Form, base: Mapping[str, Any], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Configs that the form covers and that differ from `base` in one field that it reads, each field in turn."""
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    layers, raw = layer_fields(form), few_layers(form, base)
    for place in _places(raw):
        path = _path(place)
        if path in read:
            for _ in range(_TRIES):
                changed = _changed(raw, place, path, chance, layer=path in layers, choices=_choices(form, path))
                if changed is not None and form.covers(changed):
                    yield changed
                    break


def few_layers(form: Form, base: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with few layers, where the form covers that: quicker to build, and as telling."""
    raw, chance = copy.deepcopy(dict(base)), random.Random(0)
    layers = layer_fields(form)
    for place in _places(base):
        if _path(place) not in layers or not _is_there(raw, place):
            continue
        if type(old := _at(raw, place)) is int and old > _FEW_LAYERS:
            tried = copy.deepcopy(raw)
            _put(tried, place, _FEW_LAYERS)
            _resize_lists(tried, place, old, _FEW_LAYERS, chance)
            raw = tried if form.covers(tried) else raw
    return raw


def layer_fields(form: Form) -> set[str]:
    """The fields that say how often something repeats: small numbers are drawn for them."""
    symbols = {name for row in form.rows for name in re.findall(r"[A-Za-z_]\w*", row.times)}
    found = {path for symbol in symbols for path in field_paths(form.symbols.get(symbol, "0"))}
    loops = (guard for guard in form.guards if " for " in guard)
    return found | {path for guard in loops for path in field_paths(guard)}


def _choices(form: Form, path: str) -> tuple[str, ...]:
    return ACTIVATIONS if f"{path} in ACTIVATIONS" in form.guards else ()


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every number, truth and string in the fields, lists and nested configs too."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in RUN_TIME and not key.endswith("_config_dict"):
                yield from _places(each, (*place, key))
    elif isinstance(value, list):
        if len(value) <= 64:
            for index, each in enumerate(value):
                yield from _places(each, (*place, index))
    elif value is not None or str(place[-1]).endswith("_token_id"):
        yield place


def _path(place: Place) -> str:
    return ".".join(str(part) for part in place if isinstance(part, str))


def _changed(
    raw: dict[str, Any], place: Place, path: str, chance: random.Random, *, layer: bool, choices: tuple[str, ...]
) -> dict[str, Any] | None:
    """A copy with another value at `place`; None where there is no other."""
    old = _at(raw, place)
    name = str(place[-1])
    if name.endswith(("_token_id", "_token_ids", "_index")):
        new: Any = chance.choice((None, 0, 1, 2)) if not isinstance(old, list) else old
    elif isinstance(old, bool):
        new = not old
    elif isinstance(old, int):
        new = _number(old, name, chance, layer)
    elif isinstance(old, float) and "drop" in name:
        new = chance.choice((0.0, 0.1, 0.5))
    elif isinstance(old, float):
        new = round(old * chance.choice((0.5, 0.9, 1.1, 2.0)), 6)
    elif isinstance(old, str):
        new = chance.choice(choices) if choices else old
    else:
        return None
    if new == old and type(new) is type(old):
        return None
    changed = copy.deepcopy(raw)
    _put(changed, place, new)
    if layer and isinstance(old, int) and not isinstance(old, bool) and isinstance(new, int):
        _resize_lists(changed, place, old, new, chance)
    return changed


def _number(old: int, name: str, chance: random.Random, layer: bool) -> int:
    if layer:
        return chance.choice((1, 2, 3, 4, 5, 6, 7, 8, old + 1))
    if "vocab" in name:
        return chance.choice((1009, 1511, 2003, old + 1, old + 101))
    if old <= 0:
        return chance.choice((old, 0, 1, 2))
    return chance.choice((*_SIZES, old * 2, max(1, old // 2), old + 1))


def _resize_lists(raw: dict[str, Any], place: Place, old: int, new: int, chance: random.Random) -> None:
    """Lists with one entry a layer follow the number of layers."""
    holder = _at(raw, place[:-1])
    for key, value in holder.items() if isinstance(holder, dict) else ():
        if isinstance(value, list) and len(value) == old and value and not isinstance(value[0], (list, dict)):
            holder[key] = (value[:new]) + [chance.choice(value) for _ in range(new - old)]


def _at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


def _is_there(value: Any, place: Place) -> bool:
    """Whether a place is still there: lists may have become shorter."""
    try:
        _at(value, place)
    except (LookupError, TypeError):
        return False
    return True


def _put(value: Any, place: Place, new: Any) -> None:
    _at(value, place[:-1])[place[-1]] = new


def changed_places(base: Mapping[str, Any], other: Mapping[str, Any], place: Place = ()) -> list[Place]:
    """The places at which two configs differ; a list as a whole where its length does."""
    found: list[Place] = []
    for key in other:
        one, two = base.get(key), other[key]
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            found += changed_places(one, two, (*place, key))
        elif one != two or type(one) is not type(two):
            found.append((*place, key))
    return found


def with_places(base: Mapping[str, Any], other: Mapping[str, Any], places: list[Place]) -> dict[str, Any]:
    """`base` with the values of `other` at `places`."""
    mixed = copy.deepcopy(dict(base))
    for place in places:
        _put(mixed, place, copy.deepcopy(_at(other, place)))
    return mixed


def shortened(raw: dict[str, Any], form: Form, chance: random.Random) -> dict[str, Any]:
    """`raw`, or one time in three without some of its fields, as published configs leave out what is usual."""
    if chance.random() > 1 / 3:
        return raw
    shorter = raw
    for path in _all_paths(raw):
        if chance.random() < 0.15 and form.covers(tried := without(shorter, path)):
            shorter = tried
    return shorter


def _all_paths(raw: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted paths of all fields but the type of the whole, those inside a field before it."""
    for key, value in raw.items():
        if isinstance(value, Mapping) and key.endswith("config"):
            yield from _all_paths(value, f"{prefix}{key}.")
        if key != "model_type" or prefix:
            yield f"{prefix}{key}"


def without(raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy without the field at a dotted path."""
    shorter = copy.deepcopy(dict(raw))
    *scopes, last = path.split(".")
    holder: Any = shorter
    for scope in scopes:
        holder = holder.get(scope) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.pop(last, None)
    return shorter


def left_out(base: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted paths of the fields that `base` has and `other` has not."""
    found = []
    for key, value in base.items():
        if key not in other:
            found.append(f"{prefix}{key}")
        elif isinstance(value, Mapping) and isinstance(other[key], Mapping):
            found += left_out(value, other[key], f"{prefix}{key}.")
    return found
