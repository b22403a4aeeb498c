"""The sizes that a repository's name claims: "-7b", "8x7B", "30B-A3B", "E4B".

A name is nobody's count, so every kind says "nominal, from the name". Numbers that mean something else (bits,
contexts, versions, dates, tokens of training) are told apart by what they are glued to and by the words beside them;
where two readings remain, nothing is claimed.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal

from hfcount.conventions.figures import parse_figure
from hfcount.errors import BadInput
from hfcount.sources.source import Claim

SOURCE = "the repository's name"
MAX_NAME = 300
"""A repository's name has at most 96 signs on the Hub; a folder's path may be longer."""

Reading = Literal["total", "active", "effective", "experts"]

_SIZE = re.compile(
    r"(?<![0-9A-Za-z.])(?:"
    r"(?P<experts>\d{1,3})[xX×](?P<each>\d{1,4}(?:\.\d{1,3})?[bBmM])"
    r"|(?P<mark>[aAeE])?(?P<plain>\d{1,4}(?:\.\d{1,3})?[bBmM])"
    r"|(?P<whole>\d{1,3})(?P<unit>[bBmM])(?P<tenths>\d)"  # bloom-1b7
    r")(?![0-9A-Za-z])"
)
_TENTHS = re.compile(r"(?<=-)(\d{1,3})_(\d)(?=[bB](?![0-9A-Za-z]))")  # stablelm-2-1_6b
_NUM_EXPERTS = re.compile(r"[-_](\d{1,4})E(?![0-9A-Za-z])")  # Llama-4-Scout-17B-16E
_READINGS: dict[str, Reading] = {"a": "active", "e": "effective"}

# What a size beside one of these words counts: training steps and data, contexts. "b32" and "patch14" are the codes of
# vision transformers, behind which CLIP's names have the number of image-text pairs ("metaclip-b32-400m").
_DATA = (
    r"tokens?|toks?|steps?|samples?|pairs?|words?|images?|data|dataset|corpus|babylm|laion|datacomp|ctx|context|vocab"
    r"|ckpt|checkpoint|hours?|rows?|examples?|docs?|games?"
)
_DATA_BEFORE = re.compile(rf"(?:^|[-_. ])(?:{_DATA}|step[-_]?\d+k?|[bhlgs]\d{{2}}|patch\d+)[-_. ]$", re.IGNORECASE)
_DATA_AFTER = re.compile(
    r"^[-_. ](?:tokens?|toks?|samples?|pairs?|words?|images?|ctx|context|vocab|hours?|rows?|examples?|docs?|games?)"
    r"(?![A-Za-z])",
    re.IGNORECASE,
)
_TIMES = re.compile(r"(?<![0-9A-Za-z])[xX]\d{1,2}(?![0-9A-Za-z])")  # TinyLlama-1.1B-x2-MoE: how large, it does not say


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Size:
    """One size in a name: as it reads, what it says, where it stands."""

    text: str
    reading: Reading
    value: int
    end: int
    experts: int = 0


def claims_in_name(model_id: str) -> tuple[Claim, ...]:
    """The claims that the last part of `model_id` makes, total first; () where it makes none.

    Kinds: "total (nominal, from the name)"; "active (...)" for A3B, for the 17B of 17B-16E and for the lesser of the
    two sizes of OLMoE-1B-7B; "effective (...)" for Gemma 3n's E4B. What 8x7B claims is no number (the experts share
    attention and embeddings): `approx` is None and `details` has `experts` and `each`.

    >>> [(claim.claim, claim.kind) for claim in claims_in_name("Qwen/Qwen3-30B-A3B")]
    [('30B', 'total (nominal, from the name)'), ('3B', 'active (nominal, from the name)')]
    """
    name = re.split(r"[/\\]", model_id[-MAX_NAME:].rstrip("/\\"))[-1]
    if _TIMES.search(name):
        return ()
    readable = _with_decimal_points(name)
    sizes = _sizes(readable)
    totals = list({size.value: size for size in sizes if size.reading == "total"}.values())
    others = [size for size in sizes if size.reading != "total"]
    return (*_of_totals(totals, readable), *(_claim(size, size.reading) for size in _once(others)))


def _with_decimal_points(name: str) -> str:
    """`name` with "1_6b" as "1.6b".

    In "llama-3_8b" the first figure may be a version: it is decimal only where a version stands before it.
    """

    def decimal(found: re.Match[str]) -> str:
        versioned = re.search(r"\d", name[: found.start()]) is not None
        return f"{found[1]}.{found[2]}" if versioned else found[0].replace("_", "\0")

    return _TENTHS.sub(decimal, name)


def _sizes(name: str) -> list[_Size]:
    found = []
    for match in _SIZE.finditer(name):
        if "\0" in name[: match.start()][-1:] or _DATA_BEFORE.search(name[: match.start()][-20:]):
            continue
        if _DATA_AFTER.match(name[match.end() :]):
            continue
        size = _read(match)
        if size is not None:
            found.append(size)
    return found


def _read(match: re.Match[str]) -> _Size | None:
    if match["experts"]:
        each, experts = _value_of(match["each"]), int(match["experts"])
        usable = each is not None and experts > 1
        return (
            _Size(text=match[0], reading="experts", value=each or 0, end=match.end(), experts=experts)
            if usable
            else None
        )
    text = match["plain"] or f"{match['whole']}.{match['tenths']}{match['unit'].upper()}"
    value = _value_of(text)
    # A million is a context, a number of tokens or of pairs more often than a model.
    if value is None or (value <= 10**6 and text[-1] in "mM"):
        return None
    return _Size(
        text=text, reading=_READINGS.get((match["mark"] or "").lower(), "total"), value=value, end=match.end()
    )


def _value_of(text: str) -> int | None:
    """What `text` says, read literally; None for what is no figure, such as "0B"."""
    try:
        return parse_figure(text).value
    except BadInput:
        return None


def _of_totals(totals: list[_Size], name: str) -> list[Claim]:
    """The claim of the one plain size.

    Of two, a mixture of experts names its active parameters and its total; elsewhere one may be tokens
    ("TinyLlama-1.1B-...-105b") or another model's, and nothing is claimed.
    """
    if len(totals) == 1:
        experts = _NUM_EXPERTS.match(name[totals[0].end :])
        if experts:
            return [_claim(totals[0], "active", experts=int(experts[1]))]
        return [_claim(totals[0], "total")]
    in_billions = [size for size in totals if size.text[-1] in "bB"]
    if len(totals) == 2 and "moe" in name.lower():
        less, more = sorted(totals, key=lambda size: size.value)
        return [_claim(more, "total"), _claim(less, "active")]
    if len(in_billions) == 1 and in_billions[0] is totals[0]:  # 7B-Instruct-...-128M: what follows is of the training
        return [_claim(totals[0], "total")]
    return []


def _once(sizes: list[_Size]) -> list[_Size]:
    return list({(size.reading, size.value, size.experts): size for size in sizes}.values())


def _claim(size: _Size, reading: Reading, **details: Any) -> Claim:
    if reading == "experts":
        kind, approx, details = "total", None, {"experts": size.experts, "each": size.value}
    else:
        kind, approx = reading, float(size.value)
    return Claim(
        claim=size.text, approx=approx, kind=f"{kind} (nominal, from the name)", source=SOURCE, details=details
    )
