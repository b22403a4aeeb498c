"""The words in which cards speak of parameters: figures, what kind of count is meant, and what spoils a claim.

A claim is an exact integer where it is printed as one, else a rounded figure; `parse_figure` reads both. Inequalities
and ranges ("over 100M", "from 125M to 175B") claim no figure.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from hfcount.conventions.figures import parse_figure
from hfcount.errors import BadInput
from hfcount.sources.source import Claim

LEAST_PLAIN = 10_000
"""The least number without a unit that is taken for a count of parameters: "7 parameters" may be billions."""

PARAMETERS = (
    r"(?:param(?:e|a|è|é)t(?:er|re)s?|parámetros|parâmetros|params?"
    r"|参数(?:量|规模|数量?|总量)?|パラメータ数?|파라미터)"
)
_UNIT = r"(?:[kmbt](?![a-z\d])|-?(?:thousand|million|billion|trillion|bn|mn|mil)(?![a-z]))"
FIGURE = (
    r"(?<![\w.,$€£¥/^−-])[~≈]?\s?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,16}(?:\.\d{1,6})?)"
    rf"(?:\s?{_UNIT})?(?![a-z\d%]|[.,]\d)"
)
FIGURES = re.compile(FIGURE, re.IGNORECASE)

QUALIFIERS = (
    r"(?:in|total|overall|active|activated|trainable|learnable|non-?\s?embedding|embedding|embeddings|effective|model"
    r"|dense|of|the|its|unique|all|\((?:total|active|activated|trainable)\))"
)
ROUGHLY = re.compile(r"(?:about|around|approximately|approx\.?|roughly|circa|some|[~≈约])\s*$", re.IGNORECASE)
INEXACT = re.compile(
    r"(?:over|more than|less than|fewer than|smaller than|larger than|under|up to|at least|at most|beyond|below|above"
    r"|exceed\w*|nearly|almost|just shy of|from|between|sub|than|every|each|extra|additional|another|[<>≤≥+])\W{0,2}$",
    re.IGNORECASE,
)
ENUMERATED = re.compile(rf"{_UNIT}?(?:(?:,|/|–|-|&|\band\b|\bor\b|\bto\b|\bthrough\b)\s*){{1,2}}$", re.IGNORECASE)
OR_OTHER = re.compile(r"^\W{0,3}(?:or|and) (?:smaller|less|fewer|more|larger|bigger|above|below|up)\b", re.IGNORECASE)
_MEANT_ELSE = re.compile(
    r"^[\s(-]{0,2}(?!(?:per|for|with|on|in|of|and)\b)(?:\w{1,20}[- ]){0,2}"
    r"(?:tokens?|words?|images?|image-text|pairs?|samples?|examples?|documents?|steps?|hours?|gb|mb|gib|mib|tb|bits?"
    r"|layers?|heads?|context|vocab\w*|downloads?|flops|rows?|sentences?|frames?|epochs?|bytes?)(?![a-z])",
    re.IGNORECASE,
)

# First match wins: what is less common is asked first. A component that the audit has no count for spoils the claim.
_KINDS = (
    ("non-embedding", r"non-?\s?embed\w*|(?:excluding|without|w/o|excl\.?)\s(?:the\s)?embed\w*|非嵌入"),
    ("active", r"activat\w+|active|per[- ]token|per forward|for each token|激活"),
    ("trainable", r"trainable|learnable|可训练"),
    ("effective", r"effective"),
    ("vision encoder", r"(?:vision|visual|image)[- ](?:encoder|tower|transformer)|视觉编码器"),
    ("text encoder", r"text[- ](?:encoder|tower|transformer)"),
    (
        "",
        r"\b(?:experts?|adapters?|projectors?|connectors?|backbone|decoder|encoder|lm[- ]head|layers?|block|draft|mtp"
        r"|multi-token prediction|vocoder|tokenizer|router|codec|unet|vae|discriminator|per|teacher|student)\b",
    ),
    ("embedding", r"embedding"),
    ("total", r""),
)
_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KINDS)
# "a vision encoder (400M parameters)", "the decoder has 7B parameters"; "-parameter SigLIP vision encoder".
_PART = r"(?:encoder|tower|projector|connector|adapter|backbone|decoder|head|tokenizer|vocoder|unet|vae|experts?)"
PART_BEFORE = re.compile(
    rf"(?:\b[\w-]{{1,20}}\s)?{_PART}\s?(?:\(|with|of|has|having|contains|is|,|:)?\s?(?:an?|about|around|~|≈)?\s?$",
    re.IGNORECASE,
)
PART_BEHIND = re.compile(rf"^[^,.]{{0,40}}\b{_PART}\b(?!-)", re.IGNORECASE)
_LORA = re.compile(r"\b(?:q?lora|dora|adapters?|peft)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mention:
    """A figure that a text gives for parameters of this model: where it begins, as printed, its kind."""

    start: int
    text: str
    kind: str
    rough: bool = False


def kind_of(words: str, context: str = "") -> str:
    """The kind of count that `words` speak of; "" for a component that is not audited. `context` tells LoRA."""
    kind = next(kind for kind, pattern in _PATTERNS if pattern.search(words))
    return "trainable (LoRA)" if kind == "trainable" and _LORA.search(context) else kind


def means_else(after: str) -> bool:
    """Whether what stands behind a figure says that it counts tokens, images, bytes, ... and no parameters."""
    return _MEANT_ELSE.match(after[:60]) is not None


def claim_of(mention: Mention, line: int, **details: Any) -> Claim | None:
    """The claim that a mention makes; None where its figure is none."""
    text = re.sub(r"(?<=\d)-(?=[a-z])", " ", mention.text.strip())
    try:
        figure = parse_figure(text)
    except BadInput:
        return None
    printed = re.search(r"[a-z]", text, re.IGNORECASE) is None
    if printed and figure.value < LEAST_PLAIN:
        return None
    exact = printed and not mention.rough and text[0] not in "~≈"
    if mention.rough:
        details["approximate"] = True
    return Claim(
        claim=text,
        value=figure.value if exact else None,
        approx=None if exact else float(figure.value),
        kind=mention.kind,
        source=f"README.md line {line}",
        details=details,
    )


def unambiguous(mentions: list[Mention]) -> list[Mention]:
    """`mentions` less the kinds of which there are several figures: a text that lists sizes claims none of them."""
    figures: dict[str, set[str]] = {}
    for mention in mentions:
        figures.setdefault(mention.kind, set()).add(mention.text.strip(" ~≈").lower())
    return [mention for mention in mentions if len(figures[mention.kind]) == 1]
