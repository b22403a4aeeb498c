"""Small real models on disk, as transformers saves them, and their skeletons: one of each kind that matters here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from hfcount.configs import load_config
from hfcount.minigpt import MiniGPTConfig
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve

# Sizes are odd where the architecture lets them be, so that bytes are filled up and last blocks are short.
CONFIGS: dict[str, Callable[[], Any]] = {
    "mini-gpt": lambda: MiniGPTConfig(
        vocab_size=67, hidden_size=36, num_attention_heads=3, num_hidden_layers=2, intermediate_size=77,
        position_embedding="rope", mlp_bias=True, max_position_embeddings=32,
    ),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=101, n_positions=32, n_embd=36, n_layer=2, n_head=3),
    "llama": lambda: transformers.LlamaConfig(
        vocab_size=101, hidden_size=48, intermediate_size=91, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False,
    ),
    "t5": lambda: transformers.T5Config(
        vocab_size=101, d_model=36, d_kv=7, d_ff=55, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=0, pad_token_id=0,
    ),
    "mixtral": lambda: transformers.MixtralConfig(
        vocab_size=101, hidden_size=48, intermediate_size=55, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=32,
    ),
}  # fmt: skip


def auto_class(kind: str) -> Any:
    return transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM


def save(kind: str, folder: Path) -> Path:
    """A randomly initialised model of that kind, saved in fp32 in `folder`."""
    torch.manual_seed(11)
    auto_class(kind).from_config(CONFIGS[kind]()).save_pretrained(folder)
    return folder


def load(kind: str, folder: Path, **how: Any) -> PreTrainedModel:
    return auto_class(kind).from_pretrained(folder, **how)


def skeleton(model: str | Path) -> PreTrainedModel:
    """A fresh skeleton of the model in a folder, or of a card."""
    return build_skeleton(load_config(resolve(str(model)))).model


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def kept_in_fp32(model: PreTrainedModel, dtype: torch.dtype) -> list[str]:
    """The names that the model's class keeps in fp32 when it is loaded in `dtype`."""
    kept = list(getattr(model, "_keep_in_fp32_modules_strict", None) or ()) if dtype.itemsize == 2 else []
    return kept + (list(getattr(model, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else [])


def real_bytes(parameter: torch.nn.Parameter) -> int:
    """All bytes of a parameter, with every tensor in the state of one that bitsandbytes quantized."""
    total = parameter.nbytes
    if type(parameter).__name__ == "Params4bit":
        state = parameter.quant_state
        parts = [*vars(state).values(), *(vars(state.state2).values() if state.nested else ())]
        total += sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))
    elif getattr(parameter, "SCB", None) is not None:
        total += parameter.SCB.nbytes
    return total
