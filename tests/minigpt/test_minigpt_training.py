"""Mini-GPT learns: whole, with checkpointing, under PEFT and in the Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from minigpt_models import VARIANTS, small, tokens
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

from hfcount.minigpt import MiniGPTForCausalLM


def gradients(model: MiniGPTForCausalLM) -> dict[str, torch.Tensor]:
    """The gradient of each parameter for one batch; every parameter has one that is not all zero."""
    ids = tokens(2, 9)
    model.zero_grad()
    model(ids, labels=ids).loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is not None and gradient.any() for gradient in found.values())
    return {name: gradient.clone() for name, gradient in found.items() if gradient is not None}


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_checkpointing_does_not_change_gradients(variant: dict[str, Any], reentrant: bool) -> None:
    model = small(attn_implementation="sdpa", **variant).train()
    calls = 0

    def count_call(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.model.layers[0].mlp.register_forward_pre_hook(count_call)
    plain = gradients(model)
    assert calls == 1
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    checkpointed = gradients(model)
    assert calls == 3, "the layer was not computed anew in the backward pass"
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        apart = (checkpointed[name] - gradient).abs().max()
        assert apart <= 1e-6 * gradient.abs().max(), f"{name}: differs by up to {apart:.2e}"


def lora(model: MiniGPTForCausalLM, **options: Any) -> Any:
    return get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **options))


def test_peft_has_no_default_targets_for_a_new_model_type() -> None:
    with pytest.raises(ValueError, match="target_modules"):
        lora(small())


@pytest.mark.parametrize(
    ("variant", "targets", "trainable"),
    [
        # r * (in + out) of each matrix, in each of two layers
        ({}, "all-linear", 2 * 4 * (4 * (32 + 32) + 2 * (32 + 128))),
        ({}, ["q_proj", "v_proj"], 2 * 4 * 2 * (32 + 32)),
        (
            {"gated_mlp": True, "num_key_value_heads": 1, "tie_word_embeddings": False},
            "all-linear",
            2 * 4 * (2 * (32 + 32) + 2 * (32 + 8) + 3 * (32 + 128)),
        ),
    ],
)
def test_peft_attaches_and_only_the_adapters_learn(variant: dict[str, Any], targets: Any, trainable: int) -> None:
    peft_model = lora(small(attn_implementation="sdpa", **variant), target_modules=targets).train()
    learning = {name for name, parameter in peft_model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in learning)
    counted = peft_model.get_nb_trainable_parameters()[0]
    assert counted == trainable, f"PEFT counts {counted:,}, by hand {trainable:,}: {counted - trainable:+,}"

    before = {name: parameter.detach().clone() for name, parameter in peft_model.named_parameters()}
    optimizer = torch.optim.AdamW((p for p in peft_model.parameters() if p.requires_grad), lr=3e-2)
    ids, losses = tokens(2, 9), []
    for _ in range(30):
        loss = peft_model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], losses
    moved = {name for name, parameter in peft_model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == learning


def test_peft_saves_loads_and_merges(tmp_path: Path) -> None:
    from peft import PeftModel

    peft_model = lora(small(), target_modules="all-linear", init_lora_weights=False).eval()
    peft_model.save_pretrained(tmp_path)
    ids = tokens(2, 9)
    with torch.no_grad():
        adapted = peft_model(input_ids=ids).logits
        assert not torch.allclose(adapted, small()(ids).logits, atol=1e-2)
        torch.testing.assert_close(PeftModel.from_pretrained(small(), tmp_path).eval()(input_ids=ids).logits, adapted)
        merged = peft_model.merge_and_unload()
        assert type(merged) is MiniGPTForCausalLM
        torch.testing.assert_close(merged(ids).logits, adapted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trainer_trains(checkpointing: bool, tmp_path: Path) -> None:
    model = small(attn_implementation="sdpa")
    rows = [{"input_ids": row, "labels": row} for row in tokens(4, 9)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=8, per_device_train_batch_size=2, gradient_accumulation_steps=2,
        learning_rate=1e-2, logging_steps=1, save_steps=8, report_to="none", use_cpu=True, disable_tqdm=True,
        gradient_checkpointing=checkpointing, seed=1,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 8
    assert losses[-1] < 0.7 * losses[0], losses
    kept = MiniGPTForCausalLM.from_pretrained(tmp_path / "checkpoint-8").eval()
    with torch.no_grad():
        ids = rows[0]["input_ids"][None]
        torch.testing.assert_close(kept(ids).logits, model.eval()(ids).logits)
