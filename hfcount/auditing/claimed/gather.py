"""All that a model claims: front matter, text, name, the Hub's count and the index file, each figure once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hfcount.auditing.claimed.names import claims_in_name
from hfcount.auditing.claimed.text import claims_in_text
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

HUB_TOTAL = "total (Hub safetensors)"
INDEX_TOTAL = "total (index file)"
INDEX_BYTES = "bytes (index file)"
INDEX = "the index file"

_NAMED = ("card", "folder", "hub", "row")
"""Sources whose name somebody gave; a single file's is an accident."""


def claims_of(described: Described) -> tuple[Claim, ...]:
    """Everything that `described` claims, in this order: front matter, text, name, Hub, index file.

    What one place says twice is one claim: the first, with the sources of the others in `details["also"]`. The same
    figure in two places (the text and the name) is two claims.
    """
    named = described.where in _NAMED
    return (
        *_once(described.claims),
        *_once(claims_in_text(described.card, described.model)),
        *(_of_name(described) if named else ()),
        *_of_hub(described.hub_total),
        *_of_index(described.checkpoint.header.index if described.checkpoint else {}),
    )


def _of_name(described: Described) -> Iterator[Claim]:
    """The name's claims; those of an adapter's name are about its base model, which `details` says."""
    adapter = described.adapter_config is not None and described.config is None
    for claim in claims_in_name(described.model):
        yield dataclasses.replace(claim, details={**claim.details, "of": "base model"}) if adapter else claim


def _of_hub(total: int | None) -> Iterator[Claim]:
    if total is not None:
        yield Claim(claim=f"{total:,}", value=total, kind=HUB_TOTAL, source="safetensors.total")


def _of_index(index: Mapping[str, Any]) -> Iterator[Claim]:
    """The claims of an index file's metadata; what is no whole number there claims nothing."""
    for key, kind in (("total_parameters", INDEX_TOTAL), ("total_size", INDEX_BYTES)):
        value = index.get(key)
        if isinstance(value, float) and value.is_integer():  # transformers 4.5x wrote sums of floats
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            yield Claim(claim=f"{value:,}", value=value, kind=kind, source=f"{INDEX}: {key}")


def _once(claims: Iterable[Claim]) -> Iterator[Claim]:
    """`claims` of one place without repeats: the same kind and the same figure, printed to the same precision."""
    first: dict[tuple[Any, ...], Claim] = {}
    also: dict[tuple[Any, ...], list[str]] = {}
    for claim in claims:
        figure = claim.value if claim.value is not None else claim.approx
        key = (claim.kind, figure, _precision(claim)) if figure is not None else (claim.kind, claim.claim, None)
        if claim.details.keys() - {"approximate"}:  # a PEFT configuration, a batch: what it belongs to
            key = (*key, repr(sorted(claim.details.items(), key=lambda item: item[0])))
        if key in first:
            also.setdefault(key, []).append(claim.source)
        else:
            first[key] = claim
    for key, claim in first.items():
        repeats = [source for source in also.get(key, ()) if source != claim.source]
        yield dataclasses.replace(claim, details={**claim.details, "also": tuple(repeats)}) if repeats else claim


def _precision(claim: Claim) -> int:
    """The digits that are printed behind the point: 7B and 7.0B say different things."""
    return len("".join(sign for sign in claim.claim.partition(".")[2] if sign.isdigit()))
