"""The three models that the budgets are promised for: every bucket against a real training step on the CPU."""

from __future__ import annotations

import dataclasses

import pytest

from hfcount.budgeting import Asked, Way, described, lasting_budget
from hfcount.memory_answer import Budget
from hfcount.simulating import compared, run_of, wished
from hfcount.simulation.simulate import measured
from hfcount.simulation.step import run_step
from hfcount.simulation.subject import materialize, skeleton_of
from hfcount.sources import resolve
from hfcount.workbench import Workbench

TWO_LAYERS = (
    "num_hidden_layers=2", "hidden_size=64", "intermediate_size=172", "num_attention_heads=4",
    "num_key_value_heads=4", "vocab_size=512",
)  # fmt: skip
MODELS = {"mini-gpt-lora-lab": (), "llama-7b": TWO_LAYERS}
ASKED = Asked.of(["full"], (), "all-linear", ())


def lasting(bench: Workbench, way: Way, regime: str) -> Budget:
    rank = None if regime == "full" else 8
    return lasting_budget(bench, way, described(bench, way, regime, rank, ASKED.targets), ASKED.targets)


def real_step(bench: Workbench, way: Way, budget: Budget) -> list[tuple[str, int, int]]:
    """Each bucket's closed form and what a real step of the same training held of it."""
    subject = skeleton_of(bench, wished(bench, way, budget, ASKED))
    materialize(subject)
    found = measured(run_step(subject, run_of(way)))
    return [(each.bucket, each.closed_bytes, each.simulated_bytes) for each in compared(way, budget, found)]


@pytest.mark.parametrize(
    ("regime", "double"), [("full", False), ("lora", False), ("qlora", False), ("qlora", True)], ids=str
)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "mixed-bf16", "autocast-bf16", "megatron-bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_every_bucket_to_the_byte(model: str, precision: str, regime: str, double: bool) -> None:
    bench = Workbench(resolve(model), MODELS[model])
    way = Way(batch=2, seq=16, precision=precision, device="cpu", double_quant=double)
    budget = lasting(bench, way, regime)
    for bucket, closed, held in real_step(bench, way, budget):
        assert closed == held, f"{bucket}: {closed:,} by the closed form, {held:,} in the step: {closed - held:+,}"


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["full", "qlora"])
def test_gpt2_at_its_real_size(regime: str) -> None:
    """124,439,808 parameters trained for real, in full and over real NF4 weights."""
    bench = Workbench(resolve("gpt2"), ())
    way = Way(batch=2, seq=8, precision="bf16", device="cpu")
    budget = lasting(bench, way, regime)
    if regime == "qlora":
        doubled = dataclasses.replace(way, double_quant=True)
        again = lasting(bench, doubled, regime)
        assert again.quantized is not None
        for bucket, closed, held in real_step(bench, doubled, again):
            assert closed == held, bucket
    for bucket, closed, held in real_step(bench, way, budget):
        assert closed == held, bucket
