"""How a memory budget is shown: terminal, JSON, CSV, Markdown. Bytes in JSON and CSV, MiB and GiB for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from hfcount.fitting import DOES_NOT_FIT, FITS, TIGHT, Fit
from hfcount.formulas import pretty
from hfcount.memory_answer import BUCKETS, Budget, Memory
from hfcount.reports.csv import to_csv
from hfcount.reports.document import SCHEMA
from hfcount.reports.given import given, symbols
from hfcount.reports.lines import below, notes
from hfcount.reports.markdown import code, listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.simulated import bucket_document, simulated_markdown, simulated_sections
from hfcount.reports.terminal import BAD, DIM, GOOD, WARN, heading
from hfcount.reports.units import GIB, exact, memory, memory_unit, memory_with_unit, regime_title, share

if TYPE_CHECKING:
    from hfcount.reports.schema import BudgetDocument, FitDocument, MemoryDocument

GIB_UNIT = ("GiB", GIB)
TITLES = {
    "weights": "Weights",
    "master": "Master",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "activations": "Activations",
    "communication": "Gathered",
    "temporary": "Temporary",
    "kv_cache": "KV cache",
}
PHASES = {"forward": "forward pass", "backward": "backward pass", "step": "optimizer's step"}
VERDICTS = {FITS: ("fits", GOOD), TIGHT: ("tight", WARN), DOES_NOT_FIT: ("no", BAD)}
"""How a verdict is shown: its word and its colour."""

TOTALS = ("Regime", "Trainable", "Peak", "Checkpointed", "vs full", "Highest in")


def regime_name(budget: Budget) -> str:
    """A regime as people write it: "full", "LoRA r=8", "QLoRA r=8", "inference"."""
    return regime_title(budget.name)


def memory_report(found: Memory, fits: Sequence[Fit] = (), *, formulas: bool = False) -> RenderableType:
    """The verdict where a GPU was named, each regime's peak, the buckets there; `formulas` adds the closed forms."""
    parts: list[RenderableType] = [heading(found)]
    parts += [_verdict_line(gpu, rows) for gpu, rows in _by_gpu(fits).items()] if len(_by_gpu(fits)) <= 4 else []
    parts += [Text(_way(found), DIM), Text(f"{found.recipe}\n", DIM)]
    parts += [below(f"warning: {warning}", BAD) for warning in found.warnings]
    unit = unit_of(found)
    parts.append(_totals(found, unit))
    parts += [below(f"{regime_name(each)}: {each.reason}", BAD) for each in found.budgets if each.reason]
    shown = shown_buckets(found)
    parts += [Text(f"\nAt the peak, {unit[0]}", style="bold"), _buckets(found, shown, unit)]
    if formulas:
        parts += _forms(found)
    if found.comparisons:
        parts += simulated_sections(found)
    parts += [below(line) for line in _packed(found)]
    if fits:
        parts += [Text(f"\nFit, {GIB_UNIT[0]}", style="bold"), _fit_table(fits)]
        parts += [below(line) for line in fit_notes(fits)]
    parts += notes(found.notes)
    return Group(*parts)


def unit_of(found: Memory) -> tuple[str, int]:
    return memory_unit(max((each.total_bytes or 0 for each in found.budgets), default=0))


def shown_buckets(found: Memory) -> tuple[str, ...]:
    """The buckets that some regime has: an empty column tells nothing."""
    return tuple(name for name in BUCKETS if any(getattr(each, f"{name}_bytes") for each in found.budgets))


def total_rows(found: Memory, unit: tuple[str, int]) -> list[list[str]]:
    """A row of text for each regime under `TOTALS`: both peaks, without and with gradient checkpointing."""
    rows = []
    for each in found.budgets:
        if each.total_bytes is None or each.trainable is None:
            rows.append([regime_name(each), *["–"] * (len(TOTALS) - 1)])
            continue
        plain, checkpointed = each.peak_plain_bytes, each.peak_checkpointing_bytes
        if each.method != "simulated":
            plain, checkpointed = (
                (None, each.total_bytes) if found.gradient_checkpointing else (each.total_bytes, None)
            )
        rows.append(
            [
                regime_name(each),
                exact(each.trainable),
                _estimate(each, memory(plain, unit)),
                _estimate(each, memory(checkpointed, unit)),
                "–" if each.ratio_to_full is None else share(each.ratio_to_full),
                PHASES.get(str(each.peak_phase), "–"),
            ]
        )
    return rows


def _estimate(budget: Budget, figure: str) -> str:
    return f"≈ {figure}" if budget.basis and figure != "–" else figure


def bucket_rows(found: Memory, shown: Sequence[str], unit: tuple[str, int]) -> list[list[str]]:
    """A row of text for each regime that has figures: the buckets `shown`, and their sum."""
    return [
        [
            regime_name(each),
            *(memory(getattr(each, f"{name}_bytes"), unit) for name in shown),
            memory(each.total_bytes, unit),
        ]
        for each in found.budgets
        if each.total_bytes is not None
    ]


def _totals(found: Memory, unit: tuple[str, int]) -> RenderableType:
    asked = "Checkpointed" if found.gradient_checkpointing else "Peak"
    table = plain_table(
        *((f"{each} {unit[0]}" if each == "Peak" else each, "left" if each in (TOTALS[0], TOTALS[-1]) else "right")
          for each in TOTALS)
    )  # fmt: skip
    for row in total_rows(found, unit):
        table.add_row(
            *(Text(cell, "bold") if title == asked else cell for title, cell in zip(TOTALS, row, strict=True))
        )
    return table


def _buckets(found: Memory, shown: Sequence[str], unit: tuple[str, int]) -> RenderableType:
    table = plain_table(("Regime", "left"), *((TITLES[name], "right") for name in shown), ("Sum", "right"))
    for row in bucket_rows(found, shown, unit):
        table.add_row(*row)
    return table


def _by_gpu(fits: Sequence[Fit]) -> dict[str, list[Fit]]:
    found: dict[str, list[Fit]] = {}
    for each in fits:
        found.setdefault(each.gpu.name, []).append(each)
    return found


def _verdict_line(gpu: str, rows: Sequence[Fit]) -> Text:
    """Which regimes fit on a GPU, which are tight, which do not fit."""
    said = Text(f"{gpu}: ", "bold")
    told = {FITS: "fits", TIGHT: "is tight", DOES_NOT_FIT: "does not fit"}
    many = {FITS: "fit", TIGHT: "are tight", DOES_NOT_FIT: "do not fit"}
    parts = []
    for verdict, words in told.items():
        names = [regime_title(each.regime) for each in rows if each.verdict == verdict]
        if names:
            parts.append(
                Text(f"{', '.join(names)} {words if len(names) == 1 else many[verdict]}", VERDICTS[verdict][1])
            )
    return said + Text("; ").join(parts)


def verdict_lines(fits: Sequence[Fit]) -> list[str]:
    """The verdict on each GPU as a line of text."""
    return [_verdict_line(gpu, rows).plain for gpu, rows in _by_gpu(fits).items()]


def _way(found: Memory) -> str:
    parts = [
        f"batch {batch_of(found)}",
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


def batch_of(found: Memory) -> str:
    """The rows of a batch, and what is in each (reports/given.py)."""
    return given(found.batch, found.inputs, encoder_decoder=found.encoder_decoder)


def symbols_of(found: Memory) -> str:
    """What b, s and r stand for in the forms."""
    return symbols(found.batch, found.inputs, encoder_decoder=found.encoder_decoder)


def _forms(found: Memory) -> list[RenderableType]:
    """The closed form of each regime's peak."""
    shown = [each for each in found.budgets if each.form]
    if not shown:
        return []
    lines: list[RenderableType] = [Text(f"\n{_of_forms(found)}", style="bold")]
    for each in shown:
        lines.append(below(Text.assemble((f"{regime_name(each)}: ", "bold"), pretty(str(each.form)), overflow="fold")))
    return lines


def _of_forms(found: Memory) -> str:
    return f"Tensors at the peak in bytes: {symbols_of(found)}"


def _forms_markdown(found: Memory) -> list[str]:
    """The same in Markdown."""
    shown = [f"- {regime_name(each)}: {code(pretty(str(each.form)))}\n" for each in found.budgets if each.form]
    return [f"{_of_forms(found)}:\n", "".join(shown)] if shown else []


def _packed(found: Memory) -> list[str]:
    """bitsandbytes' bytes by term."""
    packed = next((each.quantized for each in found.budgets if each.quantized is not None), None)
    if packed is None:
        return []
    kind = found.quantization.upper()
    return [
        f"{kind}: {packed.packed:,} bytes of codes + {packed.absmax:,} of statistics"
        f" + {packed.nested:,} of nested ones + {packed.tables:,} of code tables = {packed.total:,}"
    ]


def _fit_table(fits: Sequence[Fit]) -> RenderableType:
    stretched = any(each.batch is not None for each in fits)
    table = plain_table(*((title, "left" if title in FIT_NAMES else "right") for title in fit_titles(fits)), names=2)
    for each, row in zip(fits, fit_rows(fits), strict=True):
        word, colour = VERDICTS[each.verdict]
        table.add_row(*row[:2], Text(word, colour), *row[3 : None if stretched else 6])
    return table


FIT_NAMES = ("GPU", "Regime", "Verdict")
FIT_TITLES = (*FIT_NAMES, "Peak", "With reserve", "Card", "Batch", "Seq", "r")
"""Of the last three the largest that fit."""


def fit_titles(fits: Sequence[Fit]) -> tuple[str, ...]:
    return FIT_TITLES if any(each.batch is not None for each in fits) else FIT_TITLES[:6]


def fit_rows(fits: Sequence[Fit]) -> list[list[str]]:
    """A row of text for each regime and GPU under `fit_titles`, sizes in GiB."""
    stretched = any(each.batch is not None for each in fits)
    return [
        [
            each.gpu.name,
            regime_title(each.regime),
            VERDICTS[each.verdict][0],
            memory(each.needs_bytes, GIB_UNIT),
            "–".join(dict.fromkeys(f"{(each.needs_bytes + kept) / GIB:,.1f}" for kept in each.reserve_bytes)),
            memory(each.offers_bytes, GIB_UNIT),
            *([_limit(each.batch), _limit(each.seq), _limit(each.r)] if stretched else []),
        ]
        for each in fits
    ]


def fit_notes(fits: Sequence[Fit]) -> list[str]:
    """What the figures are, what would make a regime fit, and where a GPU's memory was read."""
    lines = ["with reserve: the driver, the CUDA context and what torch's allocator holds besides, from least to most"]
    if any(each.batch is not None for each in fits):
        lines.append("batch, seq, r: the largest with the same verdict, each with the others as asked")
    for each in fits:
        if each.changes:
            said = ", ".join(f"{change.change} ({memory_with_unit(change.needs_bytes)})" for change in each.changes)
            lines.append(f"{regime_title(each.regime)} would fit on {each.gpu.name} with {said}")
    shown = {each.gpu.name: each.gpu for each in fits}
    if len(shown) <= 4:
        lines += [f"{each.name}: {memory_with_unit(each.total_bytes)} ({each.source})" for each in shown.values()]
    return lines


def _limit(value: int | None) -> str:
    return "–" if value is None else f"{value:,}" if value else "none"


def memory_document(found: Memory, fits: Sequence[Fit] = ()) -> MemoryDocument:
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
        "inputs": {name: list(shape) for name, shape in found.inputs.items()},
        "encoder_decoder": found.encoder_decoder,
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
        "offload": found.offload,
        "regimes": [budget_document(each) for each in found.budgets],
        "comparisons": [bucket_document(each) for each in found.comparisons],
        "fits": [fit_document(each) for each in fits],
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "versions": dict(found.versions),
    }


def budget_document(budget: Budget) -> BudgetDocument:
    """One regime of the JSON; figures that do not apply are null."""
    document = dataclasses.asdict(budget)
    document["targets"] = list(budget.targets)
    document["quantized_bytes"] = document.pop("quantized")
    if budget.ratio_to_full is not None:
        document["ratio_to_full"] = round(budget.ratio_to_full, 6)
    return document


def fit_document(fit: Fit) -> FitDocument:
    """One regime on one GPU in the JSON."""
    return {
        "gpu": fit.gpu.name,
        "gpu_mib": fit.gpu.total_mib,
        "gpu_source": fit.gpu.source,
        "regime": fit.regime,
        "verdict": fit.verdict,
        "fits": fit.fits,
        "needs_bytes": fit.needs_bytes,
        "reserve_bytes": fit.reserve_bytes,
        "offers_bytes": fit.offers_bytes,
        "margin_bytes": fit.margin_bytes,
        "largest_batch": fit.batch,
        "largest_seq": fit.seq,
        "largest_r": fit.r,
        "changes": [dataclasses.asdict(each) for each in fit.changes],
    }


CSV_COLUMNS = (
    "regime", "r", "trainable", "frozen", *(f"{name}_bytes" for name in BUCKETS), "total_bytes", "peak_plain_bytes",
    "peak_checkpointing_bytes", "ratio_to_full", "method", "peak_phase", "host_bytes", "form", "reason",
)  # fmt: skip


def memory_csv(found: Memory, fits: Sequence[Fit] = ()) -> str:
    """A row per regime, in bytes; where GPUs were asked about, a row per regime and GPU instead."""
    if not fits:
        return to_csv([budget_document(each) for each in found.budgets], CSV_COLUMNS)
    rows = []
    for each in fits:
        document: dict[str, Any] = {**fit_document(each)}
        document["reserve_least_bytes"], document["reserve_most_bytes"] = document.pop("reserve_bytes")
        document["changes"] = "; ".join(change.change for change in each.changes)
        rows.append(document)
    return to_csv(rows, [name for name in rows[0] if name != "gpu_source"])


def memory_markdown(found: Memory, fits: Sequence[Fit] = (), *, formulas: bool = False) -> str:
    """The same as Markdown tables."""
    unit, shown = unit_of(found), shown_buckets(found)
    titles = [*FIT_NAMES[1:2], *(TITLES[name] for name in shown), "Sum"]
    parts = [
        f"# {plain(found.model)}\n",
        *(f"**{plain(line)}**\n" for line in verdict_lines(fits)),
        f"{_way(found)}: {found.recipe}. Sizes in {unit[0]}.\n",
        markdown_table(list(TOTALS), total_rows(found, unit), right=(1, 2, 3, 4)),
        "At the peak:\n",
        markdown_table(titles, bucket_rows(found, shown, unit), right=tuple(range(1, len(titles)))),
    ]
    if formulas:
        parts += _forms_markdown(found)
    if found.comparisons:
        parts += simulated_markdown(found)
    if fits:
        parts += [
            f"Fit, {GIB_UNIT[0]}:\n",
            markdown_table(list(fit_titles(fits)), fit_rows(fits), right=(3, 4, 5, 6, 7, 8)),
        ]
        parts += ["\n".join(listed(fit_notes(fits))) + "\n"]
    parts += listed(_packed(found))
    parts += listed(f"{regime_name(each)}: {each.reason}" for each in found.budgets if each.reason)
    parts += listed([*(f"warning: {warning}" for warning in found.warnings), *found.notes])
    return "\n".join(parts).rstrip() + "\n"
