"""Small Mini-GPTs for these tests, with weights that make every part of them matter."""

from __future__ import annotations

from typing import Any

import torch

from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM

# Every value of every choice occurs, and they occur in company.
VARIANTS: dict[str, dict[str, Any]] = {
    "rope": {},
    "learned": {"position_embedding": "learned"},
    "sinusoidal": {"position_embedding": "sinusoidal"},
    "none": {"position_embedding": "none"},
    "rope-gqa-gated-silu": {"num_key_value_heads": 2, "gated_mlp": True, "hidden_act": "silu", "attention_bias": True},
    "learned-layernorm-biases": {
        "position_embedding": "learned",
        "norm": "layernorm",
        "attention_bias": True,
        "attention_output_bias": True,
        "mlp_bias": True,
    },
    "nanochat-like": {
        "norm": "rmsnorm-no-weight",
        "hidden_act": "relu2",
        "num_key_value_heads": 1,
        "tie_word_embeddings": False,
    },
    "no-final-norm": {"final_norm": False, "hidden_act": "relu", "position_embedding": "sinusoidal"},
}


def small(**changes: Any) -> MiniGPTForCausalLM:
    """A Mini-GPT of hidden size 32 with 48 tokens, in eval mode and eager attention unless told otherwise.

    A fresh model is nearly linear and its norms and biases do nothing, so much could be wrong unseen:
    every parameter, gains and biases too, is moved by noise.
    """
    attention = changes.pop("attn_implementation", "eager")
    fields = {"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 4, **changes}
    torch.manual_seed(7)
    model = MiniGPTForCausalLM._from_config(MiniGPTConfig(**fields), attn_implementation=attention)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            size = 1.0 if "embed_tokens" in name else 0.2  # beside sinusoids, smaller tokens would not be seen
            parameter += size * torch.randn_like(parameter)
    return model.eval()


def tokens(*shape: int, seed: int = 3, vocabulary: int = 48) -> torch.Tensor:
    """Random token ids of that shape."""
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def distinct_parameters(model: torch.nn.Module) -> int:
    """Parameters counted once each, by identity: tied ones are one."""
    return sum(parameter.numel() for parameter in {id(p): p for p in model.parameters()}.values())
