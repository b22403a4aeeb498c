"""`hfcount.memory`: the lab's hand-checked figures, what the regimes have in common, and where they differ."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import pytest

import hfcount
from hfcount.errors import BadInput
from hfcount.memory_answer import BUCKETS, Budget, Memory

LAB = "mini-gpt-lora-lab"


@functools.cache
def lab(precision: str = "lab", method: str = "closed-form", **way: Any) -> Memory:
    return hfcount.memory(LAB, batch=16, seq=32, precision=precision, method=method, **way)


def regime(found: Memory, name: str) -> Budget:
    return next(each for each in found.budgets if each.name == name)


def test_five_regimes_unless_others_are_asked() -> None:
    assert [each.name for each in lab().budgets] == ["full", "lora r=4", "lora r=8", "lora r=16", "qlora r=8"]


@pytest.mark.parametrize(("r", "trained"), [(4, 18_432), (8, 36_864), (16, 73_728)])
def test_the_labs_counts(r: int, trained: int) -> None:
    """A layer has 4 matrices of 64 x 64 and two of 64 x 256: r·(4·128 + 2·320) = 1,152·r, 9,216 at r = 8."""
    assert 1152 * 8 == 9_216
    budget = regime(lab(), f"lora r={r}")
    assert budget.trainable == trained == 4 * 1152 * r
    assert budget.frozen == 229_952


def test_the_labs_recipe_by_hand() -> None:
    """Full: 2 + 4 bytes of weights and master, 2 of gradients, 8 of Adam. LoRA: 2 for base and adapters, 2, 8."""
    full, lora = lab().full, regime(lab(), "lora r=8")
    assert (full.weights_bytes, full.master_bytes) == (2 * 229_952, 4 * 229_952)
    assert (full.gradients_bytes, full.optimizer_bytes) == (2 * 229_952, 8 * 229_952)
    assert (lora.weights_bytes, lora.master_bytes) == (2 * (229_952 + 36_864), 0)
    assert (lora.gradients_bytes, lora.optimizer_bytes) == (2 * 36_864, 8 * 36_864)
    assert lora.activations_rule_bytes == 16 * 32 * 64 * 4 * 16 == 2_097_152


def test_the_labs_nf4_bytes() -> None:
    """196,608 weights at half a byte, and 4 bytes for every 64: 98,304 + 12,288. The rest stays in fp16."""
    budget = regime(lab(), "qlora r=8")
    assert budget.quantized is not None
    assert budget.quantized.without_tables == 110_592
    assert budget.quantized.tables == 24 * 64
    rest = 229_952 - 196_608
    assert budget.weights_bytes == 110_592 + 24 * 64 + 2 * rest + 2 * 36_864


def test_pefts_own_default_is_another_recipe() -> None:
    """Adapters, their gradients and moments in fp32; what bitsandbytes does not hold is upcast for QLoRA."""
    lora, qlora = regime(lab("mixed-fp16"), "lora r=8"), regime(lab("mixed-fp16"), "qlora r=8")
    assert lora.weights_bytes == 2 * 229_952 + 4 * 36_864
    assert lora.gradients_bytes == 4 * 36_864
    assert lora.optimizer_bytes == 8 * 36_864
    assert qlora.weights_bytes == 112_128 + 4 * (229_952 - 196_608) + 4 * 36_864
    plain = regime(lab("mixed-fp16", kbit_upcast=False), "qlora r=8")
    assert plain.weights_bytes == 112_128 + 2 * (229_952 - 196_608) + 4 * 36_864


@pytest.mark.parametrize(
    ("precision", "bytes_each"),
    [("mixed-fp16", 16), ("mixed-bf16", 16), ("megatron-bf16", 18), ("autocast-bf16", 16), ("bf16", 8), ("fp32", 16)],
)
def test_bytes_of_a_trained_parameter(precision: str, bytes_each: int) -> None:
    full = lab(precision).full
    kept = sum(getattr(full, f"{name}_bytes") or 0 for name in BUCKETS) - (full.activations_bytes or 0)
    assert kept == bytes_each * 229_952


def test_no_targets_known_means_all_linear_and_says_so() -> None:
    assert set(regime(lab(), "lora r=8").targets) == {"q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"}
    assert any("PEFT has no default targets for model type 'minigpt'" in note for note in lab().notes)


def test_buckets_add_up_and_ratios_are_to_full() -> None:
    for method in ("simulated", "closed-form"):
        found = lab("mixed-bf16", method)
        for each in found.budgets:
            assert each.total_bytes == sum(getattr(each, f"{name}_bytes") or 0 for name in BUCKETS)
            assert each.ratio_to_full == each.total_bytes / (found.full.total_bytes or 0)
            assert each.method == method
            assert bool(each.basis) == (method == "closed-form")


def test_the_peak_is_the_highest_phase_and_stands_with_checkpointing_and_without() -> None:
    plain = hfcount.memory("gpt2", seq=256, lora_r=8)
    checked = hfcount.memory("gpt2", seq=256, lora_r=8, gradient_checkpointing=True)
    for one, other in zip(plain.budgets, checked.budgets, strict=True):
        assert one.total_bytes == one.peak_plain_bytes == other.peak_plain_bytes == max(one.phases.values())
        assert other.total_bytes == other.peak_checkpointing_bytes == one.peak_checkpointing_bytes
        assert one.phases[str(one.peak_phase)] == one.total_bytes
        assert (other.total_bytes or 0) <= (one.total_bytes or 0)
    assert checked.budgets[1].total_bytes != plain.budgets[1].total_bytes


def test_the_form_is_the_peak_without_the_allocators_rounding() -> None:
    from sympy import sympify

    found = hfcount.memory("gpt2", batch=3, seq=200, lora_r=6)
    for each in found.budgets:
        value = sympify(each.form).subs({"b": 3, "s": 200, "r": 6})
        assert value == (each.total_bytes or 0) - each.temporary["rounding"]


def test_mixtral_does_not_shrink() -> None:
    """Of 46.7 B weights 45.1 B are fused experts, which bitsandbytes does not take: they are upcast instead."""
    how = {"seq": 128, "lora_r": 8, "lora_targets": "attention", "method": "closed-form"}
    found = hfcount.memory("mixtral-8x7b", regimes=["lora", "qlora"], **how)  # type: ignore[arg-type]
    lora, qlora = found.budgets
    assert qlora.unconverted_bytes == 4 * 45_097_156_608
    assert (qlora.weights_bytes or 0) > 1.9 * (lora.weights_bytes or 0)
    assert any("45,097,156,608 weights of fused experts (96.6% of the model)" in note for note in found.notes)
    kept = hfcount.memory("mixtral-8x7b", regimes=["qlora"], kbit_upcast=False, **how)  # type: ignore[arg-type]
    assert kept.budgets[0].unconverted_bytes == 2 * 45_097_156_608


def test_an_adapter_on_fused_experts_makes_a_copy_of_them() -> None:
    """PEFT adds B·A to the whole parameter in every step, and the product with it keeps the sum."""
    found = hfcount.memory("mixtral-8x7b", seq=128, regimes=["lora"], lora_r=[8])
    attention = hfcount.memory("mixtral-8x7b", seq=128, regimes=["lora"], lora_r=[8], lora_targets="attention")
    more = (found.budgets[0].activations_bytes or 0) - (attention.budgets[0].activations_bytes or 0)
    assert more > 2 * 45_097_156_608


def test_sharding_divides_what_it_shards() -> None:
    whole = lab("mixed-bf16").full
    for sharding, divided in (
        ("zero1", {"master", "optimizer"}),
        ("zero2", {"master", "optimizer", "gradients"}),
        ("zero3", {"master", "optimizer", "gradients", "weights"}),
        ("fsdp", {"master", "optimizer", "gradients", "weights"}),
    ):
        one = lab("mixed-bf16", sharding=sharding, devices=7).full
        for name in BUCKETS[:4]:
            all_of_it = getattr(whole, f"{name}_bytes")
            assert getattr(one, f"{name}_bytes") == (math.ceil(all_of_it / 7) if name in divided else all_of_it)


def test_inference_is_weights_and_cache() -> None:
    """LLaMA-7B in bf16: 2·6,738,415,616, and 2·32·2,048·4,096·2 bytes = 1 GiB of cache."""
    (budget,) = hfcount.memory("llama-7b", regimes=["inference"]).budgets
    assert budget.weights_bytes == 2 * 6_738_415_616
    assert budget.kv_cache_bytes == 2**30
    assert budget.total_bytes == budget.weights_bytes + 2**30


def test_llama_7b_is_what_the_prototype_traced_less_its_masks() -> None:
    """The traced figures, 390,348,800 bytes a layer, have a mask of s² in bf16 that no real run keeps."""
    two, one = (
        hfcount.memory(
            "llama-7b", regimes=["full"], precision="bf16", device="cpu", settings=[f"num_hidden_layers={layers}"]
        ).full
        for layers in (2, 1)
    )
    assert two.highest["activations"] - one.highest["activations"] == 390_348_800 - 2 * 2048**2


def test_a_step_that_cannot_be_run_says_so_and_leaves_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    from hfcount.simulation import simulate

    def stopped(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(simulate, "run_step", stopped)
    found = hfcount.memory("bert-base-uncased", regimes=["full"], seq=64)
    assert found.full.method == "closed-form"
    assert found.full.weights_bytes == 6 * (found.full.trainable or 0) - (found.full.master_bytes or 0)
    assert any("activations are an estimate" in note for note in found.notes)
    assert any("full: no peak, since the step cannot be simulated: no such kernel" in note for note in found.notes)


def test_beyond_the_positions_is_a_warning() -> None:
    found = hfcount.memory("gpt2", regimes=["full"], seq=2000)
    assert found.warnings == ("--seq 2,000 is beyond the model's 1,024 positions",)
    assert not lab().warnings


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"optimizer": "adamm"}, "optimizer 'adamm' is not known: did you mean adamw"),
        ({"precision": "fp-32"}, "precision 'fp-32' is not known: did you mean fp32"),
        ({"batch": 0}, "--batch 0: give a positive integer"),
        ({"seq": -3}, "--seq -3: give a positive integer"),
        ({"regimes": ["qlorra"]}, "regime 'qlorra' is not known: did you mean qlora"),
        ({"attention": "flash"}, "attention 'flash' is not known: one of sdpa, eager, flash_attention_2"),
        ({"quantization": "nf5"}, "quantization 'nf5'"),
        ({"sharding": "zero4"}, "sharding 'zero4' is not known"),
        ({"devices": 0}, "--devices 0"),
        ({"lora_targets": "nowhere"}, "LoRA targets nowhere: no module has such a name"),
        ({"lora_r": [0]}, "a rank is a positive integer"),
    ],
)
def test_bad_input(way: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("(", r"\(")):
        hfcount.memory(LAB, **way)


def test_a_regime_that_the_model_cannot_have(tmp_path: Any) -> None:
    """Where nothing is converted QLoRA has no figures: a reason beside others, an error where it alone was asked."""
    from hfcount.budgeting import Asked, Way
    from hfcount.simulating import memory_of
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    bench = Workbench(resolve(LAB), ())
    way = Way(batch=1, seq=8)
    real = bench.quantized(way.scheme)
    bench._quantized[way.scheme] = dataclasses.replace(real, modules=())
    both = memory_of(bench, way, Asked.of(["full", "qlora"], (), "default", ()))
    assert both.budgets[1].total_bytes is None
    assert "converts no layer of this model" in (both.budgets[1].reason or "")
    with pytest.raises(BadInput, match="converts no layer of this model"):
        memory_of(bench, way, Asked.of(["qlora"], (), "default", ()))


def test_what_a_class_makes_in_fp32_stays_so(tmp_path: Any) -> None:
    """DeBERTa's q_bias and v_bias are made with torch.float, whatever the model is loaded in."""
    from transformers import DebertaConfig

    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    DebertaConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    bench = Workbench(resolve(str(tmp_path)), ())
    wide = {
        name for name, dtype in zip(bench.table["name"], bench.dtypes("bfloat16"), strict=True) if dtype != "bfloat16"
    }
    assert {name.rpartition(".")[2] for name in wide} == {"q_bias", "v_bias"}


def test_a_keyword_that_is_unknown_brings_near_names() -> None:
    with pytest.raises(BadInput, match="keyword 'batchsize' is not known: did you mean batch"):
        hfcount.memory("gpt2", batchsize=2)
    with pytest.raises(BadInput, match="keyword 'sequence' is not known"):
        hfcount.memory("gpt2", sequence=2)


def test_one_regime_as_a_string() -> None:
    (one,) = hfcount.memory("mini-gpt", regimes="inference").budgets
    (same,) = hfcount.memory("mini-gpt", regimes=["inference"]).budgets
    assert one == same


def test_gradients_that_are_set_to_zero_stand_in_the_next_forward_pass() -> None:
    """Beside fp32 copies too: each tensor's gradient in 16 bits, in the blocks of 512 bytes that torch hands out."""
    sizes = hfcount.count(LAB, detailed=True).table["numel"]
    gradients = sum(512 * math.ceil(2 * numel / 512) for numel in sizes)
    forward = [
        hfcount.memory(LAB, regimes="full", seq=8, zero_grad=kept).full.phases["forward"]
        for kept in ("to-none", "to-zero")
    ]
    assert forward[1] - forward[0] == gradients
