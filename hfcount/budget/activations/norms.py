"""Which norm a module is: told by its code, since classes of one name differ and classes of many names are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcount.budget.activations.code import like

if TYPE_CHECKING:
    from torch import nn

REFERENCES = {
    "llama.modeling_llama.LlamaRMSNorm": "rms",
    "nanochat.modeling_nanochat.NanoChatRMSNorm": "rms",
    "hfcount.minigpt.modeling_minigpt.MiniGPTRMSNorm": "rms",
    "hfcount.minigpt.modeling_minigpt.MiniGPTUnweightedRMSNorm": "rms",
    "olmo2.modeling_olmo2.Olmo2RMSNorm": "wide rms",
    "gemma.modeling_gemma.GemmaRMSNorm": "centred rms",
    "olmo.modeling_olmo.OlmoLayerNorm": "plain layer",
    "cohere.modeling_cohere.CohereLayerNorm": "written layer",
}
"""Classes whose saving rules are written down."""


def norm_kind(module: nn.Module) -> str:
    """The kind of a norm: "layer" for torch's LayerNorm, else that of the reference whose code it shares.

    Raises KeyError for another: what a norm keeps depends on where it casts and in which order it multiplies.
    """
    from torch import nn

    if isinstance(module, nn.LayerNorm) and type(module).forward is nn.LayerNorm.forward:
        return "layer"
    kind = like(module, REFERENCES)
    if kind is None:
        raise KeyError(type(module).__name__)
    return kind
