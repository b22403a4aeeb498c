"""Which weights transformers really converts when a model is loaded with bitsandbytes: read off its own quantizer.

transformers 5 replaces `nn.Linear` and its own `Conv1D`, and nothing else (`replace_with_bnb_linear` in
transformers/integrations/bitsandbytes.py): the LM head stays, as does whatever the model's class keeps in fp32
(`get_modules_to_not_convert` in transformers/quantizers/base.py), and so do experts that are fused into 3-D
parameters. The quantizer is run here on a skeleton, and what became a layer of bitsandbytes is read from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcount.quantization.storage import FOUR_BIT, Scheme
from hfcount.quiet import quiet_bitsandbytes

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel

_STORAGE = {1: "uint8", 2: "bfloat16", 4: "float32"}


def converted_modules(model: PreTrainedModel, scheme: Scheme) -> tuple[str, ...]:
    """The paths of the modules that become bitsandbytes layers; `model`, a skeleton, is changed in place."""
    with quiet_bitsandbytes():
        import bitsandbytes

        _quantizer(scheme).preprocess_model(model=model, device_map=None)
    kind = bitsandbytes.nn.Linear4bit if scheme.kind in FOUR_BIT else bitsandbytes.nn.Linear8bitLt
    return tuple(name for name, module in model.named_modules() if isinstance(module, kind))


def quantization_config(scheme: Scheme) -> Any:
    """transformers' own BitsAndBytesConfig for `scheme`. It has no field for the block: bitsandbytes' 64 holds."""
    import torch
    from transformers import BitsAndBytesConfig

    if scheme.kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=scheme.kind,
        bnb_4bit_use_double_quant=scheme.double,
        bnb_4bit_quant_storage=getattr(torch, _STORAGE[scheme.storage_bytes]),
    )


def _quantizer(scheme: Scheme) -> Any:
    from transformers.quantizers import AutoHfQuantizer

    return AutoHfQuantizer.from_config(quantization_config(scheme), pre_quantized=False)


def converted_rows(table: pd.DataFrame, modules: tuple[str, ...]) -> pd.Series:
    """Which rows of the inventory `table` are the weight of one of `modules`: what is quantized; biases are not."""
    names = {f"{module}.weight" for module in modules}
    return table["name"].isin(names)
