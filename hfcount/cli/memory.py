"""`hfcount memory`: what training costs, and where it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfcount.cli import options, training
from hfcount.cli.options import Format
from hfcount.cli.progress import say
from hfcount.errors import BadInput


def command(
    model: options.Model,
    regime: training.Regime = "full,lora,qlora",
    lora_r: training.LoraR = None,
    lora_targets: training.LoraTargets = "default",
    batch: training.Batch = 1,
    seq: training.Seq = None,
    precision: training.Precision = "mixed-bf16",
    optimizer: training.Optimizer = "adamw",
    gradient_checkpointing: training.Checkpointing = False,
    attention: training.Attention = "sdpa",
    device: training.Device = "cuda",
    quantization: training.Quantization = "nf4",
    double_quant: training.DoubleQuant = False,
    kbit_upcast: training.KbitUpcast = None,
    sharding: training.Sharding = "none",
    devices: training.Devices = 1,
    offload: training.Offload = False,
    simulate: training.Simulate = False,
    formula: training.Formula = False,
    stepping: training.Stepping = "foreach",
    reentrant: training.Reentrant = False,
    accumulation: training.Accumulation = 1,
    keep_outputs: training.KeepOutputs = False,
    zero_grad: training.ZeroGrad = "to-none",
    grad_scaler: training.GradScaler = None,
    autocast: training.Autocast = None,
    base_dtype: training.BaseDtype = None,
    gpu: training.Gpu = None,
    fit: training.FitOption = False,
    all_gpus: training.AllGpus = False,
    headroom: training.Headroom = None,
    plot: training.Plot = None,
    settings: options.Set = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    class_name: options.ClassName = None,
    format: options.FormatOption = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    trust_remote_code: options.TrustRemoteCode = False,
    timeout: options.Timeout = None,
) -> int:
    """What a training step takes at its peak: full fine-tuning, LoRA and QLoRA side by side.

    Example: [bold]hfcount memory gpt2 --batch 4 --gpu 24GB[/bold]

    The largest tensors and the closed forms: [bold]hfcount memory gpt2 --simulate --regime full[/bold]
    """
    from hfcount.cli.output import chosen, tell_unshown

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast=False)
    del how["fast"]
    ranks = options.ranks(lora_r)
    regimes = tuple(dict.fromkeys(each.strip() for each in regime.split(",") if each.strip()))
    if not regimes:
        raise BadInput("--regime: give any of full, lora, qlora, inference, with commas")
    written = chosen(format, output)
    if simulate and plot is None:
        tell_unshown("--simulate", written, set(Format) - {Format.csv})  # a row per regime
    if all_gpus and (gpu or not fit):
        raise BadInput("--all is of --fit without --gpu")
    _check_figure(plot)
    way = {
        "batch": batch, "seq": seq, "precision": precision, "optimizer": optimizer, "attention": attention,
        "device": device, "gradient_checkpointing": gradient_checkpointing, "quantization": quantization,
        "double_quant": double_quant, "kbit_upcast": kbit_upcast, "sharding": sharding, "devices": devices,
        "offload": offload, "stepping": stepping, "reentrant": reentrant, "accumulation": accumulation,
        "keeps_outputs": keep_outputs, "zero_grad": zero_grad, "grad_scaler": grad_scaler, "autocast": autocast,
        "base_dtype": base_dtype,
    }  # fmt: skip
    way |= {"detail": simulate, "curves": simulate and (plot is not None or written is Format.html)}
    found, fits = _answers(model, regimes, ranks, lora_targets, way, how, gpu or [], fit=fit, headroom=headroom)
    if fits and not gpu and not all_gpus:
        from hfcount.fitting import smallest

        fits = smallest(fits)

    _show(found, fits, written, output, quiet=quiet, formulas=formula)
    if plot is not None:
        from hfcount.reports.files import write_figure

        write_figure(plot, found.plot())  # the curve of a simulated step, else stacked bars
    return 1 if gpu and not any(each.fits for each in fits) else 0


def _show(found: Any, fits: Any, written: Format, output: Path | None, *, quiet: bool, formulas: bool) -> None:
    from hfcount.cli.output import emit
    from hfcount.reports import memory as report
    from hfcount.reports.html import memory_page

    if written is Format.csv or (quiet and written is Format.table):
        for warning in found.warnings:  # the other reports have it
            say(f"warning: {warning}")
    renderings = {
        Format.table: lambda: report.memory_report(found, fits, formulas=formulas),
        Format.json: lambda: report.memory_document(found, fits),
        Format.csv: lambda: report.memory_csv(found, fits),
        Format.markdown: lambda: report.memory_markdown(found, fits, formulas=formulas),
        Format.html: lambda: memory_page(found, fits),
    }
    totals = (each.total_bytes for each in found.budgets)
    bare = "".join(f"{total}\n" for total in totals if total is not None)
    emit(renderings, written, output, bare=bare if quiet else None)


def _check_figure(plot: Path | None) -> None:
    if plot is not None:
        from hfcount.reports.figures import check_figure_path
        from hfcount.reports.files import check_writable

        check_figure_path(plot)
        check_writable(plot)


def _answers(
    model: str,
    regimes: tuple[str, ...],
    ranks: tuple[int, ...],
    targets: str,
    way: dict[str, Any],
    how: dict[str, Any],
    gpu: list[str],
    *,
    fit: bool,
    headroom: str | None,
) -> tuple[Any, Any]:
    """The budgets, and how they fit where that was asked."""
    from hfcount.budget.gpus import gpu as gpu_called

    chosen = tuple(gpu_called(name.strip()) for each in gpu for name in each.split(",") if name.strip())
    if headroom is not None and not (fit or chosen):
        raise BadInput("--headroom is of a GPU: give --gpu NAME, or --fit")

    from hfcount.costing import memory
    from hfcount.fitting import fits, implied, stretched_memory

    if fit and chosen:
        del way["curves"]
        return stretched_memory(
            model, chosen, regimes=regimes, lora_r=ranks, lora_targets=targets, headroom=headroom, **how, **way
        )
    found = memory(model, regimes=regimes, lora_r=ranks, lora_targets=targets, **how, **implied(chosen, way))
    return found, fits(found, chosen, headroom=headroom) if fit or chosen else ()
