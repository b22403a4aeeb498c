"""Taking back what a test registered with transformers: other tests of its process go through all types."""

from __future__ import annotations

from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING


def forget(config_class: type[PreTrainedConfig]) -> None:
    """Undo AutoConfig.register and AutoModelForCausalLM.register of `config_class`, which have no opposite."""
    CONFIG_MAPPING._extra_content.pop(config_class.model_type, None)
    AutoModelForCausalLM._model_mapping._extra_content.pop(config_class, None)
