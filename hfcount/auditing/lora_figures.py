"""A published size of LoRA ("0.8M with r = 8 on query and value") held against PEFT's adapters on the empty model.

The figure may be of the whole model, of one layer ("per-layer trainable (LoRA)"), or a share of the weights that are
adapted ("share: trainable of attention (LoRA)"). `lora` in the claim's details has `targets` and `r`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from hfcount.auditing.finding import Finding, Verdict
from hfcount.auditing.peft_methods import load_base
from hfcount.auditing.stating import found, unverifiable, weighed
from hfcount.auditing.weighing import Counts, Weighed, weigh
from hfcount.configs import LoadedConfig
from hfcount.conventions import Convention, Figure, parse_figure
from hfcount.errors import BadInput
from hfcount.inventory import inventory
from hfcount.lora.attach import linear_modules, suffix
from hfcount.lora.count import LoraCount, count_lora
from hfcount.lora.options import TARGET_GROUPS, LoraOptions
from hfcount.skeleton import build_skeleton
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedModel

KINDS = re.compile(
    r"^(?P<per_layer>per-layer )?trainable \(LoRA\)(?:: .*)?$|^share: trainable of (?P<share>.+) \(LoRA\)$"
)
"""The kinds of claims that `judge_lora` takes."""

# The matrices of attention in the papers' letters, and what classes of transformers call them.
_SPELLINGS = {
    "q": ("q_proj", "query", "query_proj", "q_lin"),
    "k": ("k_proj", "key", "key_proj", "k_lin"),
    "v": ("v_proj", "value", "value_proj", "v_lin"),
    "o": ("o_proj", "out_proj"),
}


def judge_lora(claim: Claim, described: Described) -> Finding:
    """What became of a figure of LoRA's: `expected` is what PEFT trains (None of a share), `delta` the claim less it.

    "unverifiable" where there is no config, or the claim does not say which matrices; else "ok", "explained" (matrices
    that the model has fused, counted apart) or "mismatch".
    """
    kind = KINDS.match(claim.kind)
    lora = claim.details.get("lora")
    if kind is None or not isinstance(lora, Mapping) or "targets" not in lora or not isinstance(lora.get("r"), int):
        return unverifiable(described.model, claim, "the claim does not say `lora: {targets, r}`")
    if described.config is None:
        return unverifiable(described.model, claim, "no config.json to hold it against")
    try:
        loaded = load_base(described.model, described.config)
        if kind["share"]:
            return _judge_share(claim, described, loaded, lora, kind["share"])
        return _judge_count(claim, described, loaded, lora, per_layer=bool(kind["per_layer"]))
    except BadInput as error:
        return unverifiable(described.model, claim, f"it cannot be counted: {error}")


def _judge_count(
    claim: Claim, described: Described, loaded: LoadedConfig, lora: Mapping[str, Any], *, per_layer: bool
) -> Finding:
    figure = _figure(claim)
    if figure is None:
        return unverifiable(described.model, claim, f"{claim.claim!r} is no count of parameters")
    model = build_skeleton(loaded).model
    table = inventory(model)
    trainable, how, convention = _trainable(loaded, model, lora)
    layers = len(set(table["layer"].dropna())) if per_layer else 1
    expected, rest = divmod(trainable, max(layers, 1))
    if rest:
        return unverifiable(described.model, claim, f"{trainable:,} are not the same in each of {layers} layers")
    shown = f"{how}: {trainable:,}" + (f" / {layers} layers = {expected:,}" if per_layer else "")
    name, note = convention or "as attached", "PEFT's own adapters"
    counts = Counts(own=Convention(name=name, parameters=expected, derivation=shown, note=note))
    outcome = weigh(figure, counts)
    if outcome.verdict == "ok":
        outcome = Weighed(verdict="explained" if convention else "ok", convention=convention, explanation=shown)
    elif outcome.verdict == "mismatch":
        outcome = dataclasses.replace(outcome, explanation=shown)
    return weighed(described.model, claim, figure, counts, outcome)


def _figure(claim: Claim) -> Figure | None:
    """The claim's exact integer, else the figure as printed."""
    if claim.value is not None:
        return Figure(text=claim.claim, value=claim.value, low=claim.value, high=claim.value)
    try:
        return parse_figure(claim.claim)
    except BadInput:
        return None


def _trainable(loaded: LoadedConfig, model: PreTrainedModel, lora: Mapping[str, Any]) -> tuple[int, str, str | None]:
    """(parameters that train, how in words, the convention where the matrices asked are fused in this class)."""
    rank, asked = lora["r"], lora["targets"]
    if isinstance(asked, str) and asked in TARGET_GROUPS:
        return *_attached(loaded, rank, asked), None
    wanted = [asked] if isinstance(asked, str) else [str(each) for each in asked]
    present = {suffix(name) for name, _ in linear_modules(model)}
    names = [_spelled(name, present) for name in wanted]
    if all(names):
        return *_attached(loaded, rank, tuple(str(name) for name in names)), None
    fused = list(_fused(model))
    letters = [_letter(name) for name in wanted]
    if fused and all(letter in ("q", "k", "v") for letter in letters):
        # Each of the fused matrices apart has the input's width d and a third of the outputs: r·(d + out/3).
        apart = sum(len(letters) * rank * (width + out // 3) for width, out in fused)
        how = f"r = {rank} on {' and '.join(letters)} of {len(fused)} fused matrices, each {rank}·(d + d)"
        return apart, how, "fused matrices counted apart"
    raise BadInput(f"no matrices are called {', '.join(wanted)}; there are {', '.join(sorted(present))}")


def _attached(loaded: LoadedConfig, rank: int, targets: str | tuple[str, ...]) -> tuple[int, str]:
    """(parameters that PEFT trains, how in words)."""
    found: LoraCount
    (found,) = count_lora(lambda: build_skeleton(loaded).model, [LoraOptions(r=rank, targets=targets)])
    if found.trainable is None:
        raise BadInput(str(found.reason))
    return found.trainable, f"r = {rank} on {', '.join(found.targets)}: {found.formula}"


def _spelled(name: str, present: set[str]) -> str | None:
    """What the class calls the matrix `name`: its own name, or another spelling of the same; None if it has none."""
    if name in present:
        return name
    return next((each for each in _SPELLINGS.get(_letter(name), ()) if each in present), None)


def _letter(name: str) -> str:
    return next((letter for letter, names in _SPELLINGS.items() if name == letter or name in names), "")


def _fused(model: PreTrainedModel) -> Iterator[tuple[int, int]]:
    """(inputs, outputs) of each layer that gives query, key and value at once: three times as wide as its input."""
    from transformers.pytorch_utils import Conv1D

    for _, module in linear_modules(model):
        first, second = (int(size) for size in cast("torch.Tensor", module.weight).shape)
        width, out = (first, second) if isinstance(module, Conv1D) else (second, first)
        if out == 3 * width:
            yield width, out


def _judge_share(
    claim: Claim, described: Described, loaded: LoadedConfig, lora: Mapping[str, Any], part: str
) -> Finding:
    """The share of trainable parameters in those of a component, held to the places that are printed."""
    model = build_skeleton(loaded).model
    table: pd.DataFrame = inventory(model)
    there = int(table.loc[table["component"] == part, "numel"].sum())
    if not there:
        return unverifiable(described.model, claim, f"the model has no parameters in {part!r}")
    trainable, how, _ = _trainable(loaded, model, lora)
    percent = re.match(r"\s*(\d+(?:\.(\d+))?)\s*%", claim.claim)
    if percent is None:
        return unverifiable(described.model, claim, f"{claim.claim!r} is no percentage")
    half = 0.5 * 10.0 ** -len(percent[2] or "")
    share = 100 * trainable / there
    verdict: Verdict = "ok" if abs(share - float(percent[1])) <= half else "mismatch"
    return found(described.model, claim, verdict, f"{how}; {trainable:,} / {there:,} in {part} = {share:.4g} %")
