"""How a memory budget is shown: terminal, JSON, CSV, Markdown. Bytes in JSON and CSV, MiB and GiB for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hfcount.fitting import Fit
from hfcount.formulas import pretty
from hfcount.memory_answer import BUCKETS, Budget, Memory
from hfcount.reports.csv import to_csv
from hfcount.reports.document import SCHEMA
from hfcount.reports.lines import Entries, below, notes
from hfcount.reports.markdown import listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.simulated import comparison_document, simulated_sections
from hfcount.reports.terminal import BAD, DIM, GOOD, heading
from hfcount.reports.units import exact, memory, memory_unit, memory_with_unit, regime_title, share

TITLES = {
    "weights": "Weights",
    "master": "Master",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "activations": "Activations",
    "kv_cache": "KV cache",
}


def regime_name(budget: Budget) -> str:
    """A regime as people write it: "full", "LoRA r=8", "QLoRA r=8", "inference"."""
    return regime_title(budget.name)


def memory_report(found: Memory, fits: Sequence[Fit] = ()) -> RenderableType:
    """The regimes side by side, how the figures came about, and whether they fit where that was asked."""
    parts: list[RenderableType] = [heading(found), Text(_way(found), DIM), Text(f"{found.recipe}\n", DIM)]
    unit = memory_unit(max((each.total_bytes or 0 for each in found.budgets), default=0))
    shown = shown_buckets(found)
    table = plain_table(
        ("Regime", "left"),
        ("Trainable", "right"),
        ("Frozen", "right"),
        *((TITLES[name], "right") for name in shown),
        (f"Total {unit[0]}", "right"),
        ("vs full", "right"),
    )
    for row in memory_rows(found, shown, unit):
        table.add_row(*row)
    parts.append(table)
    parts += [below(f"{regime_name(each)}: {each.reason}", BAD) for each in found.budgets if each.reason]
    parts += simulated_sections(found) if found.comparisons else _derivations(found)
    if fits:
        parts += [Text("\nFit", style="bold"), _fit_table(fits), *_offers(fits)]
    parts += [below(f"warning: {warning}", BAD) for warning in found.warnings]
    parts += notes(found.notes)
    return Group(*parts)


def shown_buckets(found: Memory) -> tuple[str, ...]:
    """The buckets that some regime has: an empty column tells nothing."""
    return tuple(name for name in BUCKETS if any(getattr(each, f"{name}_bytes") for each in found.budgets))


def memory_rows(found: Memory, shown: Sequence[str], unit: tuple[str, int]) -> list[list[str]]:
    """A row of text for each regime: name, trainable, frozen, the buckets `shown`, total, ratio to full."""
    rows = []
    for each in found.budgets:
        if each.total_bytes is None or each.trainable is None or each.frozen is None:
            rows.append([regime_name(each), *["–"] * (len(shown) + 4)])
            continue
        rows.append(
            [
                regime_name(each),
                exact(each.trainable),
                exact(each.frozen),
                *(memory(getattr(each, f"{name}_bytes"), unit) for name in shown),
                memory(each.total_bytes, unit),
                "–" if each.ratio_to_full is None else share(each.ratio_to_full),
            ]
        )
    return rows


def _way(found: Memory) -> str:
    parts = [
        f"batch {found.batch:,} x {found.seq:,} tokens",
        found.precision,
        found.optimizer,
        f"{found.attention} attention on {found.device}",
    ]
    if found.gradient_checkpointing:
        parts.append("gradient checkpointing")
    if found.double_quant:
        parts.append("double quantization")
    if found.sharding != "none":
        parts.append(f"{found.sharding} over {found.devices:,} devices")
    return " · ".join(parts)


def _derivations(found: Memory) -> list[RenderableType]:
    """What is exact, the activations' closed form, the labs' rule beside it, and bitsandbytes' bytes by term."""
    lines: list[RenderableType] = []
    first = next((each for each in found.budgets if each.activations_formula), None)
    if first is not None:
        values = [f"{name} = {value:,}" for name, value in first.activations_symbols.items()]
        title = f"\nActivations of {regime_name(first)}, in bytes: "
        lines.append(Text.assemble((title, "bold"), pretty(str(first.activations_formula)), overflow="fold"))
        lines.append(Entries(values, ", "))
    lines.append(_verdict(found))
    ruled = next((each for each in found.budgets if each.activations_rule_bytes and each.activations_bytes), None)
    if ruled is not None and ruled.activations_rule_bytes is not None:
        rule = memory_with_unit(ruled.activations_rule_bytes)
        lines.append(below(f"the rule batch·seq·d·L·16 would say {rule} of activations"))
    packed = next((each.quantized for each in found.budgets if each.quantized is not None), None)
    if packed is not None:
        lines.append(
            below(
                f"{found.quantization.upper()}: {packed.packed:,} bytes of codes + {packed.absmax:,} of statistics"
                f" + {packed.nested:,} of nested ones + {packed.tables:,} of code tables = {packed.total:,}"
            )
        )
    return lines


def _verdict(found: Memory) -> Text:
    """Which figures are exact, and what the others are."""
    *others, last = found.exact_buckets
    exactly = f"\n✓ {', '.join(others)}{' and ' if others else ''}{last} exact to the byte"
    estimated = [each for each in found.budgets if each.activations_exact is False]
    if estimated:
        names = ", ".join(regime_name(each) for each in estimated)
        return Text.assemble((exactly, GOOD), ("; ≈ activations an estimate for ", BAD), (names, BAD))
    if not any(each.activations_exact for each in found.budgets):
        return Text(exactly, GOOD)
    if found.device == "cpu":
        return Text(f"{exactly}, activations too", GOOD)
    return Text.assemble((exactly, GOOD), "; activations in closed form by the rules of CUDA's kernels")


def _fit_table(fits: Sequence[Fit]) -> RenderableType:
    stretched = any(each.batch is not None for each in fits)
    extra = (("Largest batch", "right"), ("Largest seq", "right"), ("Largest r", "right")) if stretched else ()
    table = plain_table(
        ("GPU", "left"), ("Regime", "left"), ("Fits", "left"), ("Needs", "right"), ("Offers", "right"),
        ("Margin", "right"), *extra, names=2,
    )  # fmt: skip
    for each in fits:
        verdict = Text("yes", GOOD) if each.fits else Text("no", BAD)
        more = [_limit(each.batch), _limit(each.seq), _limit(each.r)] if stretched else []
        margin = f"{'-' if each.margin_bytes < 0 else '+'}{memory_with_unit(abs(each.margin_bytes))}"
        table.add_row(
            each.gpu.name,
            regime_title(each.regime),
            verdict,
            memory_with_unit(each.needed_bytes),
            memory_with_unit(each.offered_bytes),
            margin,
            *more,
        )
    return table


def _offers(fits: Sequence[Fit]) -> list[RenderableType]:
    """What each GPU has, and what of it is kept back; for many GPUs the first as an example."""
    shown = {each.gpu.name: each for each in fits}
    first = list(shown.values())[: 1 if len(shown) > 4 else None]
    lines: list[RenderableType] = []
    for each in first:
        whole, kept = each.gpu.total_bytes, each.gpu.total_bytes - each.offered_bytes
        offer = f"{memory_with_unit(whole)} - {memory_with_unit(kept)} of headroom"
        lines.append(below(f"{each.gpu.name} offers {offer} ({each.gpu.source})"))
    return lines


def _limit(value: int | None) -> str:
    return "–" if value is None else f"{value:,}" if value else "none"


def memory_document(found: Memory, fits: Sequence[Fit] = ()) -> dict[str, Any]:
    """The JSON of `hfcount memory MODEL`."""
    return {
        "schema": SCHEMA,
        "model": found.model,
        "model_class": found.model_class,
        "model_type": found.model_type,
        "source": {
            "kind": found.source.kind,
            "location": found.source.location,
            "revision": found.source.revision,
        },
        "batch": found.batch,
        "seq": found.seq,
        "precision": found.precision,
        "recipe": found.recipe,
        "optimizer": found.optimizer,
        "attention": found.attention,
        "device": found.device,
        "gradient_checkpointing": found.gradient_checkpointing,
        "quantization": found.quantization,
        "double_quant": found.double_quant,
        "sharding": found.sharding,
        "devices": found.devices,
        "regimes": [budget_document(each) for each in found.budgets],
        "comparisons": [comparison_document(each) for each in found.comparisons],
        "fits": [fit_document(each) for each in fits],
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "versions": dict(found.versions),
    }


def budget_document(budget: Budget) -> dict[str, Any]:
    """One regime of the JSON; figures that do not apply are null."""
    document = dataclasses.asdict(budget)
    document["targets"] = list(budget.targets)
    document["quantized_bytes"] = document.pop("quantized")
    if budget.ratio_to_full is not None:
        document["ratio_to_full"] = round(budget.ratio_to_full, 6)
    return document


def fit_document(fit: Fit) -> dict[str, Any]:
    """One regime on one GPU in the JSON."""
    return {
        "gpu": fit.gpu.name,
        "gpu_mib": fit.gpu.total_mib,
        "gpu_source": fit.gpu.source,
        "regime": fit.regime,
        "fits": fit.fits,
        "needed_bytes": fit.needed_bytes,
        "offered_bytes": fit.offered_bytes,
        "margin_bytes": fit.margin_bytes,
        "largest_batch": fit.batch,
        "largest_seq": fit.seq,
        "largest_r": fit.r,
    }


CSV_COLUMNS = (
    "regime", "r", "trainable", "frozen", *(f"{name}_bytes" for name in BUCKETS), "total_bytes", "ratio_to_full",
    "method", "activations_exact", "reason",
)  # fmt: skip


def memory_csv(found: Memory, fits: Sequence[Fit] = ()) -> str:
    """A row per regime, in bytes; where GPUs were asked about, a row per regime and GPU instead."""
    if fits:
        rows = [fit_document(each) for each in fits]
        return to_csv(rows, [name for name in rows[0] if name != "gpu_source"])
    return to_csv([budget_document(each) for each in found.budgets], CSV_COLUMNS)


def memory_markdown(found: Memory, fits: Sequence[Fit] = ()) -> str:
    """The same as Markdown tables."""
    unit = memory_unit(max((each.total_bytes or 0 for each in found.budgets), default=0))
    shown = shown_buckets(found)
    headings = [
        "Regime", "Trainable", "Frozen", *(TITLES[name] for name in shown), f"Total {unit[0]}", "vs full",
    ]  # fmt: skip
    right = tuple(range(1, len(headings)))
    parts = [
        f"# {plain(found.model)}\n",
        f"{_way(found)}: {found.recipe}. Sizes in {unit[0]}.\n",
        markdown_table(headings, memory_rows(found, shown, unit), right=right),
    ]
    if fits:
        parts.append(
            markdown_table(
                ["GPU", "Regime", "Fits", "Needs", "Offers", "Largest batch", "Largest seq", "Largest r"],
                [
                    [
                        each.gpu.name,
                        regime_title(each.regime),
                        "yes" if each.fits else "no",
                        memory_with_unit(each.needed_bytes),
                        memory_with_unit(each.offered_bytes),
                        _limit(each.batch),
                        _limit(each.seq),
                        _limit(each.r),
                    ]
                    for each in fits
                ],
                right=(3, 4, 5, 6, 7),
            )
        )
    parts += listed(f"{regime_name(each)}: {each.reason}" for each in found.budgets if each.reason)
    parts += listed([*(f"warning: {warning}" for warning in found.warnings), *found.notes])
    return "\n".join(parts).rstrip() + "\n"
