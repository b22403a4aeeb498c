"""A class that the running program registered with transformers is counted like one of transformers' own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from registered import forget
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from hfcount import BadInput, count


class OwnConfig(PreTrainedConfig):
    model_type = "registered_by_a_test"

    def __init__(self, width: int = 8, **others: object) -> None:
        self.width = width
        super().__init__(**others)


class OwnForCausalLM(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(100, config.width)
        self.head = nn.Linear(config.width, 100, bias=True)
        self.post_init()

    def forward(self, input_ids: object) -> object:
        return self.head(self.embed(input_ids))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """A folder with a config of the class, which is registered while the test runs: others go through all types."""
    AutoConfig.register(OwnConfig.model_type, OwnConfig)
    AutoModelForCausalLM.register(OwnConfig, OwnForCausalLM)
    config = {"model_type": OwnConfig.model_type, "architectures": ["OwnForCausalLM"], "width": 16}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    yield str(tmp_path)
    forget(OwnConfig)


def test_by_its_config_and_by_its_name(folder: str) -> None:
    by_hand = 100 * 16 + 16 * 100 + 100
    assert count(folder).sizes.total == by_hand
    assert count(folder, class_name="OwnForCausalLM").sizes.total == by_hand


def test_another_type_does_not_take_it(folder: str) -> None:
    with pytest.raises(BadInput, match="--class OwnForCausalLM: no model class of transformers"):
        count("gpt2", class_name="OwnForCausalLM")
