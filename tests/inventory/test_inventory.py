"""The table: a row per distinct parameter, each in one component, and totals that add up."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from conftest import load_script

from hfcount.api import count
from hfcount.breakdown import GROUPINGS, breakdown
from hfcount.classes import text_config
from hfcount.components import COMPONENTS
from hfcount.inventory import COLUMNS
from hfcount.sources.cards import card_names


def test_the_columns_of_gpt2() -> None:
    table = count("card:gpt2").table
    assert list(table.columns) == list(COLUMNS)
    row = table[table["name"] == "transformer.h.3.attn.c_attn.weight"].iloc[0]
    assert row["shape"] == (768, 2304)
    assert row["numel"] == 768 * 2304
    assert (row["component"], row["layer"], row["module_class"]) == ("attention", 3, "Conv1D")
    assert row["module"] == "transformer.h.3.attn.c_attn"
    assert row["trainable"]
    assert row["expert"] == 0
    tokens = table[table["name"] == "transformer.wte.weight"].iloc[0]
    assert tokens["aliases"] == ("lm_head.weight",)
    assert tokens["layer"] is pd.NA


def test_the_published_dtype_is_kept() -> None:
    assert set(count("card:llama-3.1-8b").table["dtype"]) == {"bfloat16"}
    assert set(count("card:gpt2").table["dtype"]) == {"float32"}


@pytest.mark.parametrize("card", ["gpt2", "flan-t5-base", "deepseek-v3", "gemma-3-4b-pt", "whisper-tiny", "mini-gpt"])
@pytest.mark.parametrize("by", GROUPINGS)
def test_every_breakdown_adds_up(card: str, by: str) -> None:
    result = count(f"card:{card}")
    rows = breakdown(result.parts, by)
    assert sum(row.parameters for row in rows) == result.sizes.total
    assert abs(sum(row.share for row in rows) - 1) < 1e-9
    assert len({row.name for row in rows}) == len(rows)


def test_layers_of_encoder_and_decoder_are_told_apart() -> None:
    names = {row.name for row in breakdown(count("card:t5-base").parts, "layer")}
    assert {"encoder.block.0", "encoder.block.11", "decoder.block.0", "decoder.block.11"} <= names


@pytest.mark.parametrize("card", card_names(), ids=str)
@pytest.mark.slow
@pytest.mark.pinned
@pytest.mark.usefixtures("nothing_outside")
def test_embedding_head_and_rest_are_the_whole(card: str) -> None:
    result = count(f"card:{card}")
    sizes = result.sizes
    assert sizes.embedding + sizes.lm_head + sizes.non_embedding == sizes.total == int(result.table["numel"].sum())
    assert set(result.table["component"]) <= set(COMPONENTS)
    assert 0 < sizes.active <= sizes.total <= sizes.untied


# Active parameters by hand: the total less the experts that a token is not sent to. Each expert has three matrices.
ACTIVE = [
    ("mixtral-8x7b", 46_702_792_704 - 32 * (8 - 2) * 3 * 4096 * 14336),
    ("mixtral-8x22b", 140_620_634_112 - 56 * (8 - 2) * 3 * 6144 * 16384),
    ("qwen3-30b-a3b", 30_532_122_624 - 48 * (128 - 8) * 3 * 2048 * 768),
    ("qwen1.5-moe-a2.7b", 14_315_784_192 - 24 * (60 - 4) * 3 * 2048 * 1408),
    ("olmoe-1b-7b-0924", 6_919_161_856 - 16 * (64 - 8) * 3 * 2048 * 1024),
    ("deepseek-v3", 671_026_404_352 - 58 * (256 - 8) * 3 * 7168 * 2048),
    # gpt-oss has biases on its experts: 2f on the fused gate and up, d on down; d = f = 2880
    ("gpt-oss-20b", 20_914_757_184 - 24 * (32 - 4) * (3 * 2880 * 2880 + 3 * 2880)),
    ("gpt-oss-120b", 116_829_156_672 - 36 * (128 - 4) * (3 * 2880 * 2880 + 3 * 2880)),
]


@pytest.mark.parametrize(("card", "active"), ACTIVE)
def test_active_parameters_by_hand(card: str, active: int) -> None:
    found = count(f"card:{card}").sizes.active
    assert found == active, f"{found:,}, by hand {active:,}: {found - active:+,}"


@pytest.mark.parametrize("card", ["gpt2", "llama-7b", "t5-base", "vit-base-patch16-224"])
def test_all_of_a_dense_model_is_active(card: str) -> None:
    sizes = count(f"card:{card}").sizes
    assert sizes.active == sizes.total


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_components")


@pytest.mark.slow
@pytest.mark.pinned
def test_components_over_all_causal_types(bench: ModuleType) -> None:
    """`other` below 1 % in at least 95 % of the types that can be built; embeddings and heads agree in all.

    Where the default config sends tokens to k experts of a pool, k of the pool's rows are active.
    """
    odd, checked = [], []

    def experts(model_type: str, model: Any, table: pd.DataFrame) -> None:
        chosen = getattr(text_config(model.config), "num_experts_per_tok", None)
        pooled = table[table["expert"] > 0]
        if set(pooled["name"]) != set(table.loc[table["component"] == "experts", "name"]):
            odd.append(f"{model_type}: other parameters are in pools than are experts")
        if chosen and len(pooled):
            ratios = set((pooled["active"] * pooled["expert"] / pooled["numel"]).round(6))
            if ratios != {chosen}:
                odd.append(f"{model_type}: {ratios}, its config says {chosen}")
            checked.append(model_type)

    built = [each for each in bench.survey("causal", experts) if each.reason is None]
    assert len(built) >= 170, f"only {len(built)} types could be built"
    poor = [f"{each.model_type}: {each.other:.1%}" for each in built if each.other >= 0.01]
    assert len(poor) <= 0.05 * len(built), poor
    assert [each.model_type for each in built if not each.embedding_agrees] == []
    assert [each.model_type for each in built if not each.head_agrees] == []
    assert odd == []
    assert len(checked) >= 40, checked


@pytest.mark.slow
@pytest.mark.pinned
@pytest.mark.parametrize("task", ["masked", "seq2seq", "image", "image-text", "speech", "audio"])
def test_components_over_other_tasks(bench: ModuleType, task: str) -> None:
    built = [each for each in bench.survey(task) if each.reason is None]
    poor = [f"{each.model_type}: {each.other:.1%}" for each in built if each.other >= 0.01]
    assert len(poor) <= 0.05 * len(built), poor
