"""How a Mini-GPT knows where its tokens stand: what is added to embeddings, or turns queries and keys."""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update

from .configuration_minigpt import MiniGPTConfig


class MiniGPTLearnedPositions(nn.Embedding):
    """A table that is learned: `T·d` parameters."""

    def __init__(self, config: MiniGPTConfig):
        super().__init__(config.max_position_embeddings, config.hidden_size)


class MiniGPTSinusoidalPositions(nn.Module):
    """The table of Vaswani et al. 2017 (section 3.5), sines before cosines: a buffer, not a parameter."""

    def __init__(self, config: MiniGPTConfig):
        super().__init__()
        self.num_positions, self.hidden_size = config.max_position_embeddings, config.hidden_size
        self.register_buffer("table", self.make_table(), persistent=False)

    def make_table(self) -> torch.Tensor:
        rates = torch.exp(-math.log(10_000.0) * torch.arange(0, self.hidden_size, 2).float() / self.hidden_size)
        angles = torch.arange(self.num_positions).float()[:, None] * rates
        return torch.cat((angles.sin(), angles.cos()), dim=-1)

    def forward(self, position_ids: torch.LongTensor) -> torch.Tensor:
        return self.table[position_ids]


class MiniGPTNoPositions(nn.Module):
    """Adds nothing to the embeddings: positions come from the attention (rope) or not at all."""

    def __init__(self, config: MiniGPTConfig):
        super().__init__()

    def forward(self, position_ids: torch.LongTensor) -> float:
        return 0.0


POSITION_CLASSES = {
    "rope": MiniGPTNoPositions,
    "learned": MiniGPTLearnedPositions,
    "sinusoidal": MiniGPTSinusoidalPositions,
    "none": MiniGPTNoPositions,
}


class MiniGPTRotaryEmbedding(nn.Module):
    """The angles by which rotary embeddings (Su et al. 2021) turn queries and keys: buffers, not parameters."""

    def __init__(self, config: MiniGPTConfig):
        super().__init__()
        self.config = config
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings
        self.rope_type = config.rope_parameters["rope_type"]
        rope_init: Callable = self.compute_default_rope_parameters
        if self.rope_type != "default":
            rope_init = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = rope_init(config)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.register_buffer("original_inv_freq", inv_freq.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config: MiniGPTConfig, device=None, **kwargs) -> tuple[torch.Tensor, float]:
        """The inverse frequencies `theta^(-2i/d_h)` and the scaling of cosines and sines, which is 1."""
        head_size = config.hidden_size // config.num_attention_heads
        exponents = torch.arange(0, head_size, 2, device=device).float() / head_size
        return 1.0 / (config.rope_parameters["rope_theta"] ** exponents), 1.0

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x: torch.Tensor, position_ids: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = position_ids[..., None].float() * self.inv_freq.to(device=x.device, dtype=torch.float)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)


class MiniGPTNoRotaryEmbedding(nn.Module):
    """Turns nothing: for positions that are added to the embeddings, or for none."""

    def __init__(self, config: MiniGPTConfig):
        super().__init__()

    def forward(self, x: torch.Tensor, position_ids: torch.LongTensor) -> None:
        return None


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def apply_rotary_pos_emb(q, k, position_embeddings):
    """Turn queries and keys (batch, heads, positions, d_h) by the angles (batch, positions, d_h)."""
    cos, sin = (each.unsqueeze(1) for each in position_embeddings)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def keep_as_is(q, k, position_embeddings):
    return q, k


def positions_of(inputs_embeds: torch.Tensor, attention_mask: torch.Tensor | None, past: int) -> torch.LongTensor:
    """The positions of the tokens of this call, (1 or batch, positions).

    Padding on the left must not move a text's first token, so where there is a mask the tokens that it keeps
    are numbered from 0; `past` tokens are in the cache already.
    """
    length = inputs_embeds.shape[1]
    if attention_mask is not None and attention_mask.dim() == 2:
        return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
    return torch.arange(past, past + length, device=inputs_embeds.device).unsqueeze(0)
