"""What a simulated step keeps for its backward pass, held against what autograd saves in real small models on the CPU.

What is measured comes from torch.autograd.graph.saved_tensors_hooks (see kept_by_autograd.py), real PEFT adapters and
real bitsandbytes layers; nothing of it comes from hfcount.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from kept_by_autograd import FAMILIES, RANK, Run, kept_bytes, plain, trained

from hfcount.budget.recipes import Precision
from hfcount.lora import LoraOptions
from hfcount.quantization import Scheme
from hfcount.simulation import step
from hfcount.simulation.plan import Wished
from hfcount.simulation.simulate import simulate
from hfcount.sources import resolve
from hfcount.workbench import Workbench

PRECISIONS: tuple[tuple[str, str | None], ...] = (
    ("float32", None), ("bfloat16", None), ("float16", None), ("float32", "bfloat16"), ("bfloat16", "bfloat16"),
)  # fmt: skip
ALL, ATTENTION = ("all-linear",), ("attention",)
METHODS: tuple[dict[str, Any], ...] = (
    {},
    {"targets": ALL},
    {"targets": ALL, "upcast_adapters": False},
    {"targets": ATTENTION},
    {"targets": ALL, "quantized": "raw"},
    {"targets": ALL, "quantized": "prepared"},
    {"targets": ATTENTION, "quantized": "prepared", "upcast_adapters": False},
)
WAYS = [
    Run(weights=weights, autocast=autocast, attention=attention, batch=batch, **method)
    for (weights, autocast), attention, batch, method in zip(
        itertools.cycle(PRECISIONS),
        itertools.cycle(("sdpa", "eager", "sdpa")),
        itertools.cycle((2, 2, 1, 1)),
        METHODS * 6,
        strict=False,
    )
]
"""Every choice occurs with several others. Checkpointing holds arguments in closures, which no hook sees."""


def simulated_bytes(folder: Path, kind: str, fields: dict[str, Any], run: Run) -> int:
    """What the simulated step keeps at most."""
    plain(kind, fields, run).config.save_pretrained(folder)
    bench = Workbench(resolve(str(folder)), ())
    adapters = "float32" if run.upcast_adapters else run.weights
    own = adapters if run.targets else run.weights
    wished = Wished(
        precision=Precision(
            base=run.weights, trained=own, gradients=own, moments=own, master=False, autocast=run.autocast,
            upcast=run.quantized == "prepared",
        ),
        options=LoraOptions(r=RANK, targets=run.targets[0] if run.targets == ALL else run.targets)
        if run.targets
        else None,
        scheme=Scheme(kind="nf4", double=False) if run.quantized else None,
        attention=run.attention,
        computed=run.weights if run.quantized else None,
    )  # fmt: skip
    found = simulate(bench, wished, step.Run(batch=run.batch, seq=run.seq, stepping="loop"))
    return found.highest["activations"]


def held(family: str, run: Run, folder: Path) -> None:
    kind, fields, attention = FAMILIES[family]
    changed: dict[str, Any] = {}
    if run.attention not in attention.kinds:
        changed["attention"] = attention.kinds[0]
    if run.targets == ATTENTION:
        changed["targets"] = attention.targets
    run = Run(**{**vars(run), **changed})
    assert simulated_bytes(folder, kind, fields, run) == kept_bytes(trained(kind, fields, run), run)


@pytest.mark.parametrize("way", WAYS[:14], ids=str)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_equals_what_autograd_keeps(family: str, way: Run, tmp_path: Path) -> None:
    held(family, way, tmp_path)


@pytest.mark.parametrize(
    ("family", "way"), zip(FAMILIES, itertools.cycle(WAYS), strict=False), ids=lambda each: str(each)
)
def test_every_family_in_some_way(family: str, way: Run, tmp_path: Path) -> None:
    held(family, way, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS[::3], ids=str)
@pytest.mark.parametrize("family", ["minigpt", "mixtral", "qwen3", "phi", "gemma3", "opt"])
def test_many_ways(family: str, way: Run, tmp_path: Path) -> None:
    held(family, way, tmp_path)
