"""The user's `--set KEY=VALUE` laid over a raw config.json."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def override(raw: dict[str, Any], settings: Sequence[str], base: PreTrainedConfig, *, where: str) -> list[str]:
    """Lay each "KEY=VALUE" over `raw` in place; returns a note for each further field that had to follow."""
    notes: list[str] = []
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key.strip():
            raise BadInput(f"--set {setting}: write it as KEY=VALUE, for example --set num_hidden_layers=4")
        path = key.strip().split(".")
        if path[-1] == "model_type":
            raise BadInput(
                f"--set {setting}: a model's type cannot be overridden; its fields belong to {where}'s type"
            )
        holder, config = _holder(raw, base, path, where)
        name = _known_field(config, holder, path, base, where)
        old, value = holder.get(name, getattr(config, name, None)), json_value(text.strip())
        holder[name] = value
        if not isinstance(config, Mapping):
            notes += _fit_layer_lists(holder, config, name, old, value)
    return notes


def json_value(text: str) -> Any:
    """What the VALUE of a setting stands for: JSON, Python's True, False and None, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(text, text)


def _holder(raw: dict[str, Any], base: PreTrainedConfig, path: list[str], where: str) -> tuple[dict[str, Any], Any]:
    """The raw dict and the config object that hold the last name of a dotted `path`."""
    holder = raw
    config: Any = base
    for part in path[:-1]:
        config = config.get(part) if isinstance(config, Mapping) else getattr(config, part, None)
        if not hasattr(config, "to_dict") and not isinstance(config, Mapping):
            raise _unknown_field(where, path, base)
        nested = holder.get(part)
        holder[part] = nested if isinstance(nested, dict) else {}
        holder = holder[part]
    return holder, config


def _known_field(
    config: PreTrainedConfig | Mapping[str, Any],
    holder: Mapping[str, Any],
    path: list[str],
    base: PreTrainedConfig,
    where: str,
) -> str:
    """The config's own name for the field (an `attribute_map` name is translated); BadInput if there is none."""
    if isinstance(config, Mapping):  # a field that holds plain JSON, such as rope_parameters
        if path[-1] in config or path[-1] in holder:
            return path[-1]
        raise _unknown_field(where, path, base)
    name = config.attribute_map.get(path[-1], path[-1])
    if name in field_names(config) or name in holder:
        return name
    raise _unknown_field(where, path, base)


def field_names(config: PreTrainedConfig) -> set[str]:
    """The names of the fields that the class of `config` declares, with the aliases of its attribute map."""
    declared = {field.name for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set()
    return {name for name in declared | set(config.attribute_map) if not name.startswith("_")}


def _unknown_field(where: str, path: list[str], base: PreTrainedConfig) -> BadInput:
    names = set(field_names(base))
    for part in names.copy():
        nested: Any = getattr(base, part, None)
        if hasattr(nested, "attribute_map"):
            names |= {f"{part}.{name}" for name in field_names(nested)}
    asked = ".".join(path)
    same_leaf = sorted(name for name in names if name.split(".")[-1] == path[-1])
    near = same_leaf or difflib.get_close_matches(asked, sorted(names), n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(near[:3])}?" if near else ""
    return BadInput(f"{where}: --set {asked}: {type(base).__name__} has no such field{hint}")


def _fit_layer_lists(holder: dict[str, Any], config: Any, name: str, old: Any, new: Any) -> list[str]:
    """Cut the lists that hold one entry a layer when fewer layers are asked for; a note for each."""
    depth = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    if name != depth or not isinstance(old, int) or not isinstance(new, int) or not 0 <= new < old:
        return []
    cut = [key for key, value in holder.items() if isinstance(value, list) and len(value) == old and _one_a_layer(key)]
    for key in cut:
        holder[key] = holder[key][:new]
    return [f"{key} cut to its first {new} entries, one a layer" for key in cut]


def _one_a_layer(key: str) -> bool:
    """Whether a list that is as long as the stack is deep can be about its layers: tokens and labels are not."""
    return not key.endswith(("_id", "_ids", "tokens", "labels")) and key != "architectures"
