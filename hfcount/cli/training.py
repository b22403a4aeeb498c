"""The options of `hfcount memory`: what trains, how, and where it has to fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Regime = Annotated[str, typer.Option(metavar="NAMES", help="Any of full, lora, qlora, inference, with commas.")]
LoraR = Annotated[
    list[str] | None,
    typer.Option(
        "--lora-r",
        metavar="R[,R...]",
        help="Ranks for LoRA and QLoRA; 4, 8, 16 and 8 if not given.",
        show_default=False,
    ),
]
LoraTargets = Annotated[
    str, typer.Option(metavar="SET|NAMES", help="default (PEFT's own), all-linear, attention, mlp, or module names.")
]
Batch = Annotated[int, typer.Option(help="Rows on each device.")]
Seq = Annotated[
    int | None,
    typer.Option(
        help="Tokens a row (of a sound: samples or frames); the model's positions, at most 2048, if not given.",
        show_default=False,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="RECIPE",
        help="mixed-fp16, mixed-bf16, megatron-bf16, autocast-fp16, autocast-bf16, bf16, pure-bf16, fp32, or lab.",
    ),
]
Optimizer = Annotated[
    str, typer.Option(metavar="NAME", help="adamw, adamw-8bit, paged-adamw, paged-adamw-8bit, adafactor, or sgd.")
]
Checkpointing = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Layers keep their inputs alone and run twice.")
]
Attention = Annotated[str, typer.Option(metavar="NAME", help="sdpa, eager or flash_attention_2.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="Whose kernels run: cuda or cpu.")]
Quantization = Annotated[str, typer.Option(metavar="KIND", help="Of QLoRA's base: nf4, fp4, or int8.")]
DoubleQuant = Annotated[bool, typer.Option("--double-quant", help="Quantize the statistics of the blocks as well.")]
KbitUpcast = Annotated[
    bool | None,
    typer.Option(
        "--kbit-upcast/--no-kbit-upcast",
        help="Whether prepare_model_for_kbit_training casts the rest of QLoRA's base to fp32; by the recipe.",
        show_default=False,
    ),
]
Sharding = Annotated[str, typer.Option(metavar="NAME", help="none, zero1, zero2, zero3, or fsdp.")]
Devices = Annotated[int, typer.Option(help="Over how many devices the sharding divides.")]
Offload = Annotated[bool, typer.Option("--offload", help="What the sharding divides lies in the host's memory.")]
Simulate = Annotated[
    bool, typer.Option("--simulate", help="Show the step: its largest tensors, its operations, its closed forms.")
]
Formula = Annotated[bool, typer.Option("--formula", help="Show each peak as a polynomial in b, s and r.")]
Stepping = Annotated[str, typer.Option(metavar="NAME", help="The optimizer's loop: foreach, loop or fused.")]
Reentrant = Annotated[bool, typer.Option("--reentrant", help="Checkpointing as torch did it first.")]
Accumulation = Annotated[int, typer.Option(help="Batches before a step of the optimizer.")]
KeepOutputs = Annotated[
    bool,
    typer.Option(
        "--keep-outputs/--no-keep-outputs",
        help="Whether the training loop holds the logits until the step is over.",
    ),
]
ZeroGrad = Annotated[
    str, typer.Option(metavar="NAME", help="Gradients after a step: to-none (they are freed) or to-zero.")
]
GradScaler = Annotated[
    bool | None,
    typer.Option(
        "--grad-scaler/--no-grad-scaler",
        help="Whether torch's GradScaler scales the loss; where autocast computes in fp16, if not given.",
        show_default=False,
    ),
]
Autocast = Annotated[
    bool | None,
    typer.Option(
        "--autocast/--no-autocast",
        help="Whether the forward pass runs under autocast; by the recipe.",
        show_default=False,
    ),
]
BaseDtype = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE",
        help="What the base of LoRA and QLoRA is loaded in: float32, bfloat16 or float16; by the recipe.",
        show_default=False,
    ),
]
Gpu = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu",
        metavar="NAME",
        help="Does it fit there? A name (4090), a size (24GB) or auto (this machine). Repeatable.",
        show_default=False,
    ),
]
FitOption = Annotated[
    bool,
    typer.Option("--fit", help="The largest batch, seq and r on --gpu; without it, the smallest GPU for each regime."),
]
AllGpus = Annotated[bool, typer.Option("--all", help="With --fit and no --gpu: every GPU, yes or no.")]
Headroom = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="GPU memory to keep free, in place of the measured reserve: 1GiB, 800MiB, 5%.",
        show_default=False,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw stacked bars, or with --simulate memory over the step: .png, .svg, .pdf.",
        show_default=False,
    ),
]
