"""Every method of PEFT attached without memory, against the same method attached for real."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import LlamaConfig, LlamaForCausalLM

from hfcount.auditing.peft_methods import Unattached, adapt, load_base, peft_config
from hfcount.auditing.stored_adapters import written
from hfcount.lora import LoraOptions, count_lora
from hfcount.lora.count import totals
from hfcount.skeleton import build_skeleton

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, "hidden_size": 64,
    "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "use_cache": False,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "ADALORA": {"total_step": 10},
    "ADAPTION_PROMPT": {"adapter_layers": 1, "adapter_len": 4, "target_modules": None},
    "C3A": {"block_size": 8},
    "FOURIERFT": {"n_frequency": 50},
    "OFT": {"oft_block_size": 0, "r": 4},
    "TRAINABLE_TOKENS": {"token_indices": [0, 1, 2]},
    "VBLORA": {"vector_length": 16, "num_vectors": 16},
    "WAVEFT": {"n_frequency": 50},
}
# Their constructors read weights, an optional library is wanted (ADAMSS), or other adapters are loaded (XLORA).
NOT_EMPTY = {"BOFT", "FROD", "SHIRA", "UNILORA", "ADAMSS", "XLORA"}
METHODS = sorted({method.value for method in PEFT_TYPE_TO_CONFIG_MAPPING} - NOT_EMPTY)


def configured(method: str) -> dict[str, Any]:
    config_class = {each.value: found for each, found in PEFT_TYPE_TO_CONFIG_MAPPING.items()}[method]
    known = {field.name for field in dataclasses.fields(config_class)}
    usual = {"num_virtual_tokens": 20, "target_modules": ["q_proj", "v_proj"]}
    asked = {"peft_type": method, "task_type": "CAUSAL_LM", **{key: usual[key] for key in usual if key in known}}
    return {key: value for key, value in {**asked, **SETTINGS.get(method, {})}.items() if value is not None}


@pytest.mark.pinned
@pytest.mark.parametrize("method", METHODS)
def test_an_empty_model_counts_as_a_real_one(method: str) -> None:
    config = configured(method)
    adapted = adapt(load_base("tiny", LLAMA), config)
    assert {parameter.device.type for parameter in adapted.model.parameters()} == {"meta"}
    torch.manual_seed(0)
    real = get_peft_model(LlamaForCausalLM(LlamaConfig(**LLAMA)), peft_config(config))
    assert (adapted.trainable, adapted.all) == totals(real)
    assert (adapted.trainable, adapted.all) == real.get_nb_trainable_parameters()
    assert adapted.base + adapted.added + adapted.copied == adapted.all
    state = get_peft_model_state_dict(real, save_embedding_layers=False)
    assert written(adapted.model) == {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("method", ["BOFT", "FROD", "SHIRA", "UNILORA"])
def test_a_method_that_reads_weights_is_refused(method: str) -> None:
    with pytest.raises(Unattached):
        adapt(load_base("tiny", LLAMA), configured(method))


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_lora_is_as_the_house_counts_it(targets: Any) -> None:
    """`count_lora` holds PEFT against a closed form of its own; both ways must agree."""
    loaded = load_base("tiny", LLAMA)
    adapted = adapt(loaded, {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": targets})
    asked = LoraOptions(r=4, targets=targets if isinstance(targets, str) else tuple(targets))
    (count,) = count_lora(lambda: build_skeleton(loaded).model, [asked])
    assert (adapted.trainable, adapted.all) == (count.trainable, count.all)


def test_the_head_of_a_task_has_its_labels() -> None:
    loaded = load_base("tiny", {**LLAMA, "id2label": {"0": "a"}, "label2id": {"a": 0}}, {"num_labels": 5})
    adapted = adapt(loaded, {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 4})
    assert (adapted.model_class, adapted.copied) == ("LlamaForSequenceClassification", 5 * 64)


def test_old_names_of_vision_attention_are_found_by_transformers_own_table() -> None:
    vit = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 64,
           "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32}  # fmt: skip
    asked = {"peft_type": "LORA", "r": 4}
    adapted = adapt(load_base("tiny", vit), {**asked, "target_modules": ["query", "value", "nothing"]})
    assert adapted.renamed == {"query": "q_proj", "value": "v_proj"}
    assert adapted.added == 2 * 2 * 4 * (64 + 64)
    with pytest.raises(Unattached):
        adapt(load_base("tiny", vit), {**asked, "target_modules": ["nothing"]})
