"""What a form knows of config fields besides those that its expressions read.

The conventions and the check of the heads ask a config for its width, its depth and the like, by the names that
transformers gives them. `PlainConfig` answers from config.json and the form's defaults; `with_config_fields` puts the
defaults and the other names of those fields into a form when it is catalogued, and leaves a form alone whose class
works them out in a way that its fields do not tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hfcount.classes import text_config
from hfcount.foreign_config import TEXT_PARTS
from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form

HEAD_SIZES = (
    "head_dim", "kv_channels", "d_kv", "v_head_dim", "attention_head_dim", "attention_head_size", "dim_head",
    "attention_hidden_size", "hidden_size_per_head",
)  # fmt: skip
HEADS = ("num_attention_heads", "num_key_value_heads")
SIZES = ("hidden_size", "num_hidden_layers", "max_position_embeddings", "num_nextn_predict_layers")
MARK = "is_encoder_decoder"
"""A field of every config class: a form whose defaults have it is completed."""


class PlainConfig:
    """A config's fields as attributes, as its config object has them: nested ones too, and by their other names."""

    def __init__(self, fields: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
        self._fields = fields
        self._renamed = renamed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        own = name if name in self._fields else self._renamed.get(name, name)
        if own not in self._fields:
            raise AttributeError(name)
        value = self._fields[own]
        return PlainConfig(value, _inside(own, self._renamed)) if isinstance(value, Mapping) else value

    def to_dict(self) -> dict[str, Any]:
        """The fields as config.json has them, as transformers' own configs give them."""
        return dict(self._fields)

    def get_text_config(self, decoder: bool | None = None) -> PlainConfig:
        """The part about the language model, by the names that transformers looks for; ValueError for several."""
        names = TEXT_PARTS[: 3 if decoder else 4]
        found = [name for name in names if isinstance(self._fields.get(name), Mapping)]
        if len(found) > 1:
            raise ValueError(f"several text configs: {', '.join(found)}")
        return getattr(self, found[0]) if found else self


def _inside(part: str, renamed: Mapping[str, str]) -> dict[str, str]:
    """The renamed fields of the nested config `part`, by their names inside it."""
    start = f"{part}."
    return {
        alias[len(start) :]: name[len(start) :]
        for alias, name in renamed.items()
        if alias.startswith(start) and name.startswith(start)
    }


def is_completed(form: Form) -> bool:
    """Whether the form knows the fields that are read besides those of its expressions."""
    return MARK in form.defaults


def with_config_fields(form: Form) -> Form:
    """`form` with its class's defaults and other names of the fields that are read besides those of its expressions.

    Given back as it is where the class's default config, or the one that the form was traced from, has another value
    in one of them than its fields tell: such a class works it out itself. Imports transformers.
    """
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)

    config_class = CONFIG_MAPPING[form.model_type]
    defaults, renamed = _known_of(config_class)
    for part, nested_class in (getattr(config_class, "sub_configs", None) or {}).items():
        if part in TEXT_PARTS and dataclasses.is_dataclass(nested_class):
            nested, names = _known_of(nested_class)
            defaults[part] = nested
            renamed.update({f"{part}.{alias}": f"{part}.{name}" for alias, name in names.items()})
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    renamed = {alias: name for alias, name in renamed.items() if alias not in read}
    result = dataclasses.replace(form, defaults=_merged(form.defaults, defaults), renamed={**renamed, **form.renamed})
    try:
        told = _tells(result, example_of(form), config_class)
    except Exception:  # whatever a config class raises: then nothing is known of it
        return form
    return result if told else form


def example_of(form: Form) -> dict[str, Any]:
    """The config.json that a form was traced from, without its quantization."""
    from hfcount.sources.cards import load_card

    card, given = form.example.get("card"), form.example.get("config")
    raw = load_card(card).config if card else given or {"model_type": form.model_type}
    return {key: value for key, value in raw.items() if key != "quantization_config"}


def _known_of(config_class: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """(field -> default, other name -> field) of a config class, for the fields that are read."""
    declared = {field.name: field.default for field in dataclasses.fields(config_class)}
    # A field may be declared by one name and kept by another, which its class does not declare.
    kept_as = {name: alias for alias, name in config_class.attribute_map.items() if name not in declared}
    renamed = {
        alias: name
        for alias, name in config_class.attribute_map.items()
        if alias not in declared or name not in declared
    }
    wanted = {renamed.get(name, name) for name in (*SIZES, *HEADS, *HEAD_SIZES, MARK)}
    said = {
        name: declared.get(name, declared.get(kept_as.get(name, ""), getattr(config_class, name, dataclasses.MISSING)))
        for name in sorted(wanted)
    }
    defaults = {name: value for name, value in said.items() if value is None or isinstance(value, int)}
    defaults.setdefault(MARK, False)
    return defaults, renamed


def _merged(own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with what only `more` has, nested mappings too."""
    merged = dict(own)
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(own.get(key), Mapping):
            merged[key] = _merged(own[key], value)
        else:
            merged.setdefault(key, value)
    return merged


def _tells(form: Form, raw: Mapping[str, Any], config_class: Any) -> bool:
    """Whether the fields of `raw` tell of each size what the config object does."""
    config = config_class.from_dict(dict(raw))
    plain = PlainConfig(form.fields(raw), form.renamed)
    if bool(getattr(config, MARK, False)) is not bool(getattr(plain, MARK, False)):
        return False
    return all(_size(config, name) == _size(plain, name) for name in SIZES)


def _size(config: Any, name: str) -> int | None:
    """What the conventions get when they ask for a size: of the text config first, a positive integer or None."""
    for holder in (text_config(config), config):
        value = getattr(holder, name, None)
        if type(value) is int and value > 0:
            return value
    return None
