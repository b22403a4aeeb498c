"""What a real small model keeps on the CPU at the end of a forward pass, asked of autograd itself."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import warnings
from typing import Any

import peft
import torch
import transformers

from hfcount.minigpt import MiniGPTConfig

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

RANK = 4
TINY = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
    """What a family's attention offers: its kinds, and the names of matrices for an adapter on it alone."""

    kinds: tuple[str, ...] = ("sdpa", "eager")
    targets: tuple[str, ...] = ("q_proj", "v_proj")


def _family(kind: str, *, attention: Attention | None = None, **fields: Any) -> tuple[str, dict[str, Any], Attention]:
    return kind, {**TINY, **fields}, attention or Attention()


GPT2 = Attention(targets=("c_attn",))
NO_DROPOUT = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
FUSED = Attention(targets=("query_key_value",))
FAMILIES = {
    "llama": _family("LlamaConfig"),
    "gpt2": _family("GPT2Config", attention=GPT2),
    "minigpt": _family("MiniGPTConfig"),
    "mixtral": _family("MixtralConfig"),
    "gpt2-no-dropout": _family("GPT2Config", attention=GPT2, **NO_DROPOUT, activation_function="gelu"),
    "minigpt-learned": _family(
        "MiniGPTConfig", position_embedding="learned", norm="layernorm", gated_mlp=True, hidden_act="silu"
    ),
    "minigpt-nanochat": _family("MiniGPTConfig", norm="rmsnorm-no-weight", hidden_act="relu2", num_key_value_heads=8),
    "llama-mha": _family("LlamaConfig", num_key_value_heads=8),
    "llama-dropout": _family("LlamaConfig", attention_dropout=0.1),
    "llama-relu": _family("LlamaConfig", hidden_act="relu", tie_word_embeddings=True, attention_bias=True),
    "mistral": _family("MistralConfig"),
    "qwen2": _family("Qwen2Config"),
    "qwen3": _family("Qwen3Config"),
    "qwen2-moe": _family(
        "Qwen2MoeConfig",
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=48,
    ),
    "qwen3-moe": _family("Qwen3MoeConfig", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
    "qwen3-moe-scaled": _family(
        "Qwen3MoeConfig", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True
    ),
    "qwen3-moe-dense-first": _family(
        "Qwen3MoeConfig", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, mlp_only_layers=[0]
    ),
    "olmoe": _family("OlmoeConfig", num_experts=4, num_experts_per_tok=2),
    "gemma": _family("GemmaConfig"),
    "gemma2": _family("Gemma2Config", attention=Attention(kinds=("eager",))),
    "gemma2-uncapped": _family("Gemma2Config", attention=Attention(kinds=("eager",)), attn_logit_softcapping=None),
    "gemma3": _family("Gemma3TextConfig", num_hidden_layers=7),
    "olmo": _family("OlmoConfig"),
    "olmo2": _family("Olmo2Config"),
    "phi": _family("PhiConfig", attention=Attention(targets=("q_proj", "v_proj"))),
    "phi-dropout": _family("PhiConfig", resid_pdrop=0.1, embd_pdrop=0.1, qk_layernorm=True),
    "phi3": _family("Phi3Config", attention=Attention(targets=("qkv_proj",))),
    "phi3-mha-dropout": _family(
        "Phi3Config", attention=Attention(targets=("qkv_proj",)), num_key_value_heads=8, resid_pdrop=0.1
    ),
    "phi4-mini": _family(
        "Phi3Config",
        attention=Attention(targets=("qkv_proj",)),
        num_attention_heads=4,
        head_dim=16,
        partial_rotary_factor=0.5,
    ),
    "gpt-neox": _family("GPTNeoXConfig", attention=FUSED),
    "gpt-neox-sequential": _family(
        "GPTNeoXConfig", attention=FUSED, use_parallel_residual=False, hidden_dropout=0.1, hidden_act="gelu_fast"
    ),
    "opt": _family("OPTConfig", ffn_dim=96, word_embed_proj_dim=64),
    "stablelm": _family("StableLmConfig"),
    "stablelm-parallel": _family("StableLmConfig", use_parallel_residual=True, hidden_dropout=0.1),
    "starcoder2": _family("Starcoder2Config"),
    "starcoder2-dropout": _family("Starcoder2Config", residual_dropout=0.1, embedding_dropout=0.1),
    "cohere": _family("CohereConfig"),
    "cohere-qk-norm": _family("CohereConfig", use_qk_norm=True),
    "glm4": _family("Glm4Config"),
    "smollm3": _family("SmolLM3Config", num_hidden_layers=4),
    "granite": _family("GraniteConfig"),
    "nanochat": _family("NanoChatConfig"),
    "seed-oss": _family("SeedOssConfig"),
    "arcee": _family("ArceeConfig"),
    "minimax-m2": _family("MiniMaxM2Config", num_local_experts=4, num_experts_per_tok=2),
    "exaone4": _family("Exaone4Config"),
    "cohere2": _family("Cohere2Config"),
}
"""A config class of each family, with the fields of a small model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One way to train: the parameters of a test in one value, short as its id.

    Attributes:
        weights: the type of the base model.
        autocast: the type that autocast computes in.
        targets: of LoRA; empty for full fine-tuning.
        upcast_adapters: PEFT's `autocast_adapter_dtype`.
        quantized: "" for a plain base, "raw" for NF4 as loaded, "prepared" after prepare_model_for_kbit_training.
    """

    weights: str = "bfloat16"
    autocast: str | None = None
    attention: str = "sdpa"
    targets: tuple[str, ...] = ()
    upcast_adapters: bool = True
    quantized: str = ""
    batch: int = 2
    seq: int = 24

    def __str__(self) -> str:
        parts = [self.weights, f"autocast-{self.autocast}" if self.autocast else "", self.attention]
        parts += ["+".join(self.targets), "" if self.upcast_adapters else "adapters-as-base", self.quantized]
        parts.append(f"b{self.batch}")
        return "-".join(each for each in parts if each)


def plain(kind: str, fields: dict[str, Any], run: Run) -> transformers.PreTrainedModel:
    """The model of config class `kind`, with nothing attached to it."""
    config_class = MiniGPTConfig if kind == "MiniGPTConfig" else getattr(transformers, kind)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(
        config_class(**fields), dtype=getattr(torch, run.weights), attn_implementation=run.attention
    ).train()


def trained(kind: str, fields: dict[str, Any], run: Run) -> Any:
    """The model as `run` trains it: quantized, with adapters, or as it is."""
    model = quantized(kind, fields, run) if run.quantized else plain(kind, fields, run)
    if run.targets:
        targets = run.targets[0] if run.targets == ("all-linear",) else list(run.targets)
        config = peft.LoraConfig(r=RANK, target_modules=targets, task_type="CAUSAL_LM")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GPT-2's Conv1D is turned round by PEFT itself, and it says so
            model = peft.get_peft_model(model, config, autocast_adapter_dtype=run.upcast_adapters)
    return model.train()


def quantized(kind: str, fields: dict[str, Any], run: Run) -> transformers.PreTrainedModel:
    """The model saved and loaded again in NF4 by bitsandbytes' own CPU code."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain(kind, fields, run).save_pretrained(folder)
        dtype = getattr(torch, run.weights)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=run.attention,
            device_map="cpu",
            quantization_config=transformers.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            ),
        )
    if run.quantized == "prepared":
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model


def kept_bytes(model: Any, run: Run) -> int:
    """Bytes of the distinct storages that autograd saves in one forward pass with the loss.

    Those of parameters, buffers and the batch are not counted.
    """
    tokens = torch.randint(1, 100, (run.batch, run.seq), generator=torch.Generator().manual_seed(1))
    # All storages are held, so that no address is used twice: bitsandbytes replaces the biases that it casts.
    lasting = (tokens, *model.parameters(), *model.buffers())
    own = {storage._cdata: storage for storage in (each.untyped_storage() for each in lasting)}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage
        return tensor

    computing = torch.autocast("cpu", dtype=getattr(torch, run.autocast)) if run.autocast else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), computing:
        model(input_ids=tokens, labels=tokens, use_cache=False)
    return sum(storage.nbytes() for storage in storages.values())
