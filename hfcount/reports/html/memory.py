"""The page of `hfcount memory`: the buckets side by side, how they came about, and the step where it was simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfcount.fitting import Fit
from hfcount.memory_answer import Budget, Comparison, Memory
from hfcount.reports.html.bars import memory_chart
from hfcount.reports.html.curves import curves
from hfcount.reports.html.page import render
from hfcount.reports.memory import TITLES, memory_rows, shown_buckets
from hfcount.reports.simulated import SHOWN_TENSORS, made_in
from hfcount.reports.simulated import TITLES as PARTS
from hfcount.reports.units import exact, memory_unit, memory_with_unit, regime_title, short


def memory_page(found: Memory, fits: Sequence[Fit] = ()) -> str:
    """The budgets as one HTML file; the timeline of each simulated step where `found.curves` has it."""
    from hfcount.reports.html.count import SOURCES

    return render(
        "memory.html",
        charts=True,
        title=f"{found.model}: what training takes",
        source=SOURCES.get(found.source.kind, found.source.kind),
        versions=found.versions,
        fits=[_fit(each) for each in fits],
        stretched=any(each.batch is not None for each in fits),
        **memory_view(found),
    )


def memory_view(found: Memory) -> dict[str, Any]:
    """What the section on memory shows, on a page of its own or within a model's."""
    unit = memory_unit(max((each.total_bytes or 0 for each in found.budgets), default=0))
    shown = shown_buckets(found)
    formulas: dict[str, Budget] = {}  # the regimes of one kind share a form but for its numbers: the first is shown
    for each in found.budgets:
        if each.activations_formula:
            formulas.setdefault(str(each.activations_formula), each)
    return {
        "memory": found,
        "way": _way(found),
        "unit": unit[0],
        "buckets": [TITLES[name] for name in shown],
        "rows": memory_rows(found, shown, unit),
        "refused": [(regime_title(each.name), each.reason) for each in found.budgets if each.reason],
        "budget_chart": memory_chart(found),
        "formulas": [(regime_title(each.name), each) for each in formulas.values()],
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
        ("batch", f"{found.batch:,} × {found.seq:,} tokens"),
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
    """Which figures are exact and which are estimates, a sentence each."""
    if any(each.method == "simulated" for each in found.budgets):
        return ["The buckets of a simulated regime are those at the peak of its step, byte by byte."]
    all_exact = len(found.exact_buckets) > 1
    which = "Weights, master copies, gradients and optimizer state" if all_exact else "Weights"
    said = [f"{which} are exact to the byte."]
    estimated = [regime_title(each.name) for each in found.budgets if each.activations_exact is False]
    if estimated:
        said.append(f"Activations are an estimate for {', '.join(estimated)}.")
    elif any(each.activations_exact for each in found.budgets):
        kernels = "exact" if found.device == "cpu" else "in closed form by the rules of CUDA's kernels"
        said.append(f"Activations are {kernels}.")
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
        "temporary": budget.temporary_bytes,
        "largest": [_tensor(row) for row in budget.largest[:SHOWN_TENSORS]],
        "flops": short(budget.flops["whole"]) if budget.flops.get("whole") else "",
        "rule": short(budget.flops["rule"]) if budget.flops.get("rule") else "",
    }


def _tensor(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bytes": row["bytes"],
        "bucket": PARTS[row["bucket"]].lower(),
        "where": made_in(row),
        "shape": " × ".join(str(side) for side in row["shape"]),
        "dtype": str(row["dtype"]),
    }


def _fit(each: Fit) -> dict[str, Any]:
    sign = "−" if each.margin_bytes < 0 else "+"
    return {
        "gpu": each.gpu.name,
        "regime": regime_title(each.regime),
        "fits": each.fits,
        "needed": memory_with_unit(each.needed_bytes),
        "offered": memory_with_unit(each.offered_bytes),
        "margin": f"{sign}{memory_with_unit(abs(each.margin_bytes))}",
        "limits": [
            "–" if value is None else f"{value:,}" if value else "none" for value in (each.batch, each.seq, each.r)
        ],
    }
