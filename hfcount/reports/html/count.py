"""The page of `hfcount MODEL`: where the parameters are, why that is the number, who counts otherwise, what trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfcount.conventions import Convention
from hfcount.conventions.ways import CLAIM_KINDS
from hfcount.memory_answer import Memory
from hfcount.reports.html.bars import component_chart, layer_chart
from hfcount.reports.html.memory import memory_view
from hfcount.reports.html.page import render
from hfcount.reports.html.symbols import symbols_of, values_in
from hfcount.reports.units import exact, without_form
from hfcount.result import Count
from hfcount.sources import Claim

SOURCES = {
    "card": "the bundled card", "folder": "a local folder", "hub": "the Hugging Face Hub",
    "type": "the default config", "header": "a checkpoint's header",
}  # fmt: skip
BASES = {
    "arithmetic": "",  # on the model as built: the rule, so it is not said
    "documented": "documented beyond the model as built",
    "inference": "an inference: it fits, but nobody has said so",
    "rule": "a rule of thumb",
}


def count_page(result: Count, memory: Memory | None = None, *, without_memory: str = "") -> str:
    """The page of one model as one HTML file; `without_memory` says why there is no budget, where one was wanted."""
    budget = memory_view(memory) if memory is not None else {}
    versions: Mapping[str, str] = {**result.versions, **(memory.versions if memory is not None else {})}
    return render(
        "count.html",
        charts=True,
        title=f"{result.model}: {exact(result.sizes.total)} parameters",
        result=result,
        source=SOURCES.get(result.source.kind, result.source.kind),
        tiles=_tiles(result),
        by_component=component_chart(result.components),
        by_layer=layer_chart(result.parts),
        symbols=symbols_of(result.form, values_in(result.config, result.form)) if result.form is not None else (),
        without_form=without_form(result.model_class),
        published=_published(result.conventions),
        unexplained=_unexplained(result),
        refused_ranks=_refused(result),
        conventions=[_convention(result, each) for each in result.conventions],
        without_memory=without_memory,
        versions=versions,
        **{"memory": None, **budget},
    )


def _tiles(result: Count) -> list[tuple[str, int, str]]:
    """(what, parameters, remark) of the totals that tell this model from others."""
    sizes = result.sizes
    tiles = [
        ("embeddings", sizes.embedding, "token and position"),
        ("LM head", sizes.lm_head, "a matrix of its own" if sizes.lm_head else "no matrix of its own"),
        ("non-embedding", sizes.non_embedding, "the N of scaling laws"),
    ]
    if sizes.active != sizes.total:
        tiles.append(("active", sizes.active, "what one token touches"))
    if sizes.untied != sizes.total:
        tiles.append(("untied", sizes.untied, "the tied head counted again"))
    return tiles


def _published(conventions: tuple[Convention, ...]) -> list[tuple[str, Convention]]:
    """Each published figure with the convention that gives it, smallest count first, so that they read as a story."""
    told = sorted(conventions, key=lambda each: each.parameters)
    return [(figure, each) for each in told for figure in each.published]


def _unexplained(result: Count) -> list[Claim]:
    """The sizes on the model's card that no way of counting gives; none for a variant, which no card is about."""
    if any(note.startswith("a variant: ") for note in result.notes):
        return []
    given = {figure for each in result.conventions for figure in each.published}
    sizes = {each.claim: each for each in result.source.claims if each.kind in CLAIM_KINDS}
    return [each for each in sizes.values() if each.claim.strip() not in given]


def _refused(result: Count) -> dict[str, list[int]]:
    """Why PEFT attaches nothing -> the ranks that were asked for."""
    found: dict[str, list[int]] = {}
    for each in result.lora:
        if each.trainable is None:
            found.setdefault(each.reason or "no figures", []).append(each.r)
    return found


def _convention(result: Count, each: Convention) -> dict[str, Any]:
    most = max(other.parameters for other in result.conventions)
    return {
        "way": each,
        "difference": each.parameters - result.sizes.total,
        "width": round(100 * each.parameters / most, 2),
        "basis": BASES[each.basis],
    }
