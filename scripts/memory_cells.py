"""The cells of the sweep of training memory: small models of many architectures, each trained in several ways.

A cell says all that the bytes of a step depend on. Every architecture is trained in the ways of `WAYS`; what the
optimizer, the recipe or the adapters alone decide is varied over a few of them (`VARIATIONS`). Models have five layers
or more, so that the extrapolation of depth is held against the same measurements.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfcount.simulation.plan import Run, Wished
    from hfcount.workbench import Workbench

LAYERS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One training step.

    Attributes:
        model: a name of `MODELS`.
        regime: "full", "lora" or "qlora". recipe: of budget/recipes.py.
        batch, seq: rows, and tokens a row; of images rows alone.
        checkpointing: "no", "yes" (torch's own that needs no re-entry) or "reentrant".
        optimizer, stepping, accumulation: as simulation/step.py has them.
        attention: "sdpa" or "eager".
        rank, targets: of the adapters. scheme: of QLoRA's base, "nf4", "nf4-double", "fp4" or "int8".
    """

    model: str
    regime: str = "full"
    recipe: str = "mixed-bf16"
    batch: int = 2
    seq: int = 32
    checkpointing: str = "no"
    optimizer: str = "adamw"
    stepping: str = "foreach"
    accumulation: int = 1
    attention: str = "sdpa"
    rank: int = 4
    targets: str = "all-linear"
    scheme: str = "nf4"

    def __str__(self) -> str:
        """What is not as it would be by default, after the model's name.

        >>> str(Cell(model="gpt2", regime="lora", seq=64))
        'gpt2 regime=lora seq=64'
        """
        fields = [field for field in dataclasses.fields(self) if field.name != "model"]
        own = [
            (field.name, getattr(self, field.name)) for field in fields if getattr(self, field.name) != field.default
        ]
        return " ".join([self.model, *(f"{name}={value}" for name, value in own)])


def _usual(**sizes: int) -> tuple[str, ...]:
    """Settings that most causal models share."""
    fields = {
        "num_hidden_layers": LAYERS,
        "hidden_size": 64,
        "intermediate_size": 176,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        **sizes,
    }
    return tuple(f"{name}={value}" for name, value in fields.items() if value)


MODELS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "gpt2": ("openai-community/gpt2", ("n_layer=5", "n_embd=64", "n_head=4", "vocab_size=1000", "n_positions=128")),
    "llama": ("huggyllama/llama-7b", _usual()),
    "llama-wide": ("huggyllama/llama-7b", _usual(hidden_size=512, intermediate_size=1376, vocab_size=8000)),
    "mistral": ("mistralai/Mistral-7B-v0.1", _usual(num_hidden_layers=6)),
    "qwen2": ("Qwen/Qwen2-0.5B", _usual()),
    "qwen3": ("Qwen/Qwen3-0.6B", _usual(head_dim=32)),
    "gemma": ("google/gemma-2b", _usual(head_dim=32, num_key_value_heads=1)),
    "gemma2": ("google/gemma-2-2b", _usual(head_dim=32, num_hidden_layers=10)),
    "phi": ("microsoft/phi-1_5", _usual(num_key_value_heads=0)),
    "phi3": ("microsoft/Phi-3-mini-4k-instruct", (*_usual(num_key_value_heads=4), "pad_token_id=0")),
    "opt": (
        "facebook/opt-125m",
        ("num_hidden_layers=5", "hidden_size=64", "ffn_dim=256", "num_attention_heads=4", "vocab_size=1000",
         "word_embed_proj_dim=64", "max_position_embeddings=128"),
    ),
    "gpt_neox": ("EleutherAI/pythia-160m", _usual(num_key_value_heads=0)),
    "bloom": ("bigscience/bloom-560m", ("n_layer=5", "hidden_size=64", "n_head=4", "vocab_size=1000")),
    "olmo2": ("allenai/OLMo-2-0425-1B", _usual(num_key_value_heads=4)),
    "starcoder2": ("bigcode/starcoder2-3b", _usual()),
    "mixtral": ("mistralai/Mixtral-8x7B-v0.1", _usual(num_local_experts=4, intermediate_size=96)),
    "mini-gpt": ("hfcount/mini-gpt", ("num_hidden_layers=5", "max_position_embeddings=128")),
    "bert": ("google-bert/bert-base-uncased", _usual(num_key_value_heads=0, max_position_embeddings=128)),
    "t5": (
        "google/flan-t5-base",
        ("num_layers=5", "num_decoder_layers=5", "d_model=64", "d_ff=176", "d_kv=16", "num_heads=4", "vocab_size=1000"),
    ),
    "vit": ("google/vit-base-patch16-224", _usual(num_key_value_heads=0, vocab_size=0, image_size=64)),
}  # fmt: skip
"""A bundled card and what is set otherwise, by the name that cells use."""

WAYS: tuple[Mapping[str, Any], ...] = (
    {"recipe": "fp32"},
    {"checkpointing": "yes", "seq": 64},
    {"recipe": "autocast-bf16", "attention": "eager", "batch": 1, "seq": 48},
    {"regime": "lora", "recipe": "bf16"},
    {"regime": "lora", "checkpointing": "yes", "batch": 4},
    {"regime": "qlora", "seq": 64},
    {"regime": "qlora", "recipe": "bf16", "checkpointing": "yes"},
)
"""How every architecture is trained."""

WIDE: tuple[Mapping[str, Any], ...] = (
    {"seq": 256},
    {"seq": 256, "checkpointing": "yes"},
    {"regime": "lora", "seq": 256},
    {"regime": "lora", "seq": 256, "checkpointing": "yes"},
    {"regime": "qlora", "seq": 256, "recipe": "bf16", "checkpointing": "yes"},
)
"""How one that is larger is trained, beside which the kernels' own buffers are small."""

_OPTIMIZERS: tuple[Mapping[str, Any], ...] = (
    {"stepping": "loop"},
    {"stepping": "fused", "recipe": "fp32"},
    {"optimizer": "adamw-8bit", "recipe": "bf16"},
    {"optimizer": "sgd", "recipe": "autocast-bf16"},
    {"optimizer": "adafactor", "recipe": "fp32", "checkpointing": "yes"},
    {"optimizer": "adamw-8bit", "regime": "qlora", "scheme": "nf4-double"},
)
_RECIPES: tuple[Mapping[str, Any], ...] = (
    {"recipe": "megatron-bf16", "accumulation": 2},
    {"recipe": "mixed-fp16"},
    {"recipe": "pure-bf16", "regime": "lora", "targets": "default", "rank": 16},
    {"recipe": "lab", "regime": "lora", "attention": "eager"},
    {"recipe": "autocast-fp16", "regime": "lora", "seq": 96},
    {"recipe": "fp32", "regime": "qlora", "scheme": "fp4"},
    {"recipe": "bf16", "checkpointing": "reentrant", "batch": 4, "seq": 64},
    {"regime": "lora", "checkpointing": "reentrant", "batch": 4, "seq": 64},
    {"regime": "qlora", "scheme": "int8"},
)
VARIATIONS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "gpt2": _OPTIMIZERS,
    "mini-gpt": _OPTIMIZERS,
    "llama": (*_OPTIMIZERS, *_RECIPES),
    "mixtral": (*_RECIPES[:2], *_RECIPES[3:4]),
}
"""What is tried on a few architectures besides."""


FIXED: Mapping[str, Mapping[str, Any]] = {"gemma2": {"attention": "eager"}}  # transformers: no sdpa with soft caps


def grid() -> Iterator[Cell]:
    """All cells, those of one model after the other."""
    for model in MODELS:
        for way in (*(WIDE if model == "llama-wide" else WAYS), *VARIATIONS.get(model, ())):
            yield Cell(model=model, **{**way, **FIXED.get(model, {})})


@functools.lru_cache(maxsize=2)
def bench_of(model: str) -> Workbench:
    """The small model that cells call so."""
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    card, settings = MODELS[model]
    return Workbench(resolve(f"card:{card}"), settings)


def wished(cell: Cell) -> Wished:
    """The kind of training."""
    from hfcount.budget.recipes import recipe
    from hfcount.lora import LoraOptions
    from hfcount.quantization import Scheme
    from hfcount.simulation.plan import Wished

    kind, _, double = cell.scheme.partition("-")
    precisions = recipe(cell.recipe)
    full = cell.regime == "full"
    return Wished(
        precision=precisions.full if full else precisions.adapters,
        options=None if full else LoraOptions(r=cell.rank, targets=cell.targets),
        scheme=Scheme(kind=kind, double=bool(double)) if cell.regime == "qlora" else None,
        attention=cell.attention,
        checkpointing=cell.checkpointing != "no",
        reentrant=cell.checkpointing == "reentrant",
    )


def run_of(cell: Cell) -> Run:
    """The step."""
    from hfcount.simulation.plan import Run

    return Run(
        batch=cell.batch,
        seq=cell.seq,
        optimizer=cell.optimizer,
        stepping=cell.stepping,
        accumulation=cell.accumulation,
    )
