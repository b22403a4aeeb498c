"""`--set KEY=VALUE`: what it changes, held against published counts, and what it refuses."""

from __future__ import annotations

import pytest
from bad_configs import build, card_config, parameters, refusal

GPT2 = 124_439_808
GPT2_LAYER = 12 * 768**2 + 13 * 768
"""12·d² + 13·d: four matrices of attention and eight of the MLP, their biases, and two LayerNorms."""


@pytest.mark.parametrize("key", ["n_layer", "num_hidden_layers"])
def test_a_field_by_its_own_name_or_by_the_alias(key: str) -> None:
    assert parameters(build(card_config("gpt2"), [f"{key}=4"])) == GPT2 - 8 * GPT2_LAYER


def test_the_later_one_holds() -> None:
    assert parameters(build(card_config("gpt2"), ["n_layer=4", "num_hidden_layers=11"])) == GPT2 - GPT2_LAYER


@pytest.mark.parametrize("value", ["false", "False"])
def test_json_and_python_spellings(value: str) -> None:
    """Untied, GPT-2 has a head of its own of V·d."""
    assert parameters(build(card_config("gpt2"), [f"tie_word_embeddings={value}"])) == GPT2 + 50_257 * 768


def test_a_string_needs_no_quotes() -> None:
    built = build(card_config("gpt2"), ["activation_function=relu"])
    assert built.config.activation_function == "relu"


def test_null_gives_a_field_back_to_its_default() -> None:
    config = {**card_config("gpt2"), "n_inner": 100}
    assert parameters(build(config, ["n_inner=null"])) == GPT2


def test_spaces_around_the_sign() -> None:
    assert parameters(build(card_config("gpt2"), ["n_layer = 11"])) == GPT2 - GPT2_LAYER


def test_a_nested_field() -> None:
    """One layer fewer of Gemma-3-4B's SigLIP tower: 4·(d² + d) + 2·d·f + f + d + 4·d, with d 1152 and f 4304."""
    config = card_config("google/gemma-3-4b-pt")
    whole, less = parameters(build(config)), parameters(build(config, ["vision_config.num_hidden_layers=26"]))
    d, f = 1152, 4304
    assert whole - less == 4 * (d * d + d) + (2 * d * f + f + d) + 4 * d


def test_fewer_layers_cut_the_lists_that_have_one_entry_a_layer() -> None:
    config = card_config("openai/gpt-oss-20b")
    assert len(config["layer_types"]) == 24
    built = build(config, ["num_hidden_layers=4"])
    assert len(built.config.layer_types) == 4
    assert built.notes[0] == "layer_types cut to its first 4 entries, one a layer"
    layer = (parameters(build(config)) - parameters(built)) / 20
    assert parameters(build(config, ["num_hidden_layers=5"])) - parameters(built) == layer


def test_a_stack_of_no_layers_has_its_embeddings() -> None:
    """V·d + T·d + 2d of GPT-2, by hand."""
    assert parameters(build(card_config("gpt2"), ["n_layer=0"])) == 50257 * 768 + 1024 * 768 + 2 * 768


def test_lists_of_tokens_are_not_cut() -> None:
    config = {**card_config("gpt2"), "eos_token_id": list(range(12)), "architectures": ["GPT2LMHeadModel"] * 12}
    built = build(config, ["n_layer=4"])
    assert len(built.config.eos_token_id) == 12
    assert len(built.config.architectures) == 12


def test_more_layers_than_the_list_names() -> None:
    text = refusal(card_config("openai/gpt-oss-20b"), ["num_hidden_layers=48"])
    assert "48" in text
    assert "layer_types" in text


def test_a_field_inside_plain_json() -> None:
    built = build(card_config("openai/gpt-oss-20b"), ["rope_scaling.factor=2.0"])
    assert built.config.rope_parameters["factor"] == 2.0


@pytest.mark.parametrize(
    ("card", "setting", "parts"),
    [
        ("gpt2", "num_attention_head=7", ("GPT2Config has no such field", "num_attention_heads")),
        ("gpt2", "n_layers=7", ("did you mean n_layer",)),
        ("gpt2", "text_config.n_layer=3", ("did you mean n_layer",)),
        ("google/gemma-3-4b-pt", "num_hidden_layers=4", ("text_config.num_hidden_layers", "vision_config.")),
        ("google/gemma-3-4b-pt", "text_config.num_hiden_layers=4", ("text_config.num_hidden_layers",)),
        ("openai/gpt-oss-20b", "rope_scaling.nothing=4", ("no such field",)),
        ("gpt2", "a.b.c.d=4", ("no such field",)),
        ("gpt2", "to_dict=4", ("no such field",)),
        ("gpt2", "_name_or_path=4", ("no such field",)),
        ("gpt2", "__class__=4", ("no such field",)),
        ("gpt2", "n_layer", ("KEY=VALUE", "--set num_hidden_layers=4")),
        ("gpt2", "=4", ("KEY=VALUE",)),
        ("gpt2", "", ("KEY=VALUE",)),
        ("gpt2", "n_layer=", ("n_layer must be int", '""')),
        ("gpt2", "n_layer=four", ("n_layer must be int", '"four"')),
        ("gpt2", "n_layer=null", ("n_layer must be int, not null",)),
        ("gpt2", "n_layer=1.5", ("1.5",)),
        ("gpt2", "n_layer=true", ("true",)),
        ("gpt2", "n_layer=-1", ("negative",)),
        ("gpt2", "n_embd=0", ("n_embd = 0",)),
        ("gpt2", "num_hidden_layers=1000000000", ("n_layer = 1,000,000,000 is absurd",)),
        ("gpt2", f"n_layer={'9' * 5000}", ("n_layer",)),
        ("gpt2", "n_head=7", ("768", "7 attention heads")),
        ("gpt2", "model_type=llama", ("type cannot be overridden",)),
        ("gpt2", "architectures=[5]", ("a list of class names was expected",)),
        ("gpt2", "architectures=Trainer", ("no model class",)),
    ],
)
def test_what_is_refused(card: str, setting: str, parts: tuple[str, ...]) -> None:
    text = refusal(card_config(card), [setting])
    for part in parts:
        assert part in text, f"{part!r} is not in {text!r}"
