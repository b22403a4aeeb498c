"""Which transformers classes a config names: its config class and its model class."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.errors import BadInput, UnknownModelType, one_line, shown
from hfcount.sources.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# For a config that names no architecture: the heads that a user most likely means, first match wins.
_DEFAULT_HEADS = (
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForMaskedLM",
    "AutoModelForImageClassification",
    "AutoModelForAudioClassification",
    "AutoModelForCTC",
    "AutoModelForPreTraining",
    "AutoModel",
)


def architectures(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names in the config's `architectures`; empty where the field is absent or unusable."""
    names = raw.get("architectures") or ()
    if isinstance(names, str):
        names = (names,)
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, (list, tuple)) else ()


def others_named(names: tuple[str, ...]) -> str:
    """The note for a config that names more architectures than the one that is counted."""
    others = ", ".join(name if name.isidentifier() else repr(name) for name in names[1:])
    return f"architectures also names {others}; --class counts another"


def none_named(counted_as: str) -> str:
    """The note for a config that names no architecture."""
    return f"config.json names no architecture; counted as {counted_as}"


def check_names(raw: Mapping[str, Any], *, where: str) -> None:
    """Raise BadInput if `model_type` is no string or `architectures` no list of them; null is as good as absent."""
    model_type, names = raw.get("model_type"), raw.get("architectures")
    if model_type is not None and not isinstance(model_type, str):
        raise BadInput(f'{where}: model_type = {shown(model_type)}; a string like "llama" was expected')
    listed = [names] if isinstance(names, str) else [] if names is None else names
    if not isinstance(listed, (list, tuple)) or not all(isinstance(name, str) for name in listed):
        raise BadInput(f"{where}: architectures = {shown(names)}; a list of class names was expected")


def model_class_named(name: str) -> type[PreTrainedModel] | None:
    """The model class of that name in transformers or in the house's own Mini-GPT; None if there is none.

    Only subclasses of PreTrainedModel that can run are answered (not the bases, such as GPT2PreTrainedModel), so a
    name in a config cannot reach anything else.
    """
    import transformers
    from torch import nn

    import hfcount.minigpt

    # Looking a name up imports its module, so only the modules of models are reached.
    homes: list[Any] = [hfcount.minigpt]
    if ".modeling_" in getattr(transformers, "_class_to_module", {}).get(name, ""):
        homes.append(transformers)
    for home in homes:
        found = getattr(home, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found if found.forward is not nn.Module.forward else None
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnCode:
    """The classes that a repository brings along, and whether the user lets them run.

    They are named by its config.json as it stands: what a class is built from names none, see `model_fields`.
    """

    source: Source
    trusted: bool = False

    @property
    def auto_map(self) -> Mapping[str, Any]:
        """FILE.CLASS for each Auto class; empty where the repository has no code of its own."""
        auto_map = self.source.config.get("auto_map")
        return auto_map if isinstance(auto_map, Mapping) else {}


def config_class_for(raw: Mapping[str, Any], own_code: OwnCode) -> Any:
    """The config class for the raw fields: by model_type or, where that is absent, by the architecture.

    Raises UnknownModelType, or BadInput where the config names nothing to go by. The repository's own
    code is imported only if it is trusted, and only where transformers itself has no such type.
    """
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)

    model_type = raw.get("model_type")
    if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
        return CONFIG_MAPPING[model_type]
    where = own_code.source.model
    if "AutoConfig" in own_code.auto_map:
        return _own_class(own_code, "AutoConfig")
    if not model_type:
        return _config_class_by_architecture(raw, where)
    near = difflib.get_close_matches(str(model_type).lower(), list(CONFIG_MAPPING), n=3)
    hint = f"; near names: {', '.join(near)}" if near else ""
    raise UnknownModelType(
        f"{where}: model_type {model_type!r} is not known to the installed transformers{hint}; "
        "a newer transformers may have it"
    )


def _config_class_by_architecture(raw: Mapping[str, Any], where: str) -> Any:
    for name in architectures(raw):
        model_class = model_class_named(name)
        if model_class is not None and model_class.config_class is not None:
            return model_class.config_class
    raise BadInput(f"{where}: config.json has neither a model_type nor an architecture that transformers knows")


def model_class_for(
    config: PreTrainedConfig,
    raw: Mapping[str, Any],
    *,
    where: str,
    class_name: str | None = None,
    own_code: OwnCode | None = None,
) -> tuple[type[PreTrainedModel], tuple[str, ...]]:
    """The class to build, and a note for each choice that the config left open.

    `class_name` is the user's wish; else the first of the config's `architectures`; else the default head
    of the model type. Raises BadInput where the name is no transformers model class.
    """
    if class_name is not None:
        return _wished_class(config, class_name, where), ()
    named = architectures(raw)
    if named:
        found = _class_called(config, named[0])
        if found is None and own_code is not None and own_code.auto_map:
            return _own_model_class(own_code, named[0]), ()
        if found is None:
            raise BadInput(f"{where}: architecture {named[0]!r} is no model class of transformers{_near(named[0])}")
        return found, (others_named(named),) if named[1:] else ()
    return _default_class(config, where)


def _wished_class(config: PreTrainedConfig, class_name: str, where: str) -> type[PreTrainedModel]:
    found = _class_called(config, class_name)
    if found is None:
        raise BadInput(f"--class {class_name}: no model class of transformers{_near(class_name)}")
    if fitting_config(config, found) is None:
        raise BadInput(
            f"--class {class_name}: wants a {getattr(found.config_class, '__name__', 'different config')}, "
            f"but {where} has a {type(config).__name__}"
        )
    return found


def _class_called(config: PreTrainedConfig, name: str) -> type[PreTrainedModel] | None:
    return model_class_named(name) or _registered_class(config, name)


def _registered_class(config: PreTrainedConfig, name: str) -> type[PreTrainedModel] | None:
    """The class of that name that this process registered for the config's own type, by AutoModel.register.

    One of transformers' own that cannot run is none here either, see model_class_named.
    """
    return next((found for found in _heads_of(config) if found.__name__ == name and _runs(found)), None)


def _runs(model_class: type[PreTrainedModel]) -> bool:
    """Return whether the class has a forward; BadInput for one that stands in for a library that is not installed."""
    from torch import nn

    try:
        return model_class.forward is not nn.Module.forward
    except ImportError as error:
        raise BadInput(one_line(error)) from error


def _heads_of(config: PreTrainedConfig) -> Iterator[type[PreTrainedModel]]:
    """The classes of a config's type in the auto mappings, language models first."""
    import transformers

    for head in _DEFAULT_HEADS:
        mapping = getattr(transformers, head)._model_mapping
        if type(config) in mapping:
            found = mapping[type(config)]
            yield from found if isinstance(found, (list, tuple)) else (found,)


def _default_class(config: PreTrainedConfig, where: str) -> tuple[type[PreTrainedModel], tuple[str, ...]]:
    for found in _heads_of(config):
        return found, (none_named(found.__name__),)
    raise BadInput(f"{where}: config.json names no architecture and {type(config).__name__} has no default one")


def fitting_config(config: PreTrainedConfig, model_class: type[PreTrainedModel]) -> PreTrainedConfig | None:
    """The config that `model_class` is built from: `config`, or its text config where the class wants that.

    None where neither fits. Some model types share another type's classes, so a class that the auto mappings
    pair with the config fits too.
    """
    from transformers.models.auto import modeling_auto

    wanted = model_class.config_class
    text = text_config(config)
    if wanted is None or isinstance(config, wanted):
        return config
    if isinstance(text, wanted):
        return text
    if wanted.__name__ == type(config).__name__ and wanted.__module__.startswith("transformers_modules."):
        return config  # transformers imports a folder's own code under a name for each of its files
    for name, mapping in vars(modeling_auto).items():
        if name.endswith("_MAPPING") and type(config) in mapping and mapping[type(config)] is model_class:
            return config
    return None


def text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of `config` that describes the (decoding) language model; the config itself where it is that."""
    try:
        found = config.get_text_config()
    except ValueError:  # a text encoder and a decoder: the decoder is the language model
        found = config.get_text_config(decoder=True)
    return (
        found if hasattr(found, "get_text_config") else config
    )  # plain fields that the class itself knows nothing of


def _near(name: str) -> str:
    import transformers

    known = (each for each in dir(transformers) if "For" in each or each.endswith("Model"))
    names = {each.lower(): each for each in known if not each.startswith("Auto") and "pretrained" not in each.lower()}
    near = difflib.get_close_matches(name.lower(), list(names), n=3, cutoff=0.7)
    return f"; near names: {', '.join(names[each] for each in near)}" if near else "; --class NAME counts as another"


def _check_trusted(own_code: OwnCode) -> None:
    """Raise UnknownModelType where the user has not said that the repository's own code may run."""
    if not own_code.trusted:
        raise UnknownModelType(
            f"{own_code.source.model}: its architecture is the repository's own code, which is neither imported nor "
            "run unless you say so with --trust-remote-code"
        )


def _own_class(own_code: OwnCode, auto_class: str) -> Any:
    """The class that the repository's own code gives for `auto_class`; this imports that code, where it is trusted."""
    _check_trusted(own_code)
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    source = own_code.source
    reference = own_code.auto_map[auto_class]
    reference = reference[0] if isinstance(reference, (list, tuple)) and reference else reference
    if not isinstance(reference, str) or "." not in reference:
        raise BadInput(f"{source.model}: auto_map names {shown(reference)} as {auto_class}; FILE.CLASS was expected")
    place = source.model if source.kind == "hub" else source.location
    try:
        return get_class_from_dynamic_module(reference, place, revision=source.revision)
    except Exception as error:
        raise BadInput(
            f"{source.model}: its own code cannot be loaded ({type(error).__name__}: {one_line(error)})"
        ) from error


def _own_model_class(own_code: OwnCode, name: str) -> Any:
    _check_trusted(own_code)
    for auto_class, reference in own_code.auto_map.items():
        if auto_class != "AutoConfig" and str(reference).endswith(f".{name}"):
            return _own_class(own_code, auto_class)
    raise BadInput(f"{own_code.source.model}: its auto_map has no class {name!r}")
