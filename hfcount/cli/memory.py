"""`hfcount memory`: what training costs, and where it fits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hfcount.cli import options
from hfcount.cli.options import Format
from hfcount.errors import BadInput

_RANKS = "Ranks for LoRA and QLoRA; 4, 8, 16 and 8 if not given."


def command(
    model: options.Model,
    regime: Annotated[
        str, typer.Option(metavar="NAMES", help="Any of full, lora, qlora, inference, with commas.")
    ] = "full,lora,qlora",
    lora_r: Annotated[
        list[str] | None, typer.Option("--lora-r", metavar="R[,R...]", help=_RANKS, show_default=False)
    ] = None,
    lora_targets: Annotated[
        str,
        typer.Option(metavar="SET|NAMES", help="default (PEFT's own), all-linear, attention, mlp, or module names."),
    ] = "default",
    batch: Annotated[int, typer.Option(help="Rows on each device.")] = 1,
    seq: Annotated[
        int | None, typer.Option(help="Tokens a row; the model's positions, at most 2048, if not given.")
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="RECIPE",
            help="mixed-fp16, mixed-bf16, megatron-bf16, autocast-fp16, autocast-bf16, bf16, pure-bf16, fp32, or lab.",
        ),
    ] = "mixed-bf16",
    optimizer: Annotated[
        str, typer.Option(metavar="NAME", help="adamw, adamw-8bit, paged-adamw, paged-adamw-8bit, adafactor, or sgd.")
    ] = "adamw",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Layers keep their inputs alone and run twice.")
    ] = False,
    attention: Annotated[str, typer.Option(metavar="NAME", help="sdpa or eager.")] = "sdpa",
    device: Annotated[str, typer.Option(metavar="NAME", help="Whose kernels run: cuda or cpu.")] = "cuda",
    quantization: Annotated[str, typer.Option(metavar="KIND", help="Of QLoRA's base: nf4, fp4, or int8.")] = "nf4",
    double_quant: Annotated[
        bool, typer.Option("--double-quant", help="Quantize the statistics of the blocks as well.")
    ] = False,
    kbit_upcast: Annotated[
        bool | None,
        typer.Option(
            "--kbit-upcast/--no-kbit-upcast",
            help="Whether prepare_model_for_kbit_training casts the rest of QLoRA's base to fp32; by the recipe.",
            show_default=False,
        ),
    ] = None,
    sharding: Annotated[str, typer.Option(metavar="NAME", help="none, zero1, zero2, zero3, or fsdp.")] = "none",
    devices: Annotated[int, typer.Option(help="Over how many devices the sharding divides.")] = 1,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Run the real step without memory: the peak, beside the closed form.")
    ] = False,
    stepping: Annotated[
        str, typer.Option(metavar="NAME", help="The optimizer's loop in a simulated step: foreach, loop or fused.")
    ] = "foreach",
    reentrant: Annotated[
        bool, typer.Option("--reentrant", help="Checkpointing as torch did it first, in a simulated step.")
    ] = False,
    accumulation: Annotated[int, typer.Option(help="Batches before a simulated step of the optimizer.")] = 1,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", metavar="NAME", help="Does it fit there? Repeatable.", show_default=False),
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="The largest batch, seq and r on --gpu; without it, every GPU, yes or no.")
    ] = False,
    headroom: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of a GPU's memory, what tensors do not get: 1GiB, 800MiB, 5%. (1GiB)"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw stacked bars: .png, .svg, .pdf.", show_default=False),
    ] = None,
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
    """What it takes to train a model: full fine-tuning, LoRA and QLoRA side by side, bucket by bucket.

    Example: [bold]hfcount memory gpt2 --batch 4 --gradient-checkpointing[/bold]

    With the real step, run without memory: [bold]hfcount memory gpt2 --simulate --regime full[/bold]
    """
    from hfcount.cli.output import chosen, emit, print_text

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast=False)
    del how["fast"]
    ranks = options.ranks(lora_r)
    regimes = tuple(dict.fromkeys(each.strip() for each in regime.split(",") if each.strip()))
    if not regimes:
        raise BadInput("--regime: give any of full, lora, qlora, inference, with commas")
    written = chosen(format, output)
    _check_figure(plot)
    way = {
        "batch": batch, "seq": seq, "precision": precision, "optimizer": optimizer, "attention": attention,
        "device": device, "gradient_checkpointing": gradient_checkpointing, "quantization": quantization,
        "double_quant": double_quant, "kbit_upcast": kbit_upcast, "sharding": sharding, "devices": devices,
        "stepping": stepping, "reentrant": reentrant, "accumulation": accumulation,
    }  # fmt: skip
    if simulate:
        if fit and gpu:
            raise BadInput("--fit searches closed forms; with --simulate ask for --gpu alone")
        way |= {"method": "simulated", "curves": plot is not None}
    found, fits = _answers(model, regimes, ranks, lora_targets, way, how, gpu or [], fit=fit, headroom=headroom)

    from hfcount.report import memory as report

    if quiet or written is Format.csv:
        for warning in found.warnings:  # the other reports have it
            print(f"hfcount: warning: {warning}", file=sys.stderr)
    if quiet:
        print_text("".join(f"{each.total_bytes}\n" for each in found.budgets if each.total_bytes is not None))
    else:
        renderings = {
            Format.table: lambda: report.memory_report(found, fits),
            Format.json: lambda: report.memory_document(found, fits),
            Format.csv: lambda: report.memory_csv(found, fits),
            Format.markdown: lambda: report.memory_markdown(found, fits),
        }
        emit(renderings, written, output)
    if plot is not None:
        from hfcount.report.bars import memory_bars, stacks_of
        from hfcount.report.files import write_figure

        title = f"{found.model}: {found.precision}, batch {found.batch:,} x {found.seq:,} tokens"
        if found.curves:
            from hfcount.report.simulated import timeline

            write_figure(plot, timeline(found.curves, title=title))
        else:
            write_figure(plot, memory_bars(stacks_of(found.budgets), title=title))
    return 0


def _check_figure(plot: Path | None) -> None:
    if plot is not None:
        from hfcount.report.figures import check_figure_path
        from hfcount.report.files import check_writable

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

    chosen = tuple(gpu_called(name) for each in gpu for name in each.split(","))
    if headroom is not None and not (fit or chosen):
        raise BadInput("--headroom is of a GPU: give --gpu NAME, or --fit")

    from hfcount.costing import memory
    from hfcount.fitting import fits, stretched_memory

    if fit and chosen:
        return stretched_memory(
            model, chosen, regimes=regimes, lora_r=ranks, lora_targets=targets, headroom=headroom, **how, **way
        )
    found = memory(model, regimes=regimes, lora_r=ranks, lora_targets=targets, **how, **way)
    return found, fits(found, chosen, headroom=headroom) if fit or chosen else ()
