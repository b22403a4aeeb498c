"""Habits of the loop and types of the base: PEFT's own, torch's own GradScaler, and what autograd keeps."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from kept_by_autograd import FAMILIES, RANK, Run, kept_bytes, plain, trained
from small_benches import bench_of, really, run_of, wished

import hfcount
from hfcount.budgeting import Way
from hfcount.errors import BadInput
from hfcount.lora import LoraOptions
from hfcount.simulation.plan import Wished
from hfcount.simulation.simulate import simulate
from hfcount.sources import resolve
from hfcount.workbench import Workbench

LLAMA = transformers.LlamaConfig(
    vocab_size=160, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4
)
BASES = ("float32", "bfloat16", "float16")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("recipe", ["mixed-bf16", "fp32", "pure-bf16"])
def test_adapters_are_in_the_type_that_peft_gives_them(recipe: str, base: str) -> None:
    """pure-bf16 is `autocast_adapter_dtype=False`: the adapters have the base's type."""
    model = transformers.LlamaForCausalLM(LLAMA).to(getattr(torch, base))
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(target_modules=["q_proj"]), autocast_adapter_dtype=recipe != "pure-bf16"
    )
    dtypes = {str(each.dtype).removeprefix("torch.") for each in adapted.parameters() if each.requires_grad}
    assert dtypes == {Way(precision=recipe, base_dtype=base).adapters.trained}


def simulated_kept(folder: Path, family: str, way: Way, run: Run) -> int:
    """What the simulated step of the adapters keeps at most."""
    kind, fields, _ = FAMILIES[family]
    plain(kind, fields, run).config.save_pretrained(folder)
    what = Wished(precision=way.adapters, options=LoraOptions(r=RANK, targets="all-linear"), attention=run.attention)
    bench = Workbench(resolve(str(folder)), ())
    return simulate(bench, what, run_of(batch=run.batch, seq=run.seq, stepping="loop")).highest["activations"]


@pytest.mark.parametrize(
    ("family", "base", "autocast"),
    [
        each
        for each in itertools.product(("llama", "gpt2"), BASES, (True, False))
        if each != ("gpt2", "float16", True)  # torch's layer norm on the CPU takes no bf16 over fp16 weights
    ],
)
def test_a_step_keeps_what_autograd_keeps(family: str, base: str, autocast: bool, tmp_path: Path) -> None:
    """A real step of real PEFT adapters over a base of that type, under autocast in bf16 or without."""
    way = Way(precision="mixed-bf16", base_dtype=base, autocast=autocast)
    kind, fields, _ = FAMILIES[family]
    run = Run(weights=base, autocast="bfloat16" if autocast else None, targets=("all-linear",), batch=2)
    assert simulated_kept(tmp_path, family, way, run) == kept_bytes(trained(kind, fields, run), run)


def alive() -> dict[int, torch.UntypedStorage]:
    """The storages of all live tensors, which live as long as the answer does."""
    gc.collect()
    tensors = (each for each in gc.get_objects() if isinstance(each, torch.Tensor))
    return {each.untyped_storage()._cdata: each.untyped_storage() for each in tensors}


def test_a_scaler_keeps_what_torchs_keeps(tmp_path: Path) -> None:
    """A plain loop of torch's own on the CPU, written here, with a GradScaler and without."""

    def kept(scaler: torch.amp.GradScaler | None) -> int:
        before = alive()
        model = torch.nn.Linear(8, 8)
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
        for _ in range(2):
            loss = model(torch.ones(3, 8)).sum()
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
        del loss
        return sum(each.nbytes() for key, each in alive().items() if key not in before)

    more = kept(torch.amp.GradScaler("cpu")) - kept(None)
    bench = bench_of(tmp_path, LLAMA, "LlamaForCausalLM")
    found = [simulate(bench, wished("fp32"), run_of(grad_scaler=each)).highest["buffers"] for each in (True, False)]
    assert found[0] - found[1] == more == 8


@pytest.mark.parametrize("precision", ["autocast-fp16", "fp32", "bf16"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_scaled_step_is_the_real_one(precision: str, accumulation: int, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, LLAMA, "LlamaForCausalLM")
    run = run_of(batch=2, grad_scaler=True, accumulation=accumulation, stepping="loop")
    found, real = (
        simulate(bench, wished(precision, rank=4), run, whole=True),
        really(bench, wished(precision, rank=4), run),
    )
    assert (found.phases, found.highest) == (real.phases, real.highest)


@pytest.mark.parametrize(
    ("precision", "regime", "scaled"),
    [
        ("autocast-fp16", "full", True),
        ("mixed-fp16", "lora", True),
        ("mixed-fp16", "full", False),  # DeepSpeed's masters have a scaler of their own
        ("mixed-bf16", "lora", False),
        ("lab", "lora", False),
        ("autocast-fp16", "fsdp", False),
    ],
)
def test_the_default_is_accelerates(precision: str, regime: str, scaled: bool) -> None:
    """accelerate's `Accelerator.__init__`: `mixed_precision == "fp16"` makes a scaler, and autocast with it."""
    from hfcount.simulating import run_of as run_for

    how: dict[str, Any] = {"sharding": "fsdp", "devices": 2} if regime == "fsdp" else {}
    way = Way(seq=16, precision=precision, **how)
    assert run_for(way).scales(way.adapters if regime == "lora" else way.full) is scaled


def test_torch_unscales_no_fp16_gradients_and_neither_do_we() -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
    scaler, optimizer = torch.amp.GradScaler("cpu"), torch.optim.SGD([weight])
    scaler.scale(weight.sum().float()).backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.step(optimizer)
    with pytest.raises(BadInput, match="torch's GradScaler does not unscale fp16 gradients"):
        hfcount.memory("mini-gpt-lora-lab", regimes=["lora"], lora_r=8, precision="lab", grad_scaler=True)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"base_dtype": "float8"}, "base-dtype 'float8' is not known: did you mean float32"),
        (
            {"grad_scaler": True, "sharding": "fsdp", "devices": 2},
            "--grad-scaler: --sharding fsdp is simulated without",
        ),
        ({"grad_scaler": True, "regimes": ["full"], "precision": "mixed-bf16"}, "masters have a scaler of their own"),
    ],
)
def test_bad_input(way: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        hfcount.memory("mini-gpt-lora-lab", **way)


def test_only_what_is_not_the_default_is_named() -> None:
    how: dict[str, Any] = {"regimes": ["lora"], "lora_r": 8, "batch": 2, "seq": 16}
    usual = hfcount.memory("mini-gpt-lora-lab", **how)
    assert not [each for each in usual.notes if "autocast" in each or "GradScaler" in each or "loaded in" in each]
    other = hfcount.memory("mini-gpt-lora-lab", base_dtype="float32", autocast=False, grad_scaler=True, **how)
    budget = other.budgets[0]
    assert (budget.base_dtype, budget.autocast, budget.grad_scaler) == ("float32", None, True)
    assert set(other.notes) - set(usual.notes) == {
        "the frozen base is loaded in float32; the recipe has bfloat16",
        "no autocast; the recipe has autocast in bfloat16",
        "a GradScaler scales the loss; transformers' Trainer has one where autocast computes in fp16",
    }
