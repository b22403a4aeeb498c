"""The public functions from Python: what they take and what they give."""

from __future__ import annotations

import pytest

import hfcount


def test_settings_as_a_mapping_and_as_text() -> None:
    """Two layers fewer: 10 · (12·768² + 13·768) less."""
    by_mapping = hfcount.count("gpt2", settings={"n_layer": 2}).sizes.total
    by_text = hfcount.count("gpt2", settings=["n_layer=2"]).sizes.total
    assert by_mapping == by_text == 124_439_808 - 10 * (12 * 768**2 + 13 * 768)


def test_one_rank_or_several() -> None:
    assert hfcount.count("gpt2", lora_r=8).lora[0].trainable == 294_912
    assert [each.r for each in hfcount.count("gpt2", lora_r=[4, 8]).lora] == [4, 8]


@pytest.mark.parametrize(
    ("settings", "trainable"),
    [
        ({"lora_targets": ["c_attn"]}, 12 * 8 * (768 + 2304)),
        ({"lora_targets": "c_attn", "use_dora": True}, 12 * (8 * (768 + 2304) + 2304)),
        ({"lora_targets": "c_attn", "bias": "lora_only"}, 12 * (8 * (768 + 2304) + 2304)),
        ({"lora_targets": "c_attn", "rank_pattern": {"h.0.attn.c_attn": 16}}, 13 * 8 * (768 + 2304)),
        ({"lora_targets": "c_attn", "modules_to_save": ["wpe"]}, 12 * 8 * (768 + 2304) + 1024 * 768),
    ],
    ids=str,
)
def test_pefts_settings_that_change_the_count(settings: dict, trainable: int) -> None:
    row = hfcount.count("gpt2", lora_r=8, **settings).lora[0]
    assert row.trainable == trainable
    assert row.matches


def test_settings_of_lora_without_a_rank_are_refused() -> None:
    with pytest.raises(hfcount.BadInput, match="use_dora: settings of LoRA, but no rank"):
        hfcount.count("gpt2", use_dora=True)


def test_what_is_published_is_not_said_of_a_variant() -> None:
    assert any(each.published for each in hfcount.count("gpt2").conventions)
    assert not any(each.published for each in hfcount.count("gpt2", settings={"n_layer": 11}).conventions)


def test_compare_keeps_the_order() -> None:
    assert [each.model for each in hfcount.compare(["mini-gpt", "gpt2"])] == [
        "hfcount/mini-gpt",
        "openai-community/gpt2",
    ]


def test_what_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'download'"):
        hfcount.download  # noqa: B018
