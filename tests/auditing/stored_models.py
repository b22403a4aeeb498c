"""Small real models as `save_pretrained` writes them, with what a file can do to them, and both sides of the join."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from hfcount.auditing.stored import Joined, join
from hfcount.configs import load_config
from hfcount.skeleton import Skeleton, build_skeleton
from hfcount.sources import resolve
from hfcount.sources.headers import Checkpoint, LocalFile
from hfcount.sources.headers.safetensors import read_safetensors
from hfcount.sources.headers.unpacking import unpack

Tensors = dict[str, torch.Tensor]

_LLAMA: dict[str, Any] = {
    "vocab_size": 99, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 20}

KINDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "gpt2": ("GPT2LMHeadModel", lambda: transformers.GPT2Config(
        vocab_size=99, n_positions=32, n_embd=24, n_layer=2, n_head=2)),
    "llama": ("LlamaForCausalLM", lambda: transformers.LlamaConfig(**_LLAMA, tie_word_embeddings=False)),
    "llama-tied": ("LlamaForCausalLM", lambda: transformers.LlamaConfig(**_LLAMA, tie_word_embeddings=True)),
    "t5": ("T5ForConditionalGeneration", lambda: transformers.T5Config(
        vocab_size=99, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=2)),
    "t5-encoder": ("T5EncoderModel", lambda: transformers.T5Config(
        vocab_size=99, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=2)),
    "bert": ("BertForMaskedLM", lambda: transformers.BertConfig(
        vocab_size=99, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
        max_position_embeddings=32)),
    "vit": ("ViTForImageClassification", lambda: transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, image_size=16,
        patch_size=8)),
    "resnet": ("ResNetForImageClassification", lambda: transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")),
    "whisper": ("WhisperForConditionalGeneration", lambda: transformers.WhisperConfig(
        vocab_size=99, d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=40, decoder_ffn_dim=40, max_source_positions=16,
        max_target_positions=16, num_mel_bins=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1)),
    "opt": ("OPTForCausalLM", lambda: transformers.OPTConfig(
        vocab_size=99, hidden_size=24, ffn_dim=40, num_hidden_layers=2, num_attention_heads=2,
        word_embed_proj_dim=12, max_position_embeddings=32, do_layer_norm_before=False)),
    "mixtral": ("MixtralForCausalLM", lambda: transformers.MixtralConfig(
        **_LLAMA, num_local_experts=3, num_experts_per_tok=2)),
    "qwen3-moe": ("Qwen3MoeForCausalLM", lambda: transformers.Qwen3MoeConfig(
        **_LLAMA, **_EXPERTS, num_experts=3, head_dim=6)),
    "deepseek-v3": ("DeepseekV3ForCausalLM", lambda: transformers.DeepseekV3Config(
        **_LLAMA | {"num_key_value_heads": 4}, **_EXPERTS, n_routed_experts=4, n_shared_experts=1, n_group=2,
        topk_group=1, q_lora_rank=12, kv_lora_rank=10, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=6,
        first_k_dense_replace=1)),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Saved:
    """A saved model.

    Attributes:
        folder: with config.json and model.safetensors.
        model_class: of transformers.
        tensors: what the file holds.
        skeleton: of its config.
    """

    folder: Path
    model_class: Any
    tensors: Tensors
    skeleton: Skeleton

    def store(self, tensors: Tensors) -> None:
        """Writes another file of weights."""
        whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(whole, self.folder / "model.safetensors", metadata={"format": "pt"})

    def checkpoint(self) -> Checkpoint:
        config = load_config(resolve(str(self.folder))).raw
        return unpack(read_safetensors(LocalFile(self.folder / "model.safetensors")), config)

    def joined(self) -> Joined:
        return join(self.checkpoint(), self.skeleton.model)

    def loading(self) -> dict[str, set[str]]:
        """What `from_pretrained` reports of the file as it is now."""
        verbosity = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        try:
            _, info = self.model_class.from_pretrained(
                self.folder, output_loading_info=True, ignore_mismatched_sizes=True
            )
        finally:
            transformers.logging.set_verbosity(verbosity)
        return {
            "missing": set(info["missing_keys"]),
            "unexpected": set(info["unexpected_keys"]),
            "mismatched": {name for name, *_ in info["mismatched_keys"]},
        }


def save(kind: str, folder: Path) -> Saved:
    """A randomly initialised model of that kind, saved in `folder`."""
    torch.manual_seed(5)
    name, config = KINDS[kind]
    model_class = getattr(transformers, name)
    model_class(config()).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    return Saved(folder, model_class, tensors, build_skeleton(load_config(resolve(str(folder)))))
