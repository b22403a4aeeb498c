"""The model of a training step, with its adapters and its quantized weights, given memory or the semblance of it.

PEFT and bitsandbytes do their work on the meta device, where nothing is allocated or moved (`skeleton_of`); then every
parameter and buffer is made anew in the type that the recipe keeps it in (`materialize`): fake ones under
`without_memory`, real ones outside it. So what is simulated and what is measured are the same objects.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hfcount.budget.recipes import Precision
from hfcount.classes import text_config
from hfcount.deadline import in_time
from hfcount.lora.attach import attach
from hfcount.quantization.conversion import converted_modules
from hfcount.quantization.storage import Scheme
from hfcount.quiet import quiet_bitsandbytes
from hfcount.simulation import flash_attn
from hfcount.simulation.plan import FLASH, Wished
from hfcount.workbench import Workbench, kept_in_fp32

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What a step trains.

    Attributes:
        model: the model, wrapped by PEFT where it has adapters, in training mode.
        base: the transformers model in it.
        precision: the element types of this kind of training.
        dtypes: what each parameter of the base is kept in, by each of its names.
        scheme: how its linear layers are quantized; None where they are not.
    """

    model: nn.Module
    base: PreTrainedModel
    precision: Precision
    dtypes: Mapping[str, torch.dtype]
    scheme: Scheme | None


def skeleton_of(bench: Workbench, wished: Wished) -> Subject:
    """The model of `bench` with its adapters and its quantized layers, all on the meta device.

    Raises Refused where PEFT attaches nothing.
    """
    base = bench.build(wished.precision.base).model  # in whose type most buffers are made
    _widen_buffers(base, wished.precision.base)
    _set_attention(base, wished)
    for config in (base.config, text_config(base.config)):
        config.use_cache = False  # as transformers' Trainer does: keys and values are for generating
    quantized = converted_modules(base, wished.scheme) if wished.scheme is not None else ()
    for path in quantized if wished.computed is not None else ():
        base.get_submodule(path).compute_dtype = getattr(torch, str(wished.computed))
    model: nn.Module = base
    if wished.options is not None:
        if wished.scheme is not None and quantized:
            bits = "8bit" if wished.scheme.kind == "int8" else "4bit"
            setattr(base, f"is_loaded_in_{bits}", True)  # PEFT asks for it
            _say_quantized(base)
        model = attach(base, wished.options, bench.table).model
    if wished.checkpointing:
        how = {"use_reentrant": wished.reentrant}
        with warnings.catch_warnings():  # transformers is about to rename it
            warnings.simplefilter("ignore", FutureWarning)
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
        if wished.options is not None:
            base.enable_input_require_grads()
    precision = wished.precision
    return Subject(
        model=model.train(),
        base=base,
        precision=precision,
        dtypes=_dtypes(bench, precision, upcast=precision.upcast and bool(quantized)),
        scheme=wished.scheme if quantized else None,
    )


def _say_quantized(model: PreTrainedModel) -> None:
    """Mark the configs as transformers' quantizers do: what calls FlashAttention asks (`get_target_dtype`)."""
    for each in _pretrained(model):
        each.config._is_quantized = True


def _widen_buffers(model: PreTrainedModel, dtype: str) -> None:
    """Have the buffers in fp32 that transformers loads in fp32 whatever is asked."""
    patterns = [re.compile(each.replace("*", ".*")) for each in kept_in_fp32(model, dtype)]
    for path, module in model.named_modules():
        for leaf, buffer in module._buffers.items():
            wide = any(pattern.search(f"{path}.{leaf}") for pattern in patterns)
            if wide and buffer is not None and buffer.is_floating_point():
                module._buffers[leaf] = buffer.float()


def _set_attention(model: PreTrainedModel, wished: Wished) -> None:
    """Have the model attend as wished; without fused attention a class keeps its own, "eager".

    Raises NoFlash where transformers does not run the class with FlashAttention, or not in this type.
    """
    kind = wished.attention
    if kind == FLASH:
        flash_attn.check_type(getattr(torch, wished.precision.autocast or wished.precision.base))
        _set_flash(model)
        return
    try:
        model.set_attn_implementation(kind)
    except ValueError:
        if kind == "eager":
            raise


def _set_flash(model: PreTrainedModel) -> None:
    lacking = next((each for each in _pretrained(model) if not each._supports_flash_attn), None)
    if lacking is not None:
        raise flash_attn.NoFlash(
            f"--attention {FLASH}: transformers has none for {type(lacking).__name__}, which says "
            "_supports_flash_attn = False: give --attention sdpa"
        )
    with flash_attn.stand_in():
        model.set_attn_implementation(FLASH)
    kept = {each.config._attn_implementation for each in _pretrained(model)} - {FLASH}
    if kept:
        raise flash_attn.NoFlash(
            f"--attention {FLASH}: transformers keeps {', '.join(sorted(kept))} attention for "
            f"{type(model).__name__}, which it cannot change once the model is built: give --attention sdpa"
        )


def _pretrained(model: PreTrainedModel) -> list[PreTrainedModel]:
    """The model and the models in it."""
    from transformers import PreTrainedModel

    return [each for each in model.modules() if isinstance(each, PreTrainedModel)]


def _dtypes(bench: Workbench, precision: Precision, *, upcast: bool) -> dict[str, torch.dtype]:
    """What each parameter of the base is kept in, by each of its names."""
    found = {}
    for names, aliases, dtype in zip(
        bench.table["name"], bench.table["aliases"], bench.dtypes(precision.base), strict=True
    ):
        kept = "float32" if upcast else dtype
        found.update(dict.fromkeys((names, *aliases), getattr(torch, kept)))
    return found


def base_name(name: str) -> str:
    """The name that a parameter of a PEFT model has in the base model.

    >>> base_name("base_model.model.transformer.h.0.attn.c_attn.base_layer.weight")
    'transformer.h.0.attn.c_attn.weight'
    """
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def materialize(subject: Subject) -> None:
    """Make every parameter and buffer anew, in place: fake under `without_memory`, else real. Ties stay."""
    precision, dtypes = subject.precision, subject.dtypes
    made: dict[int, tuple[Any, Any]] = {}  # the old tensor beside the new, so that no id is used a second time
    for path, module in in_time(subject.model.named_modules()):  # each module once, under its first path
        quantized = type(module).__name__ in ("Linear4bit", "Linear8bitLt")
        for leaf, old in module._parameters.items():
            if old is None:
                continue
            if id(old) not in made:
                dtype = dtypes.get(base_name(f"{path}.{leaf}"), getattr(torch, precision.trained))
                if quantized and leaf == "weight":
                    made[id(old)] = (old, _quantized(module, subject.scheme, getattr(torch, precision.base)))
                else:
                    made[id(old)] = (old, nn.Parameter(_random(old.shape, dtype), old.requires_grad))
            module._parameters[leaf] = made[id(old)][1]
        for leaf, buffer in module._buffers.items():
            if buffer is not None:
                made.setdefault(id(buffer), (buffer, _random(buffer.shape, buffer.dtype)))
                module._buffers[leaf] = made[id(buffer)][1]
        for leaf, table in list(vars(module).items()):  # neither a parameter nor a buffer, but held all the same
            if isinstance(table, torch.Tensor):
                setattr(module, leaf, _random(table.shape, table.dtype))


def _random(shape: Any, dtype: torch.dtype) -> torch.Tensor:
    """Small values, so that a real step stays finite."""
    if not dtype.is_floating_point:
        return torch.zeros(tuple(shape), dtype=dtype)
    return torch.empty(tuple(shape), dtype=dtype).normal_(0.0, 0.02)


def _quantized(module: Any, scheme: Scheme | None, dtype: torch.dtype) -> nn.Parameter:
    """A bitsandbytes weight of the module's size: packed by bitsandbytes itself, with its state.

    A plain parameter carries the state instead of bitsandbytes' own class, which cannot hold a fake tensor; the layers
    look for the state, not for the class.
    """
    assert scheme is not None
    with quiet_bitsandbytes():
        import bitsandbytes
    shape = (module.out_features, module.in_features)
    if scheme.kind == "int8":
        weight = nn.Parameter(torch.zeros(shape, dtype=torch.int8), requires_grad=False)
        weight.SCB = torch.ones(shape[0])  # type: ignore[attr-defined]
        weight.CB = weight.data  # type: ignore[attr-defined]
        return weight
    packed, state = bitsandbytes.functional.quantize_4bit(
        _random(shape, dtype), compress_statistics=scheme.double, quant_type=scheme.kind
    )
    weight = nn.Parameter(packed, requires_grad=False)
    weight.quant_state = state  # type: ignore[attr-defined]
    weight.bnb_quantized = True  # type: ignore[attr-defined]
    return weight
