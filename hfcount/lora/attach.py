"""PEFT's own `get_peft_model` on a skeleton, and what it attached to.

How PEFT 0.21 treats a mixture of experts (peft/utils/transformers_weight_conversion.py, `_convert_peft_config_moe`,
called at the start of `BaseTuner.inject_adapter`): transformers 5 fuses the experts into 3-D parameters
(gate_up_proj: E x 2f x d, down_proj: E x d x f). For the model types whose checkpoints transformers converts by the
pattern of another type (transformers/conversion_mapping.py, `_MODEL_TO_CONVERSION_PATTERN`: mixtral itself, and by
qwen2_moe's pattern qwen3_moe, deepseek_v3, olmoe, glm4_moe, ...), PEFT turns the old names of the experts' matrices
(w1, w3, w2; gate_proj, up_proj, down_proj) and of the router (gate) into `target_parameters`, gives the fused
gate_up_proj twice the rank, since it holds two matrices, and wraps each in a `ParamWrapper`
(peft/tuners/lora/layer.py), whose A is (r·E) x in and whose B is out x (r·E). `all-linear` counts as naming them all.
Three consequences, which are read from what was attached and not assumed:

1. Other mixtures (gpt_oss, granitemoe, qwen2_moe itself) keep their experts without adapters under `all-linear`.
2. The old names leave the list of modules, so in a converted model the Linear layers of the same name (the dense
   first layers and the shared experts of deepseek_v3) get no adapter under `all-linear` or by name.
3. The conversion leaves an empty list in place of "no targets given", so PEFT's default for mixtral attaches nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.configs import one_line
from hfcount.deadline import uncounted
from hfcount.errors import BadInput
from hfcount.limits import guarded_build
from hfcount.lora.options import TARGET_GROUPS, LoraOptions
from hfcount.quiet import quiet_bitsandbytes

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# The components whose matrices `attention` and `mlp` mean. In a mixture of experts the routed experts are the MLP:
# they are taken as modules where they are modules, and as parameters where they are fused. The router is neither.
GROUPS = {"attention": ("attention",), "mlp": ("mlp", "shared_experts", "experts")}

# PEFT's task types matter to the count: with these three PEFT trains a copy of the new head as well.
_TASKS = (
    ("ForSequenceClassification", "SEQ_CLS"),
    ("ForTokenClassification", "TOKEN_CLS"),
    ("ForQuestionAnswering", "QUESTION_ANS"),
)
_SET = re.compile(r"\{('[^{}:]*')\}")
"""A set of names in a message: its order changes with every process."""


class Refused(Exception):
    """PEFT attaches nothing for a group of targets; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attached:
    """A model with adapters.

    Attributes:
        model: PEFT's wrapper around the base model.
        modules: the paths, in the base model, of the modules that got an adapter.
        parameters: the names, in the base model, of the parameters that were wrapped directly.
        saved: the paths of the modules that are copied and trained in full.
        rank_pattern: the ranks that PEFT applied where they are not r, its own conversions included.
    """

    model: nn.Module
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    saved: tuple[str, ...]
    rank_pattern: Mapping[str, int]


def attach(model: PreTrainedModel, options: LoraOptions, table: pd.DataFrame) -> Attached:
    """`model`, wrapped in place, with the adapters of `options`; `table` is its inventory.

    Raises BadInput for names that fit nothing, and Refused where PEFT attaches nothing to a group that it or the
    inventory chose.
    """
    logger.info("attaching LoRA to %s, r = %d", type(model).__name__, options.r)
    hint = _names_that_match(model)  # asked now: afterwards the layers are inside PEFT's
    _check_names(model, options, hint)
    modules, parameters = _resolve(model, options, table, hint)
    config = _peft_config(model, options, modules, parameters)
    attached = _read(_wrap(model, config, options, hint))
    _check_reached(options, config, attached, hint)
    return attached


def _peft_config(model: PreTrainedModel, options: LoraOptions, modules: Any, parameters: tuple[str, ...]) -> Any:
    with quiet_bitsandbytes():
        from peft import LoraConfig

    return LoraConfig(
        task_type=task_type(model),
        r=options.r,
        target_modules=modules,
        target_parameters=list(parameters) or None,
        modules_to_save=list(options.modules_to_save) or None,
        rank_pattern=dict(options.rank_pattern),
        use_dora=options.use_dora,
        bias=options.bias,  # type: ignore[arg-type]
        ensure_weight_tying=options.ensure_weight_tying,
    )


def task_type(model: PreTrainedModel) -> str | None:
    """PEFT's task type for the class of `model`; None where PEFT has none for it."""
    name = type(model).__name__
    for ending, task in _TASKS:
        if name.endswith(ending):
            return task
    if not model.can_generate() or "input_ids" not in inspect.signature(type(model).forward).parameters:
        return None  # PEFT's wrappers give a model `input_ids`; one that hears or sees is trained in the plain one
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


def _wrap(model: PreTrainedModel, config: Any, options: LoraOptions, hint: str) -> Any:
    """PEFT's wrapper; BadInput for names that it cannot adapt, Refused for a group that it attaches nothing to."""
    import torch

    with quiet_bitsandbytes(), uncounted():
        from peft import get_peft_model

    try:
        # Under the meta device nothing is allocated even in passing, however large the rank.
        with guarded_build("LoRA"), warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            return get_peft_model(model, config, low_cpu_mem_usage=True)
    except BadInput:
        raise
    except Exception as error:  # PEFT says what it cannot adapt in errors of several kinds
        if options.targets in TARGET_GROUPS and not options.target_parameters:
            raise Refused(_why_refused(model, options, error)) from error
        raise BadInput(
            f"LoRA targets {_asked(options)}: {_what_failed(error, 'no module has such a name')}; {hint}"
        ) from error


def _what_failed(error: Exception, unmatched: str) -> str:
    """PEFT's words on one line, or `unmatched` where nothing matched."""
    if type(error).__name__ == "NoMatchingPeftModuleError":  # by name: an older PEFT may lack the class
        return unmatched
    return _SET.sub(_in_order, one_line(error).rstrip("."))


def _in_order(shown: re.Match[str]) -> str:
    """A set as Python shows it, in an order that is the same in every process."""
    return "{" + ", ".join(sorted(shown[1].split(", "))) + "}"


def _why_refused(model: PreTrainedModel, options: LoraOptions, error: Exception) -> str:
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    model_type = model.config.model_type
    if options.targets != "default":
        return f"PEFT refuses {options.targets} for model type {model_type!r}: {_what_failed(error, 'no layer fits')}"
    known = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model_type)
    if known is None:
        return f"PEFT has no default targets for model type {model_type!r}; name them, or take all-linear"
    names = known if isinstance(known, str) else ", ".join(known)
    why = _what_failed(error, "no layer fits")
    return (
        f"PEFT's default targets for model type {model_type!r} ({names}) attach nothing: {why}; "
        "name targets, or take all-linear"
    )


def _read(wrapped: Any) -> Attached:
    from peft.utils.other import ModulesToSaveWrapper

    tuner = wrapped.base_model
    prefix = "base_model.model."
    saved = tuple(
        name.removeprefix(prefix)
        for name, module in wrapped.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
    )
    return Attached(
        model=wrapped,
        modules=tuple(dict.fromkeys(tuner.targeted_module_names)),
        parameters=tuple(dict.fromkeys(tuner.targeted_parameter_names)),
        saved=saved,
        rank_pattern=dict(wrapped.peft_config["default"].rank_pattern or {}),
    )


def _resolve(
    model: PreTrainedModel, options: LoraOptions, table: pd.DataFrame, hint: str
) -> tuple[str | list[str] | None, tuple[str, ...]]:
    """What to hand to PEFT as `target_modules` and `target_parameters`."""
    if options.targets == "default":
        return None, options.target_parameters
    if options.targets == "all-linear":
        return "all-linear", options.target_parameters
    if options.targets not in GROUPS:
        return list(options.targets), options.target_parameters
    rows = table[table["component"].isin(GROUPS[str(options.targets)])]
    linear = {name for name, _ in linear_modules(model)}
    modules = [name for name in dict.fromkeys(rows["module"]) if name in linear]
    fused = tuple(rows.loc[rows["component"].str.endswith("experts") & (rows["shape"].map(len) == 3), "name"])
    if not modules and not fused:
        raise BadInput(f"LoRA targets {options.targets}: this model has no linear layer there; {hint}")
    return modules, options.target_parameters + fused


def linear_modules(model: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """The paths and modules of all layers that PEFT calls linear: Linear and transformers' Conv1D."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return ((name, each) for name, each in model.named_modules() if isinstance(each, (nn.Linear, Conv1D)))


def suffix(name: str) -> str:
    """The last part of a module's path; with the part before it where the last is only an index."""
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]


def _names_that_match(model: PreTrainedModel) -> str:
    """The distinct last names of the linear layers, sorted, for a message."""
    names = sorted({suffix(name) for name, _ in linear_modules(model)})
    return f"names that match: {', '.join(names) or 'none'}"


def _asked(options: LoraOptions) -> str:
    return options.targets if isinstance(options.targets, str) else ", ".join(options.targets)


def _check_names(model: PreTrainedModel, options: LoraOptions, hint: str) -> None:
    """Raise BadInput for modules to save and parameters that the model does not have: PEFT passes over them."""
    modules = [name for name, _ in model.named_modules()]
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for name in options.modules_to_save:
        if not any(each.endswith(name) for each in modules):
            raise BadInput(f"LoRA modules_to_save: no module is called {name!r}; {hint}")
    for name in options.target_parameters:
        if not _matches(name, parameters):
            fused = sorted({suffix(each) for each, p in model.named_parameters() if p.ndim == 3})
            raise BadInput(
                f"LoRA target_parameters: no parameter is called {name!r}; fused ones: {', '.join(fused) or 'none'}"
            )
    if isinstance(options.targets, tuple):
        _check_supported(model, options.targets, hint)


def _check_supported(model: PreTrainedModel, targets: tuple[str, ...], hint: str) -> None:
    """Raise BadInput if a target is no layer that LoRA adapts: a norm, or a module that holds layers."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    kinds = (nn.Linear, Conv1D, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
    for path, module in model.named_modules():
        if not isinstance(module, kinds) and any(_matches(name, [path]) for name in targets):
            raise BadInput(f"LoRA targets: {path} is a {type(module).__name__}, which LoRA does not adapt; {hint}")


def _matches(name: str, paths: list[str]) -> bool:
    """Whether `name` is one of `paths` or the end of one, as PEFT matches it."""
    return any(path == name or path.endswith(f".{name}") for path in paths)


def _check_reached(options: LoraOptions, config: Any, attached: Attached, hint: str) -> None:
    """Raise BadInput for a name or a pattern that reached nothing: PEFT passes over it in silence.

    PEFT removes from its list the old names of experts that it turned into parameters, so what is left must match.
    """
    reached = [*attached.modules, *attached.parameters]
    if isinstance(options.targets, tuple) and isinstance(config.target_modules, (set, list)):
        for name in options.targets:
            if name in config.target_modules and not _matches(name, list(attached.modules)):
                raise BadInput(f"LoRA targets {name}: no module has such a name; {hint}")
    for pattern in options.rank_pattern:
        if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in reached):
            raise BadInput(f"LoRA rank_pattern: {pattern!r} fits no module with an adapter")
