"""The ways in which people count, each worked out from one model's inventory.

The list is closed and kept tight on purpose: with enough conventions every wrong figure would find one. A convention
that needs knowledge beyond the config stands in known.py, with its source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from hfcount.conventions.figures import parse_figure
from hfcount.conventions.known import known_conventions
from hfcount.conventions.subject import Subject
from hfcount.conventions.way import Convention
from hfcount.errors import BadInput
from hfcount.sources.source import Claim


def conventions(subject: Subject, *, claims: Sequence[Claim] = ()) -> tuple[Convention, ...]:
    """The conventions that apply to a model, as built first, each with the `claims` that it gives.

    A convention that gives the same count as one before it says nothing new and is left out, unless it is known of
    this very model.
    """
    found: dict[tuple[int, str], Convention] = {}
    for way in WAYS:
        for convention in way(subject):
            same = found.setdefault((convention.parameters, convention.kinds[0]), convention)
            if convention.particular and same.basis == "arithmetic" and same is not next(iter(found.values())):
                found[convention.parameters, convention.kinds[0]] = convention
    return _with_claims(tuple(found.values()), claims)


def as_built(subject: Subject) -> Iterator[Convention]:
    yield Convention(
        name="as built",
        parameters=subject.sizes.total,
        derivation="each distinct parameter once",
        note="what training updates and what memory holds; transformers' num_parameters() on a tied model",
    )


def untied(subject: Subject) -> Iterator[Convention]:
    """A tied LM head counted as a matrix of its own, as if embedding and head were separate."""
    extra = subject.sizes.untied - subject.sizes.total
    if extra:
        yield Convention(
            name="LM head counted again",
            parameters=subject.sizes.untied,
            derivation=f"total + {extra:,} (the tied head as a matrix of its own)",
            note="what a count without tying sees: accelerate's default empty initialisation, a file that stores both",
        )


def without_embeddings(subject: Subject) -> Iterator[Convention]:
    """The parameters that scaling laws count, and the partial exclusions that other tools make."""
    sizes, tokens, positions = subject.sizes, subject.part("token_embedding"), subject.part("position_embedding")
    if not tokens:
        return
    head = f" - {sizes.lm_head:,} (LM head)" if sizes.lm_head else ""
    yield Convention(
        name="non-embedding",
        parameters=sizes.non_embedding,
        derivation=f"total - {sizes.embedding:,} (token and position embeddings){head}",
        note="N of the scaling laws (Kaplan et al. 2020, arXiv:2001.08361, section 2.1); Pythia's and Qwen's tables",
        kinds=("non-embedding", "total"),
    )
    if sizes.lm_head:
        yield Convention(
            name="one embedding matrix less",
            parameters=sizes.total - tokens,
            derivation=f"total - {tokens:,} (token embedding; the LM head stays)",
            note="Phi-1.5's 1.3B; with positions left out too, transformers' num_parameters(exclude_embeddings=True), "
            "which keeps an untied head",
        )
    if positions:
        yield Convention(
            name="without position embeddings",
            parameters=sizes.total - positions,
            derivation=f"total - {positions:,} (position embeddings)",
            note="nanoGPT's get_num_params(non_embedding=True), karpathy/nanoGPT model.py",
        )


def the_embedding(subject: Subject) -> Iterator[Convention]:
    tokens = subject.part("token_embedding")
    if tokens:
        yield Convention(
            name="token embedding alone",
            parameters=tokens,
            derivation="the token embedding's matrix",
            note="the embedding column of Gemma's tables (arXiv:2403.08295, table 2)",
            kinds=("embedding",),
        )


def twelve_l_d_squared(subject: Subject) -> Iterator[Convention]:
    layers, hidden = subject.layers, subject.hidden
    dense = subject.sizes.active == subject.sizes.total
    one_stack = not getattr(subject.config, "is_encoder_decoder", False)
    if layers and hidden and dense and one_stack and subject.part("attention"):
        yield Convention(
            name="12·L·d² rule",
            parameters=12 * layers * hidden**2,
            derivation=f"12 · {layers} · {hidden:,}² (4d² of attention, 8d² of an MLP)",
            note="a rule of thumb and not a count: Kaplan et al. 2020, arXiv:2001.08361, section 2.1",
            basis="rule",
            kinds=("non-embedding", "total"),
        )


def without_biases(subject: Subject) -> Iterator[Convention]:
    biases = sum(part.numel for part in subject.biases)
    if biases and subject.part("token_embedding"):
        yield Convention(
            name="without biases",
            parameters=subject.sizes.total - biases,
            derivation=f"total - {biases:,} (all biases, the norms' too)",
            note="nanoGPT with bias=False, karpathy/nanoGPT transformer_sizing.ipynb",
        )


def with_buffers(subject: Subject) -> Iterator[Convention]:
    stored = subject.sizes.stored_buffers
    if stored:
        yield Convention(
            name="with stored buffers",
            parameters=subject.sizes.total + stored,
            derivation=f"total + {stored:,} (elements of buffers that a checkpoint stores, not trained)",
            note="the elements in the file: what the Hub's sidebar sums up",
        )


def active(subject: Subject) -> Iterator[Convention]:
    """What one token touches in a mixture of experts, by the three habits of counting the embeddings."""
    sizes, tokens = subject.sizes, subject.part("token_embedding", "position_embedding")
    if sizes.active == sizes.total:
        return
    idle = sizes.total - sizes.active
    yield Convention(
        name="active",
        parameters=sizes.active,
        derivation=f"total - {idle:,} (the experts that are not chosen)",
        note="all embeddings counted: Mixtral's 12.9B (arXiv:2401.04088, table 2)",
        kinds=("active",),
    )
    yield Convention(
        name="active, without the input embedding",
        parameters=sizes.active - tokens,
        derivation=f"total - {idle:,} (idle experts) - {tokens:,} (embedding; the unembedding stays)",
        note="gpt-oss counts the unembedding and not the embedding (arXiv:2508.10925, table 1)",
        kinds=("active",),
    )
    yield Convention(
        name="active, non-embedding",
        parameters=sizes.active - sizes.embedding - sizes.lm_head,
        derivation=f"total - {idle:,} (idle experts) - {sizes.embedding + sizes.lm_head:,} (embeddings and LM head)",
        note="the non-embedding habit applied to active parameters",
        kinds=("active",),
    )


def towers(subject: Subject) -> Iterator[Convention]:
    """The parts of a model that reads more than text."""
    vision, rest = subject.part("vision"), subject.part("vision", "audio", "projector")
    if not vision or not subject.part("token_embedding"):
        return
    text = subject.sizes.total - rest
    yield Convention(
        name="language model alone",
        parameters=text,
        derivation=f"total - {rest:,} (vision, audio and the projectors)",
        note="what remains when the model reads text alone",
        kinds=("total", "text"),
    )
    yield Convention(
        name="language model, non-embedding",
        parameters=text - subject.sizes.embedding - subject.sizes.lm_head,
        derivation=f"total - {rest:,} (vision, audio, projectors) - {subject.sizes.embedding:,} (embeddings)",
        note="the non-embedding column of Gemma 3's table (arXiv:2503.19786, table 1)",
        kinds=("non-embedding",),
    )
    yield Convention(
        name="vision encoder alone",
        parameters=vision,
        derivation="the vision encoder's own parameters",
        note="the vision column of Gemma 3's table (arXiv:2503.19786, table 1)",
        kinds=("vision",),
    )


WAYS: tuple[Callable[[Subject], Iterator[Convention]], ...] = (
    as_built,
    untied,
    without_embeddings,
    the_embedding,
    twelve_l_d_squared,
    without_biases,
    with_buffers,
    active,
    towers,
    known_conventions,
)

# Which conventions a kind of published figure may mean; a kind that is not here is about something else.
CLAIM_KINDS = {
    "total": "total",
    "total (nominal, from the name)": "total",
    "total (paper, wrong)": "total",
    "total (no biases)": "total",
    "total (Hub)": "total",
    "total (Hub safetensors)": "total",
    "total (Hub incl. MTP)": "total",
    "total (checkpoint with 16 KV heads)": "total",
    "trainable (full fine-tuning)": "total",
    "non-embedding": "non-embedding",
    "active": "active",
    "active (nominal, from the name)": "active",
    "embedding": "embedding",
    "vision encoder": "vision",
    "text encoder": "text",
}


def _with_claims(found: tuple[Convention, ...], claims: Sequence[Claim]) -> tuple[Convention, ...]:
    """Each claim written to the first convention of its kind that gives it; a claim that none gives stays out."""
    published: dict[int, list[str]] = {}
    for claim in claims:
        kind = CLAIM_KINDS.get(claim.kind)
        try:
            figure = parse_figure(claim.claim)
        except BadInput:  # a remark, or a size in bytes
            continue
        index = next((i for i, each in enumerate(found) if kind in each.kinds and figure.holds(each.parameters)), None)
        if index is not None and figure.text not in published.setdefault(index, []):
            published[index].append(figure.text)
    return tuple(
        dataclasses.replace(each, published=tuple(published.get(index, ()))) for index, each in enumerate(found)
    )
