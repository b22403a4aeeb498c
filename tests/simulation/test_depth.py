"""Depth for free: what a few shallow traces say of a deep model is what tracing every layer says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from small_benches import bench_of, run_of, wished

from hfcount.simulation.depth import REPEATS, Pattern, Stack, affine, pattern_of, shallow_bench, with_layers
from hfcount.simulation.plan import Wished
from hfcount.simulation.simulate import simulate, step_form

SMALL = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
BERT = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
SLIDING = ("sliding_attention", "full_attention")
DEEPSEEK = {
    "kv_lora_rank": 8, "q_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8, "n_group": 1,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "topk_group": 1, "head_dim": 4,
    "num_key_value_heads": 4,
}  # fmt: skip

# What repeats, as (config class, model class, fields, prefix, period, rest).
PATTERNS = {
    "uniform": ("LlamaConfig", "LlamaForCausalLM", {**SMALL, "num_hidden_layers": 7}, 0, 1, 0),
    "an encoder": ("BertConfig", "BertForMaskedLM", {**BERT, "num_hidden_layers": 6}, 0, 1, 0),
    "alternating": (
        "Gemma2Config", "Gemma2ForCausalLM",
        {**SMALL, "num_hidden_layers": 12, "layer_types": list(SLIDING) * 6, "sliding_window": 8}, 0, 2, 0,
    ),
    "alternating, with one left over": (
        "Gemma2Config", "Gemma2ForCausalLM",
        {**SMALL, "num_hidden_layers": 11, "layer_types": [*SLIDING * 5, SLIDING[0]], "sliding_window": 8}, 0, 2, 1,
    ),
    "a dense layer first": (
        "DeepseekV3Config", "DeepseekV3ForCausalLM",
        {**SMALL, **DEEPSEEK, "num_hidden_layers": 8, "first_k_dense_replace": 1}, 1, 1, 0,
    ),
}  # fmt: skip


TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "image_size": 16, "patch_size": 8}
MARIAN = {
    "d_model": 32, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "encoder_attention_heads": 4, "pad_token_id": 0,
    "decoder_attention_heads": 4, "vocab_size": 96, "max_position_embeddings": 64, "decoder_start_token_id": 0,
}  # fmt: skip
T5 = {"d_model": 32, "d_ff": 48, "num_heads": 4, "d_kv": 8, "vocab_size": 96, "decoder_start_token_id": 0}


def llava(vision: int, text: int, **fields: Any) -> Any:
    """An image-text model whose images take four of its tokens."""
    return transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**{**SMALL, "num_hidden_layers": text}),
        vision_config=transformers.CLIPVisionConfig(**TOWER, num_hidden_layers=vision),
        image_token_index=95, image_seq_length=4, **fields,
    )  # fmt: skip


# Models with several stacks, as (config, model class, where each depth stands).
SEVERAL = {
    "an encoder and a decoder of one depth": (
        lambda: transformers.MarianConfig(**MARIAN, encoder_layers=6, decoder_layers=6),
        "MarianMTModel", {"model.encoder.layers": "encoder_layers", "model.decoder.layers": "decoder_layers"},
    ),
    "an encoder that draws between its layers": (
        lambda: transformers.M2M100Config(**MARIAN, encoder_layers=7, decoder_layers=6),
        "M2M100ForConditionalGeneration",
        {"model.encoder.layers": "encoder_layers", "model.decoder.layers": "decoder_layers"},
    ),
    "a first layer with positions for all": (
        lambda: transformers.T5Config(**T5, num_layers=8, num_decoder_layers=6),
        "T5ForConditionalGeneration", {"encoder.block": "num_layers", "decoder.block": "num_decoder_layers"},
    ),
    "a tower and a text model": (
        lambda: llava(6, 7),
        "LlavaForConditionalGeneration",
        {
            "model.vision_tower.encoder.layers": "vision_config.num_hidden_layers",
            "model.language_model.layers": "text_config.num_hidden_layers",
        },
    ),
    "a tower and a short text model": (
        lambda: llava(6, 3),
        "LlavaForConditionalGeneration", {"model.vision_tower.encoder.layers": "vision_config.num_hidden_layers"},
    ),
}  # fmt: skip


def _check(name: str, tmp_path: Path, kind: Wished) -> None:
    config, model, fields, *expected = PATTERNS[name]
    bench = bench_of(tmp_path, getattr(transformers, config)(**fields), model)
    pattern = pattern_of(bench)
    assert pattern is not None
    assert [[each.prefix, each.period, each.rest] for each in pattern.stacks] == [expected]
    _check_whole(bench, kind)


def _check_whole(bench: Any, kind: Wished) -> None:
    pattern = pattern_of(bench)
    assert pattern is not None
    shallow = simulate(bench, kind, run_of(seq=16))
    whole = simulate(bench, kind, run_of(seq=16), whole=True)
    assert shallow.traced == pattern.traced
    assert whole.traced == ()
    assert {phase: each.buckets for phase, each in shallow.phases.items()} == {
        phase: each.buckets for phase, each in whole.phases.items()
    }
    assert shallow.highest == whole.highest
    assert shallow.flops == whole.flops
    assert shallow.peak.module == whole.peak.module


@pytest.mark.parametrize("name", ["uniform", "alternating, with one left over", "a dense layer first"])
def test_extrapolated_is_whole(name, tmp_path):
    _check(name, tmp_path, wished())


@pytest.mark.slow
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize(("rank", "checkpointing"), [(0, True), (4, False)], ids=["full, checkpointed", "lora"])
def test_extrapolated_is_whole_in_every_kind_of_training(name, rank, checkpointing, tmp_path):
    _check(name, tmp_path, wished(rank=rank, checkpointing=checkpointing))


@pytest.mark.parametrize("name", SEVERAL)
def test_each_stack_is_found_with_its_field(name, tmp_path):
    config, model, fields = SEVERAL[name]
    pattern = pattern_of(bench_of(tmp_path, config(), model))
    assert pattern is not None
    assert {each.path: ".".join((*each.config, each.field)) for each in pattern.stacks} == fields


@pytest.mark.parametrize("name", list(SEVERAL)[:4])
def test_several_stacks_are_extrapolated(name, tmp_path):
    config, model, _ = SEVERAL[name]
    _check_whole(bench_of(tmp_path, config(), model), wished())


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize(("rank", "checkpointing"), [(0, True), (4, False)], ids=["full, checkpointed", "lora"])
def test_several_stacks_are_extrapolated_in_every_kind_of_training(name, rank, checkpointing, tmp_path):
    config, model, _ = SEVERAL[name]
    _check_whole(bench_of(tmp_path, config(), model), wished(rank=rank, checkpointing=checkpointing))


def test_a_form_over_two_stacks_holds_where_no_trace_was(tmp_path):
    config, model, _ = SEVERAL["a first layer with positions for all"]
    bench = bench_of(tmp_path, config(), model)
    form = step_form(bench, wished(), run_of(batch=4, seq=200))
    assert form is not None
    assert form.traced == pattern_of(bench).traced
    found = form.at({"b": 3, "s": 150})
    whole = simulate(bench, wished(), run_of(batch=3, seq=150), whole=True)
    assert found.peak == whole.peak
    assert found.flops == whole.flops


@pytest.mark.parametrize(
    ("config", "model"),
    [
        (transformers.LlamaConfig(**{**SMALL, "num_hidden_layers": 4}), "LlamaForCausalLM"),
        (transformers.MarianConfig(**MARIAN, encoder_layers=4, decoder_layers=2), "MarianMTModel"),
        (transformers.XLMConfig(emb_dim=32, n_heads=4, n_layers=8, vocab_size=96), "XLMWithLMHeadModel"),
    ],
    ids=["too short", "two that are too short", "one field for many lists"],
)
def test_what_has_no_pattern_is_traced_whole(config, model, tmp_path):
    assert pattern_of(bench_of(tmp_path, config, model)) is None


def test_what_the_traces_do_not_prove_is_traced_whole(tmp_path):
    """Eight layers by two, three and four kinds of them: how often each kind runs is not affine."""
    config = transformers.AlbertConfig(
        **BERT, embedding_size=16, num_hidden_layers=8, num_hidden_groups=8, max_position_embeddings=64
    )
    bench = bench_of(tmp_path, config, "AlbertForMaskedLM")
    assert pattern_of(bench) is not None
    assert simulate(bench, wished(), run_of(seq=16)).traced == ()


def test_a_copy_that_cannot_run_says_nothing(tmp_path):
    """The fifth layer of the tower is read, and shallow copies have none."""
    bench = bench_of(tmp_path, llava(6, 7, vision_feature_layer=5), "LlavaForConditionalGeneration")
    assert step_form(bench, wished(), run_of(seq=16), free=()) is None
    assert simulate(bench, wished(), run_of(seq=16)).traced == ()


def test_layers_that_a_list_names_are_of_another_kind(tmp_path):
    tower = {
        "depth": 10,
        "embed_dim": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "hidden_size": 32,
        "out_hidden_size": 32,
    }
    text = {**SMALL, "num_hidden_layers": 2, "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    for chosen, period in (([1, 3, 5, 7, 9], 2), ([3, 7], None)):
        config = transformers.Qwen2_5_VLConfig(
            text_config=text, vision_config={**tower, "fullatt_block_indexes": chosen}
        )
        pattern = pattern_of(bench_of(tmp_path, config, "Qwen2_5_VLForConditionalGeneration"))
        assert (pattern and pattern.stacks[0].period) == period


def test_what_is_found_is_kept_for_the_bench(tmp_path):
    config, model, _ = SEVERAL["a tower and a text model"]
    bench = bench_of(tmp_path, config(), model)
    pattern = pattern_of(bench)
    assert pattern_of(bench) is pattern
    shallow = shallow_bench(bench, (3, 2))
    assert shallow_bench(bench, (3, 2)) is shallow
    assert len(shallow.model.model.vision_tower.encoder.layers) == 3
    assert len(shallow.model.model.language_model.layers) == 2


numbers = st.integers(-(2**40), 2**40)
STACK = Stack(path="layers", depth=9, prefix=0, period=1)


@given(
    st.integers(1, 3).flatmap(
        lambda stacks: st.tuples(
            st.lists(st.tuples(*[numbers] * (stacks + 1)), min_size=1, max_size=5),
            st.tuples(*[st.integers(5, 200)] * stacks),
        )
    )
)
def test_affine_functions_are_continued(drawn):
    lines, repeats = drawn

    def at(depths):
        return [base + sum(a * b for a, b in zip(slopes, depths, strict=True)) for base, *slopes in lines]

    found = affine([at(each) for each in Pattern((STACK,) * len(repeats)).traces], repeats)
    assert found is not None
    assert found.tolist() == at(repeats)


@given(st.tuples(numbers, numbers, numbers).filter(lambda three: three[2] - three[1] != three[1] - three[0]))
def test_what_is_not_affine_is_not_continued(three):
    assert affine([np.array([5, each]) for each in three], (10,)) is None


def test_a_product_of_two_depths_is_not_continued():
    assert affine([encoder * decoder for encoder, decoder in Pattern((STACK, STACK)).traces], (10, 10)) is None


stacks = st.builds(
    lambda prefix, period, repeats, rest: Stack(
        path="model.layers", depth=prefix + period * repeats + rest % period, prefix=prefix, period=period
    ),
    st.integers(0, 4), st.integers(1, 6), st.integers(5, 30), st.integers(0, 5),
)  # fmt: skip


@given(stacks)
def test_a_pattern_at_any_depth(stack):
    assert stack.layers(stack.repeats) == stack.depth
    for repeats in REPEATS:
        depth = stack.layers(repeats)
        named = [stack.region(index, repeats) for index in range(depth)]
        ends = [name for name in named if name]
        assert len(ends) == len(set(ends))
        assert ends == [name for name in (stack.region(index, 4) for index in range(stack.layers(4))) if name]
        assert all(named[: stack.prefix + stack.period])
        assert all(named[depth - stack.rest - stack.period :])


@given(stacks)
def test_modules_keep_their_place_at_full_depth(stack):
    other = dataclasses.replace(stack, path="model.vision.layers")
    pattern, most = Pattern((stack, other)), (REPEATS[-1],) * 2
    depth = stack.layers(REPEATS[-1])
    for path in ("base_model.model.model.layers", "model.layers", "model.vision.layers"):
        last = f"{path}.{depth - 1}.mlp"
        assert pattern.at_depth(last, most) == f"{path}.{stack.depth - 1}.mlp"
        assert pattern.in_shallow(pattern.at_depth(last, most), most) == last
        assert pattern.at_depth(f"{path}.0.mlp", most) == f"{path}.0.mlp"
    assert pattern.at_depth("model.norm", most) == "model.norm"
    assert pattern.region("model.vision.norm", most) == "outside"
    ends = {pattern.region(f"{path}.layers.{depth - 1}", most) for path in ("model", "model.vision")}
    assert len(ends) == 2


def test_lists_of_layers_keep_their_beginning():
    config = transformers.Gemma2Config(**{**SMALL, "num_hidden_layers": 12, "layer_types": list(SLIDING) * 6})
    stack = Stack(path="model.layers", depth=12, prefix=1, period=2, field="num_hidden_layers")
    found = with_layers(config, Pattern((stack,)), (2,))
    assert found.num_hidden_layers == 6
    assert found.layer_types == list(SLIDING) * 3
