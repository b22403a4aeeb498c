"""MiniGPTConfig: what it fills in, what it refuses and how it says so."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM, MiniGPTModel


def test_fields_left_out_are_filled_from_the_sizes() -> None:
    config = MiniGPTConfig(hidden_size=48, num_attention_heads=6)
    assert (config.num_key_value_heads, config.intermediate_size) == (6, 192)
    older: dict[str, Any] = {"rope_theta": 500.0}  # as configs of transformers 4 have it
    assert MiniGPTConfig(**older).rope_parameters == {"rope_type": "default", "rope_theta": 500.0}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"position_embedding": "alibi"}, "position_embedding = 'alibi': one of rope, learned, sinusoidal, none"),
        ({"norm": "batchnorm"}, "norm = 'batchnorm': one of layernorm, rmsnorm, rmsnorm-no-weight"),
        ({"hidden_act": "tanh"}, "hidden_act = 'tanh': one of gelu, relu, relu2, silu"),
        ({"num_attention_heads": 5}, "hidden_size = 64 is not a multiple of num_attention_heads = 5"),
        ({"num_key_value_heads": 3}, "num_attention_heads = 4 is not a multiple of num_key_value_heads = 3"),
        ({"hidden_size": 36}, "head of odd size 9"),
        (
            {"hidden_size": 9, "num_attention_heads": 3, "position_embedding": "sinusoidal"},
            "hidden_size = 9 is odd",
        ),
        ({"vocab_size": 0}, "vocab_size = 0: must be at least 1"),
        ({"hidden_size": -64}, "hidden_size = -64: must be at least 1"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0: must be at least 1"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0: must be at least 1"),
        ({"num_key_value_heads": 0}, "num_key_value_heads = 0: must be at least 1"),
        ({"intermediate_size": 0}, "intermediate_size = 0: must be at least 1"),
        ({"max_position_embeddings": 0}, "max_position_embeddings = 0: must be at least 1"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused_with_its_values(fields: dict[str, Any], words: str) -> None:
    # `@strict` wraps the ValueError of validate_architecture in an error of its own, which is not a ValueError.
    with pytest.raises(StrictDataclassClassValidationError) as caught:
        MiniGPTConfig(**fields)
    assert isinstance(caught.value.__cause__, ValueError)
    assert words in str(caught.value)


@pytest.mark.parametrize("fields", [{"hidden_size": 64.5}, {"vocab_size": "512"}, {"mlp_bias": 1}, {"norm": None}])
def test_a_value_of_another_type_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StrictDataclassFieldValidationError, match=next(iter(fields))):
        MiniGPTConfig(**fields)


def test_odd_heads_do_without_rotation() -> None:
    assert MiniGPTConfig(hidden_size=36, position_embedding="learned").hidden_size == 36


def test_the_auto_classes_know_it_and_a_second_import_changes_nothing() -> None:
    import importlib

    import hfcount.minigpt

    importlib.reload(hfcount.minigpt)
    config = AutoConfig.for_model("minigpt", hidden_size=32)
    assert type(config) is MiniGPTConfig
    assert type(AutoModel.from_config(config)) is MiniGPTModel
    assert type(AutoModelForCausalLM.from_config(config)) is MiniGPTForCausalLM
