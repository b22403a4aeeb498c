"""The configuration of Mini-GPT: a decoder-only transformer in the variants that parameter counting is taught with."""

from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_rope_utils import RopeParameters

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "max_position_embeddings",
)
POSITION_EMBEDDINGS = ("rope", "learned", "sinusoidal", "none")
NORMS = ("layernorm", "rmsnorm", "rmsnorm-no-weight")
ACTIVATIONS = ("gelu", "relu", "relu2", "silu")


@strict
class MiniGPTConfig(PreTrainedConfig):
    r"""
    The sizes and the choices of a Mini-GPT. The defaults give the smallest model of the labs: 131,392 parameters.

    Args:
        vocab_size (`int`): rows of the token embedding, `V`.
        hidden_size (`int`): width of the residual stream, `d`.
        num_hidden_layers (`int`): decoder layers, `L`.
        num_attention_heads (`int`): query heads, `h`.
        num_key_value_heads (`int`, *optional*): key and value heads, `k`; `h` if left out. 1 is multi-query.
        intermediate_size (`int`, *optional*): width of the MLP, `f`; `4d` if left out.
        max_position_embeddings (`int`): positions that the learned and the sinusoidal table have, `T`.
        position_embedding (`str`): `rope`, `learned`, `sinusoidal` or `none`; only `learned` has parameters.
        norm (`str`): `layernorm` (scale and shift), `rmsnorm` (scale) or `rmsnorm-no-weight` (neither).
        final_norm (`bool`): whether a norm stands between the last layer and the LM head.
        hidden_act (`str`): `gelu`, `relu`, `relu2` or `silu`.
        gated_mlp (`bool`): three matrices, `down(act(gate(x)) * up(x))`, instead of two.
        attention_bias (`bool`): biases on the query, key and value projections.
        attention_output_bias (`bool`): a bias on the attention's output projection.
        mlp_bias (`bool`): biases in the MLP.
        tie_word_embeddings (`bool`): the LM head is the token embedding's own matrix.

    ```python
    >>> from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM

    >>> model = MiniGPTForCausalLM(MiniGPTConfig())
    >>> model.num_parameters()
    131392
    ```"""

    model_type = "minigpt"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 512
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int | None = None
    intermediate_size: int | None = None
    max_position_embeddings: int = 32
    position_embedding: str = "rope"
    norm: str = "rmsnorm"
    norm_eps: float = 1e-6
    final_norm: bool = True
    hidden_act: str = "gelu"
    gated_mlp: bool = False
    attention_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = True
    rope_parameters: RopeParameters | dict | None = None
    attention_dropout: float | int = 0.0
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs):
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        """Part of `@strict`: refuses sizes and choices that no Mini-GPT can have, naming the value."""
        for field in SIZES:
            if getattr(self, field) < 1:
                raise ValueError(f"{field} = {getattr(self, field)}: must be at least 1")
        for field, choices in (
            ("position_embedding", POSITION_EMBEDDINGS),
            ("norm", NORMS),
            ("hidden_act", ACTIVATIONS),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} = {getattr(self, field)!r}: one of {', '.join(choices)}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is not a multiple of "
                f"num_attention_heads = {self.num_attention_heads}"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads = {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads = {self.num_key_value_heads}"
            )
        head_size = self.hidden_size // self.num_attention_heads
        if self.position_embedding == "rope" and head_size % 2:
            raise ValueError(f"rope turns pairs of numbers, so a head of odd size {head_size} cannot have it")
        if self.position_embedding == "sinusoidal" and self.hidden_size % 2:
            raise ValueError(f"sinusoidal positions pair sines with cosines: hidden_size = {self.hidden_size} is odd")


__all__ = ["MiniGPTConfig"]
