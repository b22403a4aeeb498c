"""When there is a closed form and when there is none, and what it carries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sympy
from family_witness import config_of

from hfcount.formulas import ClosedForm, ComponentForm, closed_form, legend
from hfcount.formulas.families import gpt2

GPT2 = {
    "model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
    "n_inner": None, "tie_word_embeddings": True,
}  # fmt: skip


def test_gpt2_in_full() -> None:
    form = closed_form(SimpleNamespace(**GPT2), "GPT2LMHeadModel")
    assert form is not None
    assert form.text == "V*d + T*d + L*(12*d**2 + 13*d) + 2*d"
    assert [(each.component, each.text) for each in form.components] == [
        ("token_embedding", "V*d"),
        ("position_embedding", "T*d"),
        ("attention", "L*(4*d**2 + 4*d)"),
        ("mlp", "L*(8*d**2 + 5*d)"),
        ("norm", "4*L*d + 2*d"),
    ]
    assert form.symbols == {"V": "vocab_size", "d": "n_embd", "L": "n_layer", "T": "n_positions"}
    assert legend(form) == ["V vocab_size", "d n_embd", "T n_positions", "L n_layer"]
    assert form.origin == "family"
    assert "Radford" in form.source


TEXTS = [
    ("gpt2", "GPT2LMHeadModel", {"n_inner": 999}, "V*d + T*d + L*(4*d**2 + 2*d*f + 9*d + f) + 2*d"),
    ("openai-gpt", "OpenAIGPTLMHeadModel", {}, "V*d + T*d + L*(12*d**2 + 13*d)"),
    ("llama", "LlamaForCausalLM", {}, "2*V*d + L*(4*d**2 + 3*d*f + 2*d) + d"),
    ("llama", "LlamaForCausalLM", {"num_key_value_heads": 8}, "2*V*d + L*(2*d**2 + 2*k*d_h*d + 3*d*f + 2*d) + d"),
    ("gemma", "GemmaForCausalLM", {}, "V*d + L*(4*h*d_h*d + 3*d*f + 2*d) + d"),
    ("qwen3", "Qwen3ForCausalLM", {}, "2*V*d + L*(4*d**2 + 3*d*f + 2*d + 2*d_h) + d"),
    ("mixtral", "MixtralForCausalLM", {},
     "2*V*d + L*(2*d**2 + 2*k*d_h*d + 3*E*d*f + 2*d + E*d) + d"),
    ("t5", "T5ForConditionalGeneration", {}, "V*d + 2*B*h + L*(12*d**2 + 4*d*f + 5*d) + 2*d"),
    ("vit", "ViTModel", {}, "N*d + C*P**2*d + L*(4*d**2 + 2*d*f + 9*d + f) + d**2 + 6*d"),
    ("nanochat", "NanoChatForCausalLM", {}, "2*V*d + L*(4*d**2 + 2*d*f)"),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "model_class", "fields", "text"), TEXTS)
def test_text_of_default_configs(model_type: str, model_class: str, fields: dict[str, Any], text: str) -> None:
    form = closed_form(config_of(model_type, **fields), model_class)
    assert form is not None
    assert form.text == text


NOT_MODELLED = [
    ("GPT2LMHeadModel", {"add_cross_attention": True}),
    ("GPT2LMHeadModel", {"n_embd": 770}),
    ("GPT2LMHeadModel", {"n_layer": -1}),
    ("GPT2LMHeadModel", {"n_layer": True}),
    ("GPT2LMHeadModel", {"n_layer": 2.5}),
    ("GPT2LMHeadModel", {"vocab_size": None}),
    ("GPT2LMHeadModel", {"tie_word_embeddings": None}),
    ("GPT2LMHeadModel", {"model_type": "gpt3"}),
    ("GPT2DoubleHeadsModel", {}),
    ("LlamaForCausalLM", {}),
]


@pytest.mark.parametrize(("model_class", "changes"), NOT_MODELLED)
def test_none_rather_than_a_wrong_form(model_class: str, changes: dict[str, Any]) -> None:
    assert closed_form(SimpleNamespace(**{**GPT2, **changes}), model_class) is None


QUIRKS = [
    ("bert", "BertModel", {"is_decoder": True, "add_cross_attention": True}),
    ("t5", "T5EncoderModel", {"is_decoder": True}),
    ("t5", "T5ForConditionalGeneration", {"num_layers": 0}),
    ("t5", "T5ForConditionalGeneration", {"num_decoder_layers": 0}),
    ("vit", "ViTModel", {"image_size": [24, 48]}),
    ("vit", "ViTModel", {"patch_size": [4, 8]}),
    ("minigpt", "MiniGPTForCausalLM", {"norm": "batchnorm"}),
    ("minigpt", "MiniGPTForCausalLM", {"position_embedding": "alibi"}),
]


@pytest.mark.parametrize(("model_type", "model_class", "changes"), QUIRKS)
def test_none_for_quirks(model_type: str, model_class: str, changes: dict[str, Any]) -> None:
    """The same config without the quirk has a form, so that it is the quirk that is refused."""
    config = config_of(model_type)
    assert closed_form(config, model_class) is not None
    plain = SimpleNamespace(**{**vars(config), "model_type": model_type, "num_labels": config.num_labels})
    assert closed_form(plain, model_class) is not None
    vars(plain).update(changes)
    assert closed_form(plain, model_class) is None


def test_none_where_layers_differ() -> None:
    """transformers can give a layer sizes of its own; the forms know one size for all layers."""
    uniform = config_of("llama", num_hidden_layers=3)
    assert closed_form(uniform, "LlamaForCausalLM") is not None
    mixed = config_of("llama", num_hidden_layers=3, per_layer_config={1: {"intermediate_size": 7}})
    assert closed_form(mixed, "LlamaForCausalLM") is None


def test_missing_field_gives_no_form() -> None:
    fields = {name: value for name, value in GPT2.items() if name != "n_inner"}
    assert closed_form(SimpleNamespace(**fields), "GPT2LMHeadModel") is None


def test_a_family_takes_sympy_symbols_as_well() -> None:
    V, d, L, T = sympy.symbols("V d L T")
    form = sum(gpt2(V=V, d=d, L=L, T=T, f=4 * d, untied=False).values())
    assert sympy.expand(form - (V * d + T * d + L * (12 * d**2 + 13 * d) + 2 * d)) == 0


def test_components_must_add_up() -> None:
    part = ComponentForm("mlp", "8*d**2", 8)
    with pytest.raises(AssertionError, match=r"8.*9.*\+1"):
        ClosedForm("9*d**2", 9, (part,), {"d": "hidden_size"}, "family", "nowhere")
