"""Mini-GPT, a small transformers model of every variant that parameter counting is taught with.

Importing this registers it with AutoConfig, AutoModel and AutoModelForCausalLM.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from hfcount.minigpt.configuration_minigpt import MiniGPTConfig
from hfcount.minigpt.modeling_minigpt import MiniGPTForCausalLM, MiniGPTModel, MiniGPTPreTrainedModel

AutoConfig.register(MiniGPTConfig.model_type, MiniGPTConfig, exist_ok=True)
AutoModel.register(MiniGPTConfig, MiniGPTModel, exist_ok=True)
AutoModelForCausalLM.register(MiniGPTConfig, MiniGPTForCausalLM, exist_ok=True)

__all__ = ["MiniGPTConfig", "MiniGPTForCausalLM", "MiniGPTModel", "MiniGPTPreTrainedModel"]
