"""Models to hold the closed forms against: real transformers classes, built empty and counted here by identity.

The count and the sorting into components are this file's own, so that the closed forms are held against the
classes themselves and not against hfcount's inventory.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import accelerate
import transformers
from transformers import CONFIG_MAPPING

COMPONENT_OF_NAME = [
    (r"(q|k|q_a|kv_a|_)_?layernorm|[lL]ayer_?[nN]orm|\bln_|\bnorm|_norm\b|layernorm", "norm"),
    (r"\b(wte|tokens_embed|embed_in|embed_tokens|word_embeddings|shared)\.weight$", "token_embedding"),
    (r"\b(wpe|positions_embed|embed_positions|\w*position_embeddings|token_type_embeddings)\b", "position_embedding"),
    (r"relative_attention_bias", "position_embedding"),
    (r"^(lm_head|embed_out|cls\.predictions)\b", "lm_head"),
    (r"^(classifier|cls\.seq_relationship)\b", "classifier"),
    (r"\bpooler\b", "pooler"),
    (r"\b(cls_token|patch_embeddings)\b", "vision"),
    (r"\bproject_(in|out)\b", "projector"),
    (r"\bmlp\.gate\.weight$", "router"),
    (r"\bshared_experts\b", "shared_experts"),
    (r"\bexperts\b", "experts"),
    (r"[aA]ttention\b|attn\b", "attention"),
    (r"\bmlp\b|\bfc[12]\b|DenseReluDense|\b(intermediate|output)\.dense\b", "mlp"),
]
"""Parameter names of these families, tried in order."""


def count(model: Any) -> tuple[int, dict[str, int]]:
    """All distinct parameters of `model`, in total and by component."""
    components: dict[str, int] = {}
    for name, parameter in {id(p): (n, p) for n, p in reversed(list(model.named_parameters()))}.values():
        component = next(kind for pattern, kind in COMPONENT_OF_NAME if re.search(pattern, name))
        components[component] = components.get(component, 0) + parameter.numel()
    return sum(components.values()), components


def build(config: Any, model_class: str) -> Any:
    """The real class with this config, on the meta device, tied."""
    with accelerate.init_empty_weights(include_buffers=True):
        model = class_named(model_class)(config)
    model.tie_weights()
    return model


def class_named(name: str) -> Any:
    """The model class, from transformers or from hfcount.minigpt."""
    if hasattr(transformers, name):
        return getattr(transformers, name)
    import hfcount.minigpt

    return getattr(hfcount.minigpt, name)


def config_of(model_type: str, **fields: Any) -> Any:
    """The config of `model_type` with these fields."""
    return config_class(model_type)(**fields)


def config_class(model_type: str) -> Any:
    """The config class of `model_type`, from transformers or from hfcount.minigpt, which registers its own."""
    if model_type == "minigpt":
        import hfcount.minigpt  # noqa: F401
    return CONFIG_MAPPING[model_type]


_PLAIN = {"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
_LLAMA = {**_PLAIN, "num_key_value_heads": 2, "intermediate_size": 37, "pad_token_id": None}
_GPT = {"vocab_size": 97, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 19}
_OPT = {**_PLAIN, "ffn_dim": 37, "max_position_embeddings": 19}
_DEEPSEEK = {
    **_PLAIN, "num_key_value_heads": 4, "intermediate_size": 37, "moe_intermediate_size": 11, "n_shared_experts": 2,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "kv_lora_rank": 7,
    "q_lora_rank": 13, "qk_rope_head_dim": 6, "qk_nope_head_dim": 5, "v_head_dim": 9, "num_hidden_layers": 5,
    "first_k_dense_replace": 2,
}  # fmt: skip
_BERT = {**_PLAIN, "intermediate_size": 37, "max_position_embeddings": 19, "type_vocab_size": 3, "num_labels": 5}
_T5 = {
    "vocab_size": 97, "d_model": 24, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4, "d_kv": 7, "d_ff": 37,
    "relative_attention_num_buckets": 10, "relative_attention_max_distance": 20,
}  # fmt: skip
_VIT = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 37, "image_size": 42,
    "patch_size": 6, "num_channels": 5, "num_labels": 11,
}  # fmt: skip
_MINI = {**_LLAMA, "max_position_embeddings": 19}

WITNESSES: list[tuple[str, str, dict[str, Any]]] = [
    ("openai-gpt", "OpenAIGPTLMHeadModel", _GPT),
    ("openai-gpt", "OpenAIGPTLMHeadModel", {**_GPT, "tie_word_embeddings": False}),
    ("gpt2", "GPT2LMHeadModel", _GPT),
    ("gpt2", "GPT2Model", {**_GPT, "tie_word_embeddings": False}),
    ("gpt2", "GPT2LMHeadModel", {**_GPT, "n_inner": 37, "tie_word_embeddings": False}),
    ("gpt_neox", "GPTNeoXForCausalLM", {**_PLAIN, "intermediate_size": 37}),
    ("gpt_neox", "GPTNeoXForCausalLM", {**_PLAIN, "intermediate_size": 37, "attention_bias": False}),
    ("gpt_neox", "GPTNeoXModel", {**_PLAIN, "intermediate_size": 37}),
    ("opt", "OPTForCausalLM", _OPT),
    ("opt", "OPTForCausalLM", {**_OPT, "word_embed_proj_dim": 17, "do_layer_norm_before": False}),
    ("opt", "OPTForCausalLM", {**_OPT, "word_embed_proj_dim": 17, "tie_word_embeddings": False, "enable_bias": False}),
    ("opt", "OPTModel", {**_OPT, "layer_norm_elementwise_affine": False}),
    ("opt", "OPTForCausalLM", {**_OPT, "_remove_final_layer_norm": True}),
    ("bloom", "BloomForCausalLM", {"vocab_size": 97, "hidden_size": 24, "n_layer": 3, "n_head": 4}),
    ("bloom", "BloomForCausalLM",
     {"vocab_size": 97, "hidden_size": 24, "n_layer": 3, "n_head": 4, "tie_word_embeddings": False}),
    ("llama", "LlamaForCausalLM", _LLAMA),
    ("llama", "LlamaModel", _LLAMA),
    ("llama", "LlamaForCausalLM", {**_LLAMA, "num_key_value_heads": 4, "tie_word_embeddings": True}),
    ("llama", "LlamaForCausalLM", {**_LLAMA, "head_dim": 10, "attention_bias": True}),
    ("llama", "LlamaForCausalLM", {**_LLAMA, "mlp_bias": True}),
    ("mistral", "MistralForCausalLM", {**_LLAMA, "head_dim": 10}),
    ("qwen2", "Qwen2ForCausalLM", _LLAMA),
    ("qwen3", "Qwen3ForCausalLM", {**_LLAMA, "head_dim": 10}),
    ("gemma", "GemmaForCausalLM", {**_LLAMA, "head_dim": 10}),
    ("gemma2", "Gemma2ForCausalLM", {**_LLAMA, "head_dim": 10}),
    ("olmo", "OlmoForCausalLM", _LLAMA),
    ("olmo2", "Olmo2ForCausalLM", _LLAMA),
    ("mixtral", "MixtralForCausalLM", {**_LLAMA, "num_local_experts": 5}),
    ("mixtral", "MixtralForCausalLM", {**_LLAMA, "num_local_experts": 5, "head_dim": 10, "tie_word_embeddings": True}),
    ("deepseek_v3", "DeepseekV3ForCausalLM", _DEEPSEEK),
    ("deepseek_v3", "DeepseekV3ForCausalLM", {**_DEEPSEEK, "attention_bias": True, "tie_word_embeddings": True}),
    ("deepseek_v3", "DeepseekV3ForCausalLM", {**_DEEPSEEK, "q_lora_rank": None, "attention_bias": True}),
    ("deepseek_v3", "DeepseekV3ForCausalLM", {**_DEEPSEEK, "first_k_dense_replace": 0}),
    ("deepseek_v3", "DeepseekV3Model", {**_DEEPSEEK, "first_k_dense_replace": 9}),
    ("bert", "BertModel", _BERT),
    ("bert", "BertForMaskedLM", _BERT),
    ("bert", "BertForMaskedLM", {**_BERT, "tie_word_embeddings": False}),
    ("bert", "BertLMHeadModel", {**_BERT, "is_decoder": True}),
    ("bert", "BertForPreTraining", _BERT),
    ("bert", "BertForSequenceClassification", _BERT),
    ("bert", "BertForTokenClassification", _BERT),
    ("t5", "T5ForConditionalGeneration", _T5),
    ("t5", "T5ForConditionalGeneration", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    ("t5", "T5Model", {**_T5, "d_kv": 6, "num_decoder_layers": None}),
    ("t5", "T5EncoderModel", _T5),
    ("vit", "ViTModel", _VIT),
    ("vit", "ViTModel", {**_VIT, "pooler_output_size": 17, "qkv_bias": False, "patch_size": [6, 6]}),
    ("vit", "ViTForImageClassification", _VIT),
    ("vit", "ViTForImageClassification", {**_VIT, "num_labels": 0}),
    ("nanochat", "NanoChatForCausalLM", _LLAMA),
    ("nanochat", "NanoChatForCausalLM", {**_LLAMA, "attention_bias": True, "tie_word_embeddings": True}),
    ("minigpt", "MiniGPTForCausalLM", _MINI),
    ("minigpt", "MiniGPTForCausalLM", {**_MINI, "position_embedding": "learned", "norm": "layernorm"}),
    ("minigpt", "MiniGPTForCausalLM", {**_MINI, "norm": "rmsnorm-no-weight", "attention_bias": True}),
    ("minigpt", "MiniGPTForCausalLM", {**_MINI, "norm": "rmsnorm", "final_norm": False, "mlp_bias": True}),
    ("minigpt", "MiniGPTForCausalLM", {**_MINI, "attention_output_bias": True, "gated_mlp": True, "mlp_bias": True}),
    ("minigpt", "MiniGPTForCausalLM", {**_MINI, "tie_word_embeddings": False, "position_embedding": "sinusoidal"}),
    ("minigpt", "MiniGPTModel", {**_MINI, "tie_word_embeddings": False, "position_embedding": "none"}),
]  # fmt: skip
"""(model_type, class, config fields): small models that between them use every branch of every family."""


@functools.cache
def witnesses(model_types: tuple[str, ...]) -> list[tuple[Any, str, int, dict[str, int]]]:
    """(config, class, total, components) of every witness of these model types, each built once."""
    found = []
    for model_type, model_class, fields in WITNESSES:
        if model_type in model_types:
            config = config_of(model_type, **fields)
            found.append((config, model_class, *count(build(config, model_class))))
    return found
