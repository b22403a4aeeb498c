"""A source's raw config.json, with the user's overrides, to the config object of its own class."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.classes import OwnCode, check_names, config_class_for, text_config
from hfcount.deadline import uncounted
from hfcount.errors import BadInput, one_line
from hfcount.foreign_config import model_fields
from hfcount.limits import check_sizes, guarded_build
from hfcount.overrides import override
from hfcount.sealed import is_own_code
from hfcount.sources.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A config object with the raw fields that it was made from.

    Attributes:
        config: the transformers config.
        raw: the published fields after the overrides, those that describe the model alone (`model_fields`).
        where: the model's name, for messages.
        quantization: the published `quantization_config`, if any: the file is packed, the counts are not.
        own_code: the classes that the repository brings along.
        notes: what was changed on the way, a line each.
    """

    config: PreTrainedConfig
    raw: Mapping[str, Any]
    where: str
    own_code: OwnCode
    quantization: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def load_config(source: Source, settings: Sequence[str] = (), *, trust_remote_code: bool = False) -> LoadedConfig:
    """The config of `source` with `settings` ("KEY=VALUE", dotted for nested fields) laid over it.

    Raises BadInput for a config that no model of its type can have, an unknown field in `settings`, or an
    architecture that the installed transformers lacks.
    """
    own_code = OwnCode(source=source, trusted=trust_remote_code)
    with uncounted():  # importing transformers takes seconds, and is no fault of the config
        config_class = config_class_for(checked_fields(source.config, source.model), own_code)
    trusted = is_own_code(config_class)
    raw = checked_fields(source.config, source.model, own_code=trusted)
    notes: list[str] = []
    if settings:
        base = _construct(config_class, raw, source.model)
        notes += override(raw, settings, base, where=source.model)
        raw = checked_fields(raw, source.model, own_code=trusted)
    config = _construct(config_class, raw, source.model)
    _check_heads(config, raw, source.model)
    quantization = source.config.get("quantization_config")
    return LoadedConfig(
        config=config,
        raw=raw,
        where=source.model,
        quantization=quantization if isinstance(quantization, Mapping) else None,
        own_code=own_code,
        notes=tuple(notes),
    )


def checked_fields(config: Mapping[str, Any], where: str, *, own_code: bool = False) -> dict[str, Any]:
    """Return the fields of a raw config that describe the model, see `model_fields`.

    Raises BadInput for names and sizes that no model has.
    """
    raw = model_fields(config, where=where, own_code=own_code)
    check_names(raw, where=where)
    check_sizes(raw, where=where)
    return raw


def _construct(config_class: Any, raw: Mapping[str, Any], where: str) -> PreTrainedConfig:
    # What transformers remarks on a config (token ids beyond the vocabulary, say) does not change a count.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        with guarded_build(where, own_code=is_own_code(config_class)):
            return config_class.from_dict(copy.deepcopy(dict(raw)))
    except BadInput:
        raise
    except Exception as error:  # whatever a config class raises, it is the config that is wrong
        raise BadInput(f"{where}: not a valid {config_class.__name__}: {one_line(error)}") from error


def _check_heads(config: PreTrainedConfig, raw: Mapping[str, Any], where: str) -> None:
    """Raise BadInput where heads do not divide: several classes round down silently and count too little."""
    text = text_config(config)
    heads, kv_heads = _integer(text, "num_attention_heads"), _integer(text, "num_key_value_heads")
    hidden = _integer(text, "hidden_size")
    if heads and kv_heads and heads % kv_heads:
        raise BadInput(f"{where}: {heads:,} attention heads are not a multiple of {kv_heads:,} key-value heads")
    fields = {field.name: field.default for field in dataclasses.fields(type(text))}  # type: ignore[arg-type]
    if heads == fields.get("num_attention_heads") and hidden == fields.get("hidden_size"):
        return  # some classes have such a pair as their default; they are taken at their word
    nested = raw.get("text_config")
    given = {**raw, **(nested if isinstance(nested, Mapping) else {})}
    derived = not any(isinstance(fields.get(name), int) or given.get(name) for name in _HEAD_SIZE_FIELDS)
    if heads and hidden and hidden % heads and derived:
        raise BadInput(f"{where}: hidden size {hidden:,} is not a multiple of its {heads:,} attention heads")


_HEAD_SIZE_FIELDS = (
    "head_dim", "kv_channels", "d_kv", "v_head_dim", "attention_head_dim", "attention_head_size", "dim_head",
    "attention_hidden_size", "hidden_size_per_head",
)  # fmt: skip


def _integer(config: object, name: str) -> int | None:
    try:
        value = getattr(config, name, None)
    except Exception:  # a config whose layers differ refuses to name one value for all of them
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
