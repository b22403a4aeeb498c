"""A live optimizer's state, held against the tensors that real steps make, and the callback in a real Trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from transformers.optimization import Adafactor

import hfcount


def model(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Matrices and vectors, one of them in another type, one that does not train."""
    made = nn.Sequential(nn.Linear(70, 60), nn.LayerNorm(60), nn.Linear(60, 3)).to(dtype)
    made[1] = made[1].float()
    made[2].bias.requires_grad_(False)
    return made


def stepped(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for each in module.parameters():
        each.grad = torch.ones_like(each) if each.requires_grad else None
    optimizer.step()


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters),
    "adam": lambda parameters: torch.optim.Adam(parameters, fused=False),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adafactor": lambda parameters: Adafactor(parameters),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_expected_is_what_a_step_makes(name: str, dtype: torch.dtype) -> None:
    module = model(dtype)
    optimizer = OPTIMIZERS[name]([each for each in module.parameters() if each.requires_grad])
    before = hfcount.report(module, optimizer=optimizer).optimizer
    assert before is not None
    assert (before.bytes, before.scalar_bytes) == (0, 0)
    stepped(module, optimizer)
    after = hfcount.report(module, optimizer=optimizer).optimizer
    assert after is not None
    made = [each for state in optimizer.state.values() for each in state.values() if torch.is_tensor(each)]
    assert after.bytes == sum(each.nbytes for each in made if each.numel() > 1)
    assert after.scalar_bytes == sum(each.nbytes for each in made if each.numel() == 1)
    assert before.expected_bytes == after.expected_bytes == after.bytes
    assert after.parameters == sum(each.numel() for each in module.parameters() if each.requires_grad)


@pytest.mark.parametrize(
    "build",
    [
        lambda parameters: torch.optim.AdamW(parameters, amsgrad=True),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: torch.optim.Rprop(parameters),
    ],
)
def test_no_closed_form_is_claimed_for_what_it_was_not_derived_for(build: Callable[[Any], Any]) -> None:
    module = model()
    optimizer = build(list(module.parameters()))
    state = hfcount.report(module, optimizer=optimizer).optimizer
    assert state is not None
    assert state.expected_bytes is None


def test_what_an_optimizer_misses_or_has_in_vain_is_told() -> None:
    module = model()
    found = hfcount.report(module, optimizer=torch.optim.AdamW([module[0].weight, module[2].bias]))
    assert found.optimizer is not None
    assert found.optimizer.left_out == 60 + 60 + 60 + 3 * 60
    assert found.optimizer.not_training == 3
    assert "360 parameters train, but AdamW does not step them" in found.notes
    assert "AdamW has 3 parameters that do not train" in found.notes
    assert "AdamW: steps 4,203 parameters" in str(found)


@pytest.fixture
def two_ranks() -> Iterator[Any]:
    """A mesh of two devices of which this process is the first, and the other does not exist."""
    import torch.distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    torch.distributed.destroy_process_group()


def test_a_sharded_model_counts_whole_and_weighs_what_is_here(two_ranks: Any) -> None:
    from torch.distributed.fsdp import fully_shard

    module = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    fully_shard(module, mesh=two_ranks)
    optimizer = torch.optim.AdamW(module.parameters())
    before = hfcount.report(module, optimizer=optimizer)
    stepped(module, optimizer)
    after = hfcount.report(module, optimizer=optimizer)
    assert before.parameters == 8 * 6 + 6 + 6 * 4 + 4
    assert before.bytes == after.gradient_bytes == 4 * before.parameters // 2
    assert before.optimizer is not None
    assert after.optimizer is not None
    assert before.optimizer.expected_bytes == after.optimizer.bytes == 2 * before.bytes


def tiny() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=16))


def trainer(folder: Path, callback: Any) -> Trainer:
    rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(4)]
    how = TrainingArguments(
        output_dir=str(folder), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, optim="adamw_torch", logging_strategy="no",
    )  # fmt: skip
    return Trainer(model=tiny(), args=how, train_dataset=rows, callbacks=[callback])  # type: ignore[arg-type]


def test_a_trainer_says_its_figures(tmp_path: Path) -> None:
    said: list[str] = []
    callback: Any = hfcount.callback(said.append)
    run = trainer(tmp_path, callback)
    run.train()
    parameters = sum(each.numel() for each in run.model.parameters())
    assert len(said) == 2, said
    assert f"{parameters:,}" in said[0]
    # AdamW keeps two fp32 moments for each parameter, and a counter for each tensor.
    tensors = len(list(run.model.parameters()))
    assert callback.begun.optimizer.expected_bytes == 8 * parameters
    assert callback.stepped.optimizer.bytes == 8 * parameters
    assert callback.stepped.gradient_bytes == 4 * parameters
    assert f"AdamW {8 * parameters + 4 * tensors:,}" in said[1]


def test_the_log_has_it_where_nobody_else_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hfcount"):
        trainer(tmp_path, hfcount.callback()).train()
    texts = [record.getMessage() for record in caplog.records if record.name == "hfcount"]
    assert texts[0].startswith("GPT2LMHeadModel")
    assert texts[1].startswith("after the first step, bytes: parameters ")
