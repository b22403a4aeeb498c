"""Any method of PEFT on a model that is built empty, from a published configuration: what trains, and what is there.

PEFT itself reads the configuration and attaches, under torch's meta device, so that nothing is allocated. What a
configuration says about values (where adapters begin, which tokenizer made a prompt) does not change a count and is
left out; so is all that would make PEFT open a file, ask the Hub or import a module.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from hfcount.classes import architectures, model_class_named
from hfcount.configs import LoadedConfig, load_config, one_line
from hfcount.errors import SourceError
from hfcount.inventory import tied_head_size
from hfcount.limits import guarded_build
from hfcount.lora.count import totals
from hfcount.quiet import quiet_bitsandbytes
from hfcount.skeleton import Skeleton, build_skeleton
from hfcount.sources.source import Source

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# PEFT's task types and the classes that transformers has for them (peft/utils/peft_types.py, `TaskType`).
_AUTO_CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "FEATURE_EXTRACTION": "AutoModel",
}
_GENERATING = ("CAUSAL_LM", "SEQ_2_SEQ_LM")

# Of a configuration's fields those that say nothing about a count: who wrote it, and the values that adapters begin
# with; among them each that names a file, a repository or a module of Python.
_LEFT_OUT = frozenset(
    {
        "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
        "init_lora_weights", "init_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
        "megatron_config", "megatron_core", "runtime_config", "prompt_tuning_init", "prompt_tuning_init_text",
        "prompt_tuning_init_state_dict_path", "prompt_tuning_init_task", "tokenizer_name_or_path", "tokenizer_kwargs",
    }
)  # fmt: skip
_LOADS = frozenset({"adapters", "shadow_model", "arrow_config"})
"""Fields that make PEFT load other models or adapters."""


BaseConfig = Callable[[str], Mapping[str, Any] | None]
"""From the name of a base model (`base_model_name_or_path`) to its config.json; None, or a SourceError, where there
is none to be had."""


class Unattached(Exception):
    """PEFT attaches nothing by this configuration; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapted:
    """A model with what a PEFT method adds to it.

    Attributes:
        model: PEFT's wrapper, empty.
        model_class: the class of the base.
        base: parameters of the base, before anything was attached.
        trainable, all: parameters, each once, with what was attached.
        copied: of them, those of the modules that PEFT copies to train them (`modules_to_save`).
        separate_head: of an LM head that config.json calls separate and the class ties; 0 where there is none.
        renamed: target names of the configuration that the model no longer has, and what they are called now.
    """

    model: nn.Module
    model_class: str
    base: int
    trainable: int
    all: int
    copied: int
    separate_head: int
    renamed: Mapping[str, str]

    @property
    def added(self) -> int:
        """Parameters that the method adds, the copies of modules left out."""
        return self.all - self.base - self.copied


def load_base(model: str, config: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> LoadedConfig:
    """The config of the base called `model`, with the fields in `settings` (num_labels, vocab_size) laid over it."""
    settings = dict(settings or {})
    raw = {**config, **settings}
    if "num_labels" in settings:  # the names of the labels would give their number too
        raw = {key: value for key, value in raw.items() if key not in ("id2label", "label2id")}
    return load_config(Source(model=model, kind="card", location="", config=raw))


def named_base(peft: Mapping[str, Any], base_config: BaseConfig | None) -> tuple[str, Mapping[str, Any]] | None:
    """The base that an adapter_config.json names, and its config.json; None where it is not to be had."""
    name = peft.get("base_model_name_or_path")
    if base_config is None or not isinstance(name, str) or not name:
        return None
    try:
        config = base_config(name)
    except SourceError:
        return None
    return None if config is None else (name, config)


def base_skeleton(loaded: LoadedConfig, peft: Mapping[str, Any]) -> Skeleton:
    """The empty base of a PEFT configuration: the class that it names (`model_class`), else that of its task."""
    named, task = (str(peft.get(field) or "") for field in ("model_class", "task_type"))
    return build_skeleton(loaded, class_name=named or _class_of_task(loaded, task))


def _class_of_task(loaded: LoadedConfig, task: str) -> str | None:
    """The class for a task type; None for the config's own, which a generating task takes where it generates."""
    import transformers

    if task not in _AUTO_CLASSES:
        return None
    named = architectures(loaded.raw)
    own = model_class_named(named[0]) if named else None
    if task in _GENERATING and own is not None and issubclass(own, transformers.GenerationMixin):
        return None
    found = getattr(transformers, _AUTO_CLASSES[task])._model_mapping.get(type(loaded.config), None)
    found = found[0] if isinstance(found, (list, tuple)) and found else found
    return found.__name__ if found else None


def adapt(loaded: LoadedConfig, peft: Mapping[str, Any]) -> Adapted:
    """The base of `loaded`, empty, with what the configuration `peft` (as in adapter_config.json) attaches.

    Raises BadInput where the base cannot be built, Unattached where PEFT does not take the configuration.
    """
    skeleton = base_skeleton(loaded, peft)
    model = skeleton.model
    base = totals(model)[1]
    head = tied_head_size(model) if skeleton.published_untied else 0
    renamed = _renamed(model, peft.get("target_modules"))
    wrapped = attach_any(model, {**peft, "target_modules": _with_new_names(peft.get("target_modules"), renamed)})
    trainable, everything = totals(wrapped)
    return Adapted(
        model=wrapped,
        model_class=type(model).__name__,
        base=base,
        trainable=trainable,
        all=everything,
        copied=_copied(wrapped),
        separate_head=head,
        renamed=renamed,
    )


def attach_any(model: nn.Module, peft: Mapping[str, Any]) -> nn.Module:
    """`model`, changed in place, in PEFT's wrapper; raises Unattached where PEFT does not take the configuration."""
    import torch

    with quiet_bitsandbytes():
        from peft import get_peft_model

    config = peft_config(peft)
    logging.getLogger("peft").setLevel(logging.ERROR)
    try:
        with guarded_build("PEFT"), warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            return get_peft_model(model, config, low_cpu_mem_usage=True)
    except Exception as error:  # whatever a method raises, it does not attach
        raise Unattached(f"PEFT attaches no {config.peft_type.value}: {one_line(error)}") from error


def peft_config(peft: Mapping[str, Any]) -> Any:
    """PEFT's own config object for `peft`, without what says nothing about a count and what this PEFT does not know.

    Raises Unattached for a method that it does not know, or fields that it does not take.
    """
    with quiet_bitsandbytes():
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as methods

    name = str(peft.get("peft_type"))
    config_class = {method.value: found for method, found in methods.items()}.get(name)
    if config_class is None:
        raise Unattached(f"the installed PEFT has no method called {name!r}")
    loads = sorted(field for field in _LOADS if peft.get(field))
    if loads:
        raise Unattached(f"{name} with {', '.join(loads)} would load other models")
    known = {field.name for field in dataclasses.fields(config_class)}
    given = {key: value for key, value in peft.items() if key in known - _LEFT_OUT and value is not None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return config_class(**given)
    except Exception as error:  # the config classes check their fields themselves
        raise Unattached(f"PEFT's {config_class.__name__} refuses the configuration: {one_line(error)}") from error


def _copied(wrapped: nn.Module) -> int:
    """Parameters of the copies that PEFT trains in place of modules of the base."""
    from peft.utils.other import ModulesToSaveWrapper

    copies = (each for each in wrapped.modules() if isinstance(each, ModulesToSaveWrapper))
    return sum(parameter.numel() for each in copies for parameter in each.modules_to_save.parameters())


def _renamed(model: nn.Module, targets: object) -> dict[str, str]:
    """Of `targets` those that no module is called, and what the matrices of that name are called now.

    transformers knows what it renamed, since it must read older checkpoints: `WeightRenaming("attention.query",
    "q_proj")` (transformers/conversion_mapping.py). The last names of both sides are held together.
    """
    if not isinstance(targets, (list, tuple, set)):
        return {}
    last = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    gone = [name for name in targets if isinstance(name, str) and name.rpartition(".")[2] not in last]
    if not gone:
        return {}
    now = _renamings(model)
    return {name: now[name] for name in gone if now.get(name) in last}


def _renamings(model: nn.Module) -> dict[str, str]:
    """The last names that transformers renamed in this class: old to new."""
    try:
        from transformers.conversion_mapping import WeightRenaming, get_model_conversion_mapping
    except ImportError:  # transformers 4 renamed nothing
        return {}
    found: dict[str, str] = {}
    for each in get_model_conversion_mapping(cast("PreTrainedModel", model), add_legacy=False):
        if isinstance(each, WeightRenaming):
            for old, new in zip(each.source_patterns, each.target_patterns, strict=False):
                found.setdefault(_last_name(old), _last_name(new))
    return found


def _last_name(pattern: str) -> str:
    return pattern.replace("\\.", ".").strip("^$.").rpartition(".")[2]


def _with_new_names(targets: Any, renamed: Mapping[str, str]) -> Any:
    return [renamed.get(name, name) for name in targets] if renamed else targets
