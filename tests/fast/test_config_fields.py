"""Fields without a config class: the same answers as transformers' own config objects, or none."""

from __future__ import annotations

import pytest

from hfcount.fast.fields import check_fields, lay_over
from hfcount.fast.reasons import NotCovered
from hfcount.formulas.config_fields import PlainConfig, is_completed, with_config_fields
from hfcount.formulas.form import Form


def form(model_type: str, **more: object) -> Form:
    """A form without rows: its fields alone are asked."""
    return Form(
        model_type=model_type, model_class="X", **{"symbols": {}, "guards": (), "defaults": {}, "rows": (), **more}
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model_type", "raw", "name", "expected"),
    [
        ("gpt2", {}, "hidden_size", 768),
        ("gpt2", {"n_embd": 5}, "hidden_size", 5),
        ("gpt2", {"hidden_size": 6}, "hidden_size", 6),
        ("gpt2", {}, "max_position_embeddings", 1024),
        ("t5", {"d_model": 9}, "hidden_size", 9),
        ("t5", {}, "is_encoder_decoder", True),
        ("llama", {}, "is_encoder_decoder", False),
        ("llama", {}, "head_dim", None),  # the class works it out later: the field itself says nothing
    ],
)
def test_fields_by_all_their_names(model_type: str, raw: dict[str, int], name: str, expected: object) -> None:
    completed = with_config_fields(form(model_type))
    assert is_completed(completed)
    assert getattr(PlainConfig(completed.fields(raw), completed.renamed), name) == expected


def test_nested_fields_by_all_their_names() -> None:
    completed = with_config_fields(form("gemma3"))
    plain = PlainConfig(completed.fields({"text_config": {"hidden_size": 7}}), completed.renamed)
    assert plain.get_text_config().hidden_size == 7
    assert not hasattr(plain, "hidden_size")


def test_a_class_that_works_out_its_width_is_left_alone() -> None:
    """Swin's hidden_size is embed_dim * 2^(stages - 1), which no field tells (transformers, SwinConfig)."""
    assert not is_completed(with_config_fields(form("swin")))


def test_text_fields_outside_their_config_are_not_guessed() -> None:
    reads = form("x", symbols={"d": "text_config.hidden_size"}, defaults={"text_config": {"hidden_size": 64}})
    check_fields(reads, {"text_config": {"hidden_size": 8}})
    check_fields(reads, {})
    with pytest.raises(NotCovered, match="hidden_size stands outside text_config"):
        check_fields(reads, {"hidden_size": 8})


@pytest.mark.parametrize("value", ["768", 768.0, True, None, [768]])
def test_a_field_of_another_kind_is_not_read(value: object) -> None:
    reads = form("x", symbols={"d": "hidden_size"}, defaults={"hidden_size": 64})
    check_fields(reads, {"hidden_size": 768})
    with pytest.raises(NotCovered, match="hidden_size is not of its usual kind"):
        check_fields(reads, {"hidden_size": value})


def test_settings_with_a_list_as_long_as_the_stack_are_for_the_class() -> None:
    raw = {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]}
    with pytest.raises(NotCovered, match="lists of another length"):
        lay_over(raw, ["num_hidden_layers=1"], [])


def test_a_field_given_by_two_names_is_for_the_class() -> None:
    known = form("gpt2", renamed={"hidden_size": "n_embd"}, defaults={"n_embd": 768})
    with pytest.raises(NotCovered, match="n_embd goes by another name"):
        lay_over({"hidden_size": 64}, ["n_embd=32"], [known])
    raw: dict[str, object] = {}
    lay_over(raw, ["hidden_size=32"], [known])
    assert raw == {"n_embd": 32}
