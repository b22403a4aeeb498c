"""Putting values that remember into a config: into its raw fields before its class reads them, and after."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.formulas.tracing.numbers import SymbolicInt, plain
from hfcount.formulas.tracing.recorder import Loop, Recorder, active, is_ignored
from hfcount.formulas.tracing.sequences import DerivedList, Segments, SymbolicList, remembering
from hfcount.formulas.tracing.writing import equals

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PATH = "_path_in_config"

# Fields that no constructor makes parameters of: what a run, a tokenizer, a loss or a file needs.
RUN_TIME = frozenset(
    {
        "architectures", "auto_map", "attn_implementation", "chunk_size_feed_forward", "dtype", "id2label",
        "label2id", "model_type", "name_or_path", "output_attentions", "output_hidden_states", "problem_type",
        "return_dict", "rope_parameters", "rope_scaling", "rope_theta", "task_specific_params", "tokenizer_class",
        "torch_dtype", "torchscript", "transformers_version", "transformers.js_config", "use_cache", "default_theta",
        "quantization_config", "pretraining_tp", "keys_to_ignore_at_inference", "attribute_map", "sub_configs",
        "finetuning_task", "prefix", "language", "_name_or_path", "_attn_implementation", "_experts_implementation",
        "_attn_implementation_internal", "_experts_implementation_internal", "_output_attentions", "_commit_hash",
        "num_labels", "is_heterogeneous", "per_layer_config", "base_model_tp_plan", "base_model_pp_plan",
        "base_model_fsdp_plan", "sub_configs_defaults", "base_config_key", "has_no_defaults_at_init",
    }
)  # fmt: skip


def completed(raw: Mapping[str, Any], config: PreTrainedConfig) -> dict[str, Any]:
    """`raw` with every field of its class that it leaves out, at the class's default, nested configs too.

    Fields that the class works out when they are absent have None as default, so they stay to be worked out.
    """
    result = {key: copy.deepcopy(value) for key, value in raw.items()}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value: Any = vars(config).get(field.name)
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            given = result.get(field.name)
            inner = given if isinstance(given, Mapping) else given_by_owner(value)
            result[field.name] = {**completed(inner, value), "model_type": value.model_type}
        elif field.name in result or field.name.startswith("_"):
            continue
        elif field.default is not dataclasses.MISSING:
            result[field.name] = copy.deepcopy(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            result[field.name] = field.default_factory()
    return {key: value for key, value in result.items() if _is_json(value)}


def given_by_owner(config: Any) -> dict[str, Any]:
    """What a config around this one gave it where nothing was given: its values that are not its class's defaults."""
    try:
        usual = vars(type(config)())
    except Exception:  # a class that has no defaults of its own
        return {}
    derived = {each.name for each in dataclasses.fields(config) if each.default is None and usual.get(each.name)}
    names = (each.name for each in dataclasses.fields(config) if each.name not in derived)
    values = {name: vars(config).get(name) for name in names if vars(config).get(name) != usual.get(name)}
    values = {name: value for name, value in values.items() if _is_json(value) and not hasattr(value, "to_dict")}
    return {**values, **_not_worked_out(config, values)}


def _not_worked_out(config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `config` has otherwise than its class would work out from `given`: the stages of a backbone, say."""
    try:
        again = type(config)(**copy.deepcopy(dict(given))).to_dict()
    except Exception:  # a class that wants more than it is known to be given
        return {}
    said = config.to_dict()
    return {
        key: value
        for key, value in said.items()
        if value != again.get(key) and _is_json(value) and not isinstance(value, dict) and key != "model_type"
    }


def _is_json(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_json(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, (str, int)) and _is_json(each) for key, each in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def planted(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`raw` with its numbers replaced by ones that remember their field; lists and nested configs too.

    Strings and booleans come later (`plant`): config classes check their exact types.
    """
    result: dict[str, Any] = {}
    for key, value in raw.items():
        path = f"{prefix}{key}"
        if key in RUN_TIME or not key.isidentifier():
            result[key] = value
        elif isinstance(value, Mapping):
            result[key] = planted(value, f"{path}.") if _is_config(key, value) else value
        elif isinstance(value, (list, tuple)):
            result[key] = _planted_list(value, path)
        elif isinstance(value, (bool, str)):
            result[key] = value
        else:
            result[key] = remembering(value, path)
    return result


def _is_config(key: str, value: Mapping[str, Any]) -> bool:
    return "model_type" in value or key.endswith("config")


def _planted_list(values: Any, path: str) -> Any:
    """The elements that are numbers remember their place; lists in lists too."""
    return [
        each if isinstance(each, (bool, str)) else
        _planted_list(each, f"{path}[{place}]") if isinstance(each, (list, tuple)) else
        remembering(each, f"{path}[{place}]")
        for place, each in enumerate(values)
    ]  # fmt: skip


def plant(
    config: PreTrainedConfig, raw: Mapping[str, Any], recorder: Recorder, *, exact_types: bool, path: str = ""
) -> None:
    """Replace the booleans, strings and lists of a config object, and of those inside it, by ones that remember.

    A list that is no raw field was worked out in a loop of the config class: it remembers that loop. With
    `exact_types` booleans and strings stay as they are, and reading them is a condition.
    """
    attributes = vars(config)
    attributes[PATH] = path
    for name, value in list(attributes.items()):
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            given = raw.get(name)
            if vars(value).get(PATH) is None:
                inner = given if isinstance(given, Mapping) else {}
                plant(value, inner, recorder, exact_types=exact_types, path=f"{path}{name}.")
        elif name in RUN_TIME or name.startswith("_"):
            continue
        elif isinstance(value, (list, tuple)) and not isinstance(value, SymbolicList) and value:
            attributes[name] = _remembered_list(value, raw.get(name), f"{path}{name}", recorder)
        elif type(value) in (bool, str) and name in raw and plain(raw[name]) == value and not exact_types:
            attributes[name] = remembering(value, f"{path}{name}")


def _remembered_list(value: Any, given: Any, path: str, recorder: Recorder) -> Any:
    if isinstance(value, Segments) and not value.changed:
        return value
    if isinstance(given, (list, tuple)) and plain(list(given)) == plain(list(_elements(value))):
        return SymbolicList(value, path)
    loop = _loop_behind(value, recorder.loops)
    return DerivedList(value, loop) if loop is not None else value


def _elements(value: Any) -> Any:
    return list.__iter__(value) if isinstance(value, list) else value


def _loop_behind(values: Any, loops: list[Loop]) -> Loop | None:
    """The loop that worked out a list: as long, and its conditions tell its values apart; None where none fits."""
    values = list(_elements(values))
    fitting = []
    for loop in loops:
        if loop.times != len(values) or not loop.over.startswith("range") or len(loop.paths) != loop.times:
            continue
        by_path: dict[Any, Any] = {}
        if all(by_path.setdefault(tuple(path), each) == each for path, each in zip(loop.paths, values, strict=True)):
            fitting.append((len(by_path) - len(set(map(repr, values))), loop))
    return min(fitting, key=lambda each: each[0])[1] if fitting else None


@contextlib.contextmanager
def watched_reads() -> Iterator[None]:
    """A context in which what model code reads of a config, and cannot remember, is noted with its value."""
    from transformers import PreTrainedConfig

    original = PreTrainedConfig.__getattribute__
    labels = PreTrainedConfig.num_labels

    def read(self: Any, key: str) -> Any:
        recorder = active()
        before = len(recorder.loops) if recorder is not None else 0
        try:
            value = original(self, key)
        except AttributeError:
            _note_read(self, key, _MISSING, original)
            raise
        if value is None or isinstance(value, (bool, str, dict)) or type(value) is list:
            _note_read(self, key, value, original)
        if recorder is not None and type(value) is list and len(recorder.loops) > before:  # a property's own loop
            loop = _loop_behind(value, recorder.loops[before:])
            return DerivedList(value, loop) if loop is not None else value
        return value

    def num_labels(self: Any) -> Any:
        value = labels.fget(self)  # type: ignore[attr-defined]
        path = vars(self).get(PATH)
        return value if path is None or value is None else SymbolicInt.atom(value, f"{path}num_labels")

    PreTrainedConfig.__getattribute__ = read  # type: ignore[method-assign]
    PreTrainedConfig.num_labels = property(num_labels, labels.fset)  # type: ignore[assignment,attr-defined]
    try:
        yield
    finally:
        PreTrainedConfig.__getattribute__ = original  # type: ignore[method-assign]
        PreTrainedConfig.num_labels = labels  # type: ignore[method-assign,assignment]


class _Missing:
    def __repr__(self) -> str:
        return "ABSENT"


_MISSING = _Missing()


def _note_read(config: Any, key: str, value: Any, original: Any) -> None:
    recorder = active()
    if recorder is None or recorder.paused or key.startswith("__") or hasattr(value, "text"):
        return
    key = original(config, "attribute_map").get(key, key)
    if key in RUN_TIME or key.startswith("_") or key.endswith(("_token_id", "_token_ids", "_index")):
        return
    frame = sys._getframe(2)
    module = frame.f_globals.get("__name__", "")
    if not module.startswith(("transformers.models.", "transformers.modeling_", "hfcount.minigpt")) or is_ignored(
        frame
    ):
        return
    if module.startswith("transformers.modeling_") and not key.startswith("tie_"):
        return
    if isinstance(value, dict) and _is_config(key, value):
        return  # its fields remember for themselves
    recorder.reads.append((config, key, value))


def frozen_reads(recorder: Recorder, raw: Mapping[str, Any]) -> Iterator[str]:
    """The conditions that the reads stand for: what was read has this value, where it is a raw field's."""
    seen = set()
    for config, key, value in recorder.reads:
        path = vars(config).get(PATH)
        if path is None or (path, key) in seen or not key.isidentifier():
            continue
        seen.add((path, key))
        given = raw_value(raw, f"{path}{key}")
        if value is _MISSING:
            if given is not _MISSING:
                continue
            yield f"{path}{key} is ABSENT"
        elif given is not _MISSING and plain(given) == plain(value):
            yield equals(f"{path}{key}", plain(value))


def raw_value(raw: Mapping[str, Any], path: str) -> Any:
    """What `raw` has at a dotted path; _MISSING where it has nothing."""
    value: Any = raw
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value
