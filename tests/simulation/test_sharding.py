"""A step divided over devices, held against sizes worked out by hand and against published rules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import transformers
from small_benches import bench_of, run_of, wished

from hfcount.budget.recipes import recipe
from hfcount.errors import BadInput
from hfcount.quantization.storage import Scheme
from hfcount.simulation.peak import Simulation, entries_of
from hfcount.simulation.plan import MODES, Sharding, Wished
from hfcount.simulation.simulate import simulate, traced
from hfcount.workbench import Workbench

DEVICES = 4
VOCABULARY, HIDDEN, INNER, KEYS, LAYERS = 96, 32, 48, 16, 9
LAYER = {  # the sides of a layer's parameters, in Llama's order
    "q": (HIDDEN, HIDDEN), "k": (KEYS, HIDDEN), "v": (KEYS, HIDDEN), "o": (HIDDEN, HIDDEN),
    "gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER),
    "norm": (HIDDEN,), "norm after": (HIDDEN,),
}  # fmt: skip
ENDS = {"entry": (VOCABULARY, HIDDEN), "norm": (HIDDEN,), "head": (VOCABULARY, HIDDEN)}
ONE_LAYER = sum(math.prod(each) for each in LAYER.values())
PARAMETERS = LAYERS * ONE_LAYER + sum(math.prod(each) for each in ENDS.values())


def _bench(folder: Path, *, layers: int = LAYERS, **changed: Any) -> Workbench:
    fields = {
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "pad_token_id": 0, **changed,
    }  # fmt: skip
    return bench_of(folder, transformers.LlamaConfig(**fields, num_hidden_layers=layers), "LlamaForCausalLM")


def _run(mode: str, devices: int = DEVICES, *, offload: bool = False, **how: Any) -> Any:
    return run_of(batch=2, capability=(8, 0), sharding=Sharding(mode=mode, devices=devices, offload=offload), **how)


def _simulated(bench: Workbench, mode: str, kind: Wished, devices: int = DEVICES, **how: Any) -> Simulation:
    return simulate(bench, kind, _run(mode, devices, **how), whole=True)


def _shards(devices: int) -> int:
    """Elements of FSDP2's shards on the first device: each parameter's rows, divided and rounded up."""
    sides = [*LAYERS * list(LAYER.values()), *ENDS.values()]
    return sum(-(-rows // devices) * math.prod(rest) for rows, *rest in sides)


@pytest.mark.parametrize("devices", [2, 3, 4, 64])
def test_fsdp_holds_the_rows_that_are_its_own(devices, tmp_path):
    found = _simulated(_bench(tmp_path), "fsdp", wished("bf16"), devices).highest
    assert found["weights"] == 2 * _shards(devices)
    assert found["weights"] * devices >= 2 * PARAMETERS
    assert found["gradients"] == found["weights"]
    assert found["optimizer"] == 2 * found["weights"]


def test_fsdp_keeps_fp32_masters_in_place_of_weights(tmp_path):
    """16 bytes a parameter: 4 of the shard, 4 of its gradient, 8 of the moments; gathered in 16 bits."""
    found = _simulated(_bench(tmp_path), "fsdp", wished("mixed-bf16")).highest
    assert (found["weights"], found["master"]) == (PARAMETERS * 4 // DEVICES, 0)
    assert found["gradients"] + found["optimizer"] == PARAMETERS * 12 // DEVICES


def test_fsdp_gathers_a_layer_at_once(tmp_path):
    """What the all-gather of a layer writes, and what the reduce-scatter reads, is the whole layer."""
    table = entries_of(traced(_bench(tmp_path), wished("bf16"), _run("fsdp")))
    buffers = table[(table["bucket"] == "communication") & (table["shape"].map(len) == 1)]
    whole = buffers[buffers["bytes"] == 2 * ONE_LAYER]
    gathered, reduced = whole[whole["phase"] == "forward"], whole[whole["phase"] == "backward"]
    assert len(gathered) == LAYERS
    assert len(reduced) == 2 * LAYERS  # gathered once more, and reduced
    assert all(
        f"layers.{index}" in set(gathered["module"].str.extract(r"(layers\.\d+)")[0]) for index in range(LAYERS)
    )


def test_fsdp_has_two_layers_at_once_at_most(tmp_path):
    """One layer in its all-gather's output and in its parameters, the next one's output, norm and head, a gradient."""
    found = _simulated(_bench(tmp_path), "fsdp", wished("bf16")).highest["communication"]
    ends = 2 * (VOCABULARY * HIDDEN + HIDDEN)
    assert 2 * ONE_LAYER + ends <= found / 2 <= 4 * ONE_LAYER + 2 * ends


@pytest.mark.parametrize("mode", ["zero1", "zero2", "zero3"])
@pytest.mark.parametrize("devices", [2, 8])
def test_zero_divides_what_its_stage_divides(mode, devices, tmp_path):
    """Rajbhandari et al. 2020 (arXiv 1910.02054), figure 1: 2 + 2 + K, K = 12 for Adam in mixed precision."""
    found = _simulated(_bench(tmp_path), mode, wished("mixed-bf16"), devices)
    assert found.highest["master"] + found.highest["optimizer"] == 12 * PARAMETERS // devices
    forward = found.phases["forward"].buckets
    if mode == "zero3":
        persistent = sum(
            math.prod(each) for each in (*LAYERS * list(LAYER.values()), *ENDS.values()) if len(each) == 1
        )
        assert forward["weights"] == 2 * (PARAMETERS // devices + persistent)
        assert forward["gradients"] == 2 * PARAMETERS // devices
    else:
        assert forward["weights"] == 2 * PARAMETERS
        assert forward["gradients"] == 0


def test_the_first_stage_has_all_gradients_and_the_second_has_not(tmp_path):
    first, second = (_peak_gradients(_bench(tmp_path), mode) for mode in ("zero1", "zero2"))
    assert first >= 2 * (PARAMETERS - VOCABULARY * HIDDEN)
    assert second < PARAMETERS


def _peak_gradients(bench: Workbench, mode: str) -> int:
    """The most bytes of whole gradients that stood at one moment of the backward pass."""
    ledger = traced(bench, wished("mixed-bf16"), _run(mode))
    table = entries_of(ledger)
    sides = {*LAYER.values(), *ENDS.values()}
    rows = table[
        (table["phase"] == "backward") & table["shape"].isin(sides) & ~table["bucket"].isin(["optimizer", "master"])
    ]
    moments = range(int(rows["born"].min()), int(rows["end"].max()) + 1)
    return max(int(rows.loc[(rows["born"] <= each) & (rows["end"] >= each), "bytes"].sum()) for each in moments)


def test_buckets_have_transformers_automatic_size(tmp_path):
    """h² elements (transformers/integrations/deepspeed.py), two buckets where communication overlaps."""
    table = entries_of(traced(_bench(tmp_path), wished("mixed-bf16"), _run("zero2")))
    buckets = table[(table["bucket"] == "communication") & (table["bytes"] == 2 * HIDDEN**2)]
    assert int(((buckets["end"] - buckets["born"]) > 100).sum()) == 2


def test_the_third_stage_lets_go(tmp_path, monkeypatch):
    """With nothing kept for later and nothing ahead, no more than the largest module is gathered."""
    from hfcount.simulation import zero

    strict = zero.Settings(reduce_bucket=HIDDEN**2, prefetch_bucket=0, persistence=HIDDEN, max_live=0, max_reuse=0)
    monkeypatch.setattr(zero.Settings, "automatic", lambda _: strict)
    found = _simulated(_bench(tmp_path), "zero3", wished("mixed-bf16"))
    assert found.phases["forward"].buckets["communication"] <= 2 * (VOCABULARY * HIDDEN + HIDDEN**2)
    monkeypatch.undo()
    usual = _simulated(_bench(tmp_path), "zero3", wished("mixed-bf16"))
    assert usual.highest["communication"] > 2 * PARAMETERS - 2 * ONE_LAYER  # all is needed again within 1e9 elements


@pytest.mark.parametrize("mode", MODES)
def test_adapters_are_all_that_is_trained(mode, tmp_path):
    full = _simulated(_bench(tmp_path), mode, wished("mixed-bf16"))
    lora = _simulated(_bench(tmp_path), mode, wished("mixed-bf16", rank=4, checkpointing=True))
    adapters = 4 * sum(sum(each) for each in LAYER.values() if len(each) == 2) * LAYERS
    state = lora.highest["optimizer"]
    assert adapters * 8 / DEVICES <= state < full.highest["optimizer"]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("rank", [0, 4])
def test_depth_is_extrapolated_to_the_byte(rank, checkpointing, tmp_path):
    bench, kind = _bench(tmp_path), wished("mixed-bf16", rank=rank, checkpointing=checkpointing)
    shallow, whole = simulate(bench, kind, _run("fsdp")), simulate(bench, kind, _run("fsdp"), whole=True)
    assert shallow.traced == (4, 5, 6)
    assert {phase: each.buckets for phase, each in shallow.phases.items()} == {
        phase: each.buckets for phase, each in whole.phases.items()
    }
    assert shallow.highest == whole.highest


@pytest.mark.parametrize("mode", MODES)
def test_what_is_offloaded_is_the_hosts(mode, tmp_path):
    """At least the masters and the moments, 12 bytes a parameter, and none of them on the device."""
    found = _simulated(_bench(tmp_path, layers=2), mode, wished("mixed-bf16"), offload=True)
    elements = 2 * ONE_LAYER + sum(math.prod(each) for each in ENDS.values())
    assert found.highest["optimizer"] == found.highest["master"] == 0
    assert found.host_bytes >= 12 * elements // DEVICES


@pytest.mark.parametrize("mode", MODES)
def test_tied_embeddings_and_several_batches(mode, tmp_path):
    bench = _bench(tmp_path, layers=2, tie_word_embeddings=True)
    found = simulate(bench, wished("mixed-bf16"), _run(mode, accumulation=2))
    elements = PARAMETERS - (LAYERS - 2) * ONE_LAYER - VOCABULARY * HIDDEN
    assert found.highest["optimizer"] == elements * 8 // DEVICES


@pytest.mark.parametrize(
    ("mode", "kind", "how", "says"),
    [
        ("zero2", wished("bf16"), {}, "--sharding zero2 keeps fp32 masters"),
        ("zero3", wished("autocast-bf16"), {}, "--sharding zero3 keeps fp32 masters"),
        ("zero1", wished("megatron-bf16"), {}, "--sharding zero1 adds gradients up in 16 bits"),
        ("fsdp", wished("bf16"), {"optimizer": "adafactor"}, "--sharding fsdp is simulated with adamw or sgd"),
        ("fsdp", wished("bf16"), {"zeroes_gradients": True}, "--sharding fsdp lets gradients go"),
        (
            "zero3", Wished(precision=recipe("mixed-bf16").adapters, scheme=Scheme(kind="nf4")), {},
            "--sharding zero3 divides no bitsandbytes weights",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_said(mode, kind, how, says, tmp_path):
    with pytest.raises(BadInput, match=says):
        simulate(_bench(tmp_path, layers=2), kind, _run(mode, **how), whole=True)


def test_the_cpu_is_refused(tmp_path):
    with pytest.raises(BadInput, match="--sharding fsdp is simulated with CUDA's kernels alone"):
        simulate(_bench(tmp_path, layers=2), wished(), run_of(sharding=Sharding(mode="fsdp", devices=2)))


def test_one_device_divides_nothing():
    with pytest.raises(BadInput, match="--devices 1"):
        Sharding(mode="fsdp", devices=1)
