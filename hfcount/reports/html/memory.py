"""The page of `hfcount memory`: the buckets side by side, how they came about, and the step where it was simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfcount.fitting import Fit
from hfcount.memory_answer import Budget, Comparison, Memory
from hfcount.reports.html.bars import memory_chart
from hfcount.reports.html.curves import curves
from hfcount.reports.html.page import render
from hfcount.reports.memory import (
    TITLES,
    TOTALS,
    batch_of,
    bucket_rows,
    fit_notes,
    fit_rows,
    fit_titles,
    shown_buckets,
    symbols_of,
    total_rows,
    unit_of,
    verdict_lines,
)
from hfcount.reports.simulated import SHOWN_TENSORS, made_in
from hfcount.reports.simulated import TITLES as PARTS
from hfcount.reports.units import exact, regime_title, short


def memory_page(found: Memory, fits: Sequence[Fit] = ()) -> str:
    """The budgets as one HTML file; the timeline of each simulated step where `found.curves` has it."""
    from hfcount.reports.html.count import SOURCES

    return render(
        "memory.html",
        charts=True,
        title=f"{found.model}: what training takes",
        source=SOURCES.get(found.source.kind, found.source.kind),
        versions=found.versions,
        verdicts=verdict_lines(fits) if len({each.gpu.name for each in fits}) <= 4 else [],
        fits=[_fit(each) for each in fits],
        fit_titles=fit_titles(fits),
        fit_notes=fit_notes(fits),
        **memory_view(found),
    )


def memory_view(found: Memory) -> dict[str, Any]:
    """What the section on memory shows, on a page of its own or within a model's."""
    unit = unit_of(found)
    shown = shown_buckets(found)
    return {
        "memory": found,
        "way": _way(found),
        "batch": batch_of(found),
        "form_symbols": symbols_of(found),
        "unit": unit[0],
        "titles": TOTALS,
        "totals": total_rows(found, unit),
        "buckets": [TITLES[name] for name in shown],
        "rows": bucket_rows(found, shown, unit),
        "refused": [(regime_title(each.name), each.reason) for each in found.budgets if each.reason],
        "budget_chart": memory_chart(found),
        "formulas": [(regime_title(each.name), each.form) for each in found.budgets if each.form],
        "verdict": _verdict(found),
        "rule": next((each.activations_rule_bytes for each in found.budgets if each.activations_rule_bytes), None),
        "packed": next((each.quantized for each in found.budgets if each.quantized is not None), None),
        "curves": curves(found.curves),
        "comparisons": [_comparison(each) for each in found.comparisons if each.closed_bytes or each.simulated_bytes],
        "simulated": [_simulated(each) for each in found.budgets if each.method == "simulated"],
    }


def _way(found: Memory) -> list[tuple[str, str]]:
    """How it is trained, a row each: (what, which)."""
    rows = [
        ("batch", batch_of(found)),
        ("precision", f"{found.precision}: {found.recipe}"),
        ("optimizer", found.optimizer),
        ("attention", f"{found.attention} on {found.device}"),
        ("gradient checkpointing", "yes" if found.gradient_checkpointing else "no"),
        ("quantization of QLoRA", found.quantization + (", double" if found.double_quant else "")),
    ]
    if found.sharding != "none":
        rows.append(("sharding", f"{found.sharding} over {found.devices:,} devices"))
    return rows


def _verdict(found: Memory) -> list[str]:
    """What the figures are, a sentence each."""
    said = []
    if any(each.method == "simulated" for each in found.budgets):
        said.append(
            "The total is the peak of the real step, run without memory; the buckets are those at that moment."
        )
    if estimated := [regime_title(each.name) for each in found.budgets if each.basis]:
        names = ", ".join(estimated)
        said.append(f"Weights, gradients and optimizer state are exact for {names}; activations an estimate.")
    return said


def _comparison(each: Comparison) -> dict[str, Any]:
    return {
        "regime": regime_title(each.regime),
        "bucket": PARTS[each.bucket].lower(),
        "closed": exact(each.closed_bytes),
        "simulated": exact(each.simulated_bytes),
        "difference": each.difference,
        "reason": each.reason or ("" if not each.difference else "not explained"),
    }


def _simulated(budget: Budget) -> dict[str, Any]:
    phase = {"step": "the optimizer's step"}.get(str(budget.peak_phase), f"the {budget.peak_phase} pass")
    return {
        "name": regime_title(budget.name),
        "peak": budget.total_bytes or 0,
        "phase": phase,
        "temporary": budget.temporary.get("temporary", 0),
        "largest": [_tensor(row) for row in budget.largest[:SHOWN_TENSORS]],
        "flops": short(budget.flops["whole"]) if budget.flops.get("whole") else "",
        "rule": short(budget.flops["rule"]) if budget.flops.get("rule") else "",
    }


def _tensor(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bytes": row["bytes"],
        "count": row["count"],
        "bucket": PARTS[row["bucket"]].lower(),
        "where": made_in(row),
        "shape": " × ".join(str(side) for side in row["shape"]),
        "dtype": str(row["dtype"]),
    }


def _fit(each: Fit) -> dict[str, Any]:
    return {"verdict": each.verdict, "cells": fit_rows([each])[0]}
