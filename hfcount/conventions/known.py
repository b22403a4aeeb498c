"""Conventions that the config alone does not tell: facts about a file, a code or a paper, each with its source.

A fact is bound to the models that it is about by data: a pattern on the model's name, or a model type. Its count is
worked out from the model, so that a variant of the config moves it as it should.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from math import ceil

from hfcount.conventions.subject import Subject
from hfcount.conventions.way import Basis, Convention, Kind
from hfcount.parts import Part, numel_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A fact about some models.

    Attributes:
        name: of the convention that it makes.
        models: what the model's name must match, or None.
        model_types: the model types that it is about, or none.
        difference: what it adds to the base, or None where it does not apply after all.
        why: the derivation in words, beside the difference.
        note: who says so, with the source.
    """

    name: str
    difference: Callable[[Subject], int | None]
    why: str
    note: str
    models: str | None = None
    model_types: tuple[str, ...] = ()
    basis: Basis = "documented"
    kinds: tuple[Kind, ...] = ("total",)
    base: Callable[[Subject], int] = lambda subject: subject.sizes.total

    def is_about(self, subject: Subject) -> bool:
        named = self.models is not None and re.search(self.models, subject.model, re.IGNORECASE) is not None
        return named or subject.config.model_type in self.model_types


def known_conventions(subject: Subject) -> Iterator[Convention]:
    """The conventions that known facts make for this model."""
    for fact in KNOWN:
        difference = fact.difference(subject) if fact.is_about(subject) else None
        if difference:
            base = fact.base(subject)
            yield Convention(
                name=fact.name,
                parameters=base + difference,
                derivation=_derivation(subject, base, difference, fact.why),
                note=fact.note,
                basis=fact.basis,
                kinds=fact.kinds,
                particular=fact.models != ANY_MODEL,
            )


def _derivation(subject: Subject, base: int, difference: int, why: str) -> str:
    if not base:
        return why
    start = "total" if base == subject.sizes.total else f"{base:,}"
    return f"{start} {'+' if difference > 0 else '-'} {abs(difference):,} ({why})"


def _product(*sizes: int | None) -> int | None:
    """The product of sizes; None if one is not there."""
    result = 1
    for size in sizes:
        if size is None:
            return None
        result *= size
    return result


def _causal_masks(subject: Subject) -> int | None:
    """A mask of T x T a layer, registered as a persistent buffer in the class that wrote the file."""
    positions = subject.size("max_position_embeddings")
    return _product(subject.layers, positions, positions)


def _vocabulary(rows: int) -> Callable[[Subject], int | None]:
    """The total with `rows` rows of vocabulary instead of the config's own."""

    def difference(subject: Subject) -> int | None:
        built, cost = subject.vocabulary_rows
        return (rows - built) * cost if built else None

    return difference


def _padded(multiple: int) -> Callable[[Subject], int | None]:
    """The total with the vocabulary rounded up to a multiple."""

    def difference(subject: Subject) -> int | None:
        built, _ = subject.vocabulary_rows
        return _vocabulary(ceil(built / multiple) * multiple)(subject)

    return difference


def _replicated(shards: int, *, embedding_bias: bool) -> Callable[[Subject], int | None]:
    """Norms and output biases kept once a shard, as tensor parallelism keeps them.

    1. A norm works on the whole residual stream, so each of s shards has a copy: (s - 1) x all norms.
    2. A matrix whose input is sharded (attention's output, the MLP's second) adds its bias after the sum; each shard
       has a bias of its own: (s - 1) x the biases of width d in attention and MLP.
    3. With a sharded embedding that is a matrix product, each shard has a bias of width d there: s x d.
    """

    def difference(subject: Subject) -> int | None:
        hidden = subject.hidden
        if hidden is None:
            return None
        after_the_sum = [part for part in subject.biases if part.shape == (hidden,)]
        copied = subject.part("norm") + numel_of(after_the_sum, "attention", "mlp")
        return (shards - 1) * copied + (shards * hidden if embedding_bias else 0)

    return difference


def _layer_norm_biases(subject: Subject) -> int | None:
    """Less the shifts of the norms inside the layers."""
    return -numel_of((part for part in subject.biases if part.layered), "norm")


def _prediction_module(subject: Subject) -> int | None:
    """The parameters of the multi-token-prediction module that only it has: one more layer of the last kind, a
    projection of two streams to one (2d x d), and three norms of width d.
    """
    hidden, layers = subject.hidden, subject.layers
    if hidden is None or layers is None:
        return None
    last = sum(part.numel // part.times for part in _last_layer(subject))
    modules = getattr(subject.config, "num_nextn_predict_layers", None) or 1
    return int(modules) * (last + 2 * hidden**2 + 3 * hidden)


def _last_layer(subject: Subject) -> tuple[Part, ...]:
    """The rows of DeepSeek-V3's last layer. Its dense layers come first, so of a form's kinds of layers, where no row
    has a number, it has what all layers have and what the layers with experts have.
    """
    numbered = any(part.layer is not None for part in subject.parts)
    kinds = {part.kind for part in subject.parts if part.layered and (part.expert or part.times == subject.layers)}
    return tuple(
        part
        for part in subject.parts
        if (part.layer == (subject.layers or 0) - 1 if numbered else part.layered and part.kind in kinds)
    )


def _prediction_module_as_stored(subject: Subject) -> int | None:
    """The module with its own copies of embedding and head, and what the file stores beside the FP8 weights."""
    unique, (rows, _), hidden = _prediction_module(subject), subject.vocabulary_rows, subject.hidden
    if unique is None or hidden is None:
        return None
    modules = int(getattr(subject.config, "num_nextn_predict_layers", None) or 1)
    return (
        unique + modules * 2 * rows * hidden + _block_scales(subject, modules) + _correction_biases(subject, modules)
    )


def _block_scales(subject: Subject, modules: int) -> int:
    """One fp32 scale for each block of 128 x 128 weights of the matrices in the layers, the router's left out."""
    scales = 0
    last = _last_layer(subject)
    for part in subject.parts:
        if not part.layered or part.component not in _FP8 or len(part.shape) < 2:
            continue
        *experts, out, width = part.shape
        halves = 2 if "gate_up" in part.name else 1  # stored as two matrices
        blocks = halves * ceil(out // halves / 128) * ceil(width / 128) * (experts[0] if experts else 1)
        scales += blocks * (part.times + modules if part in last else part.times)
    return scales


_FP8 = ("attention", "mlp", "experts", "shared_experts")


def _correction_biases(subject: Subject, modules: int) -> int:
    """The routers' correction biases, which the class keeps as buffers: one of E a layer with experts."""
    experts = [part for part in subject.parts if part.expert]
    if not experts:
        return 0
    layers = {part.layer for part in experts} - {None}
    many = len(layers) or max(part.times for part in experts)
    return max(part.expert for part in experts) * (many + modules)


def _more_key_value_heads(heads: int) -> Callable[[Subject], int | None]:
    """Keys and values stored for `heads` heads instead of the config's k."""

    def difference(subject: Subject) -> int | None:
        kept, hidden = subject.size("num_key_value_heads"), subject.hidden
        size = subject.size("head_dim") or (hidden or 0) // (subject.size("num_attention_heads") or 1)
        return _product(2, subject.layers, None if kept is None else heads - kept, size or None, hidden)

    return difference


def _embedding_matrices(times: int) -> Callable[[Subject], int | None]:
    return lambda subject: times * subject.part("token_embedding")


GPT2_PAPER = ((12, 768, 117), (24, 1024, 345), (36, 1280, 762), (48, 1600, 1542))
"""Layers, width and printed millions of the four sizes in table 2 of the GPT-2 paper (Radford et al. 2019)."""


def vocabularies_of_the_gpt2_paper() -> tuple[int, int]:
    """The least and the largest vocabulary with which all four printed sizes come out, with 1,024 positions.

    A GPT-2 of V rows has V·d + 1024·d + L·(12d² + 13d) + 2d parameters, so each printed size allows a range of V.
    """
    low, high = 0, 10**9
    for layers, d, millions in GPT2_PAPER:
        rest = 1024 * d + layers * (12 * d**2 + 13 * d) + 2 * d
        low = max(low, ceil((millions * 10**6 - 500_000 - rest) / d))
        high = min(high, (millions * 10**6 + 500_000 - 1 - rest) // d)
    return low, high


def _gpt2_paper_note() -> str:
    low, high = vocabularies_of_the_gpt2_paper()
    return (
        f"an inference: the paper's four sizes fit only a vocabulary of {low:,} to {high:,} rows, and GPT-1's has "
        "40,478. OpenAI says only that its first counts were wrong (openai/gpt-2 README). It is not whether the tied "
        "LM head is counted: that gives the figure under 'LM head counted again'"
    )


ANY_MODEL = "."

KNOWN: tuple[Known, ...] = (
    Known(
        name="with stored causal masks",
        model_types=("gpt2",),
        models=r"$^",
        difference=_causal_masks,
        why="a causal mask of T·T a layer",
        note="a fact about the published files, written when the class still registered its mask as a buffer "
        "(huggingface/transformers, modeling_gpt2.py before 2023); the Hub's sidebar counts it",
    ),
    Known(
        name="with GPT-1's vocabulary",
        models=r"(^|/)gpt2(-medium|-large|-xl)?$",
        difference=_vocabulary(40_478),
        why="40,478 rows of vocabulary",
        note=_gpt2_paper_note(),
        basis="inference",
    ),
    Known(
        name="with a padded vocabulary",
        models=ANY_MODEL,
        difference=_padded(128),
        why="vocabulary rounded up to 128s",
        note="Megatron-LM's --make-vocab-size-divisible-by 128; nanoGPT trains GPT-2 with 50,304 rows",
        basis="inference",
    ),
    Known(
        name="token embedding of 256,128 rows",
        models=r"google/gemma-",
        difference=lambda s: (
            (256_128 - s.vocabulary_rows[0]) * (s.hidden or 0) if s.vocabulary_rows[0] == 256_000 else None
        ),
        base=lambda s: s.part("token_embedding"),
        why="the training vocabulary has 128 rows more than the one on the Hub",
        note="Gemma's reports count 256,128 rows (arXiv:2403.08295, table 2), the Hub's config has 256,000",
        kinds=("embedding",),
    ),
    Known(
        name="with norms and biases replicated on 8 shards",
        model_types=("gptj",),
        difference=_replicated(8, embedding_bias=True),
        why="7 more copies of norms and output biases, and 8 embedding biases",
        note="mesh-transformer-jax keeps them once a shard: kingoflolz/mesh-transformer-jax, layers.py",
    ),
    Known(
        name="with norms and biases replicated on 4 shards",
        models=r"stablelm-base-alpha-3b",
        difference=_replicated(4, embedding_bias=False),
        why="3 more copies of norms and output biases",
        note="GPT-NeoX at tensor-parallel 4 counts each shard's copy; the mechanism is GPT-J's",
        basis="inference",
    ),
    Known(
        name="without the biases of the layers' norms",
        models=r"stablelm-2-.*1_6b",
        difference=_layer_norm_biases,
        why="the shifts of the LayerNorms inside the layers",
        note="StableLM 2 1.6B's card; the difference is this to the unit",
        basis="inference",
    ),
    Known(
        name="one embedding matrix less",
        models=r"microsoft/phi-1(_5)?$",
        difference=_embedding_matrices(-1),
        why="one of the two embedding matrices",
        note="Phi-1.5's 1.3 billion (arXiv:2309.05463, section 2.1) leave out one of its two matrices",
        basis="inference",
    ),
    Known(
        name="three embedding matrices less",
        models=r"Qwen/Qwen2-7B",
        difference=_embedding_matrices(-3),
        why="one embedding that the published total leaves out, then two more",
        note="Qwen2's table: its non-embedding figure is its total, which lacks one embedding already, less two",
        basis="inference",
        kinds=("non-embedding",),
    ),
    Known(
        name="multi-token-prediction module alone",
        model_types=("deepseek_v3",),
        base=lambda s: 0,
        difference=_prediction_module,
        why="one more layer with experts, 2d·d to join two streams, three norms",
        note="deepseek-ai/DeepSeek-V3 README_WEIGHTS.md: unique parameters, shared embedding and head left out",
        kinds=("prediction module",),
    ),
    Known(
        name="with the multi-token-prediction module, as stored",
        model_types=("deepseek_v3",),
        difference=_prediction_module_as_stored,
        why="the module with its copies of embedding and head, the FP8 weights' block scales, the routers' biases",
        note="deepseek-ai/DeepSeek-V3 README.md: 671B of the model and the module's weights make 685B on the Hub",
    ),
    Known(
        name="with 16 key-value heads stored",
        models=r"Llama-3\.1-405B",
        difference=_more_key_value_heads(16),
        why="keys and values of 8 more heads a layer",
        note="the first checkpoint on the Hub repeated its 8 key-value heads to 16; the config has 8",
    ),
)
