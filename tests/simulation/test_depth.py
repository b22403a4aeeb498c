"""Depth for free: what three shallow traces say of a deep model is what tracing every layer says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from small_benches import bench_of, run_of, wished

from hfcount.simulation.depth import REPEATS, Pattern, affine, pattern_of, with_layers
from hfcount.simulation.simulate import simulate
from hfcount.simulation.subject import Wished

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


def _check(name: str, tmp_path: Path, kind: Wished) -> None:
    config, model, fields, prefix, period, rest = PATTERNS[name]
    bench = bench_of(tmp_path, getattr(transformers, config)(**fields), model)
    pattern = pattern_of(bench.model)
    assert pattern is not None
    assert (pattern.prefix, pattern.period, pattern.rest) == (prefix, period, rest)
    shallow = simulate(bench, kind, run_of(seq=16))
    whole = simulate(bench, kind, run_of(seq=16), whole=True)
    assert shallow.traced == tuple(pattern.layers(repeats) for repeats in REPEATS)
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


@pytest.mark.parametrize(
    ("config", "model"),
    [
        (transformers.T5Config(num_layers=8, d_model=32, d_ff=48, num_heads=4, d_kv=8), "T5ForConditionalGeneration"),
        (transformers.LlamaConfig(**{**SMALL, "num_hidden_layers": 4}), "LlamaForCausalLM"),
    ],
    ids=["two stacks", "too short"],
)
def test_what_has_no_pattern_is_traced_whole(config, model, tmp_path):
    assert pattern_of(bench_of(tmp_path, config, model).model) is None


numbers = st.integers(-(2**40), 2**40)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5), st.integers(5, 200))
def test_affine_functions_are_continued(lines, repeats):
    values = [[base + slope * at for base, slope in lines] for at in REPEATS]
    found = affine(values, repeats)
    assert found is not None
    assert found.tolist() == [base + slope * repeats for base, slope in lines]


@given(st.tuples(numbers, numbers, numbers).filter(lambda three: three[2] - three[1] != three[1] - three[0]))
def test_what_is_not_affine_is_not_continued(three):
    assert affine([np.array([5, each]) for each in three], 10) is None


patterns = st.builds(
    lambda prefix, period, repeats, rest: Pattern(
        stack="model.layers", depth=prefix + period * repeats + rest % period, prefix=prefix, period=period
    ),
    st.integers(0, 4), st.integers(1, 6), st.integers(5, 30), st.integers(0, 5),
)  # fmt: skip


@given(patterns)
def test_a_pattern_at_any_depth(pattern):
    assert pattern.layers(pattern.repeats) == pattern.depth
    for repeats in REPEATS:
        depth = pattern.layers(repeats)
        named = [pattern.region(index, repeats) for index in range(depth)]
        ends = [name for name in named if name]
        assert len(ends) == len(set(ends))
        assert ends == [name for name in (pattern.region(index, 4) for index in range(pattern.layers(4))) if name]
        assert all(named[: pattern.prefix + pattern.period])
        assert all(named[depth - pattern.rest - pattern.period :])


@given(patterns)
def test_modules_keep_their_place_at_full_depth(pattern):
    depth = pattern.layers(REPEATS[-1])
    last = pattern.at_depth(f"base.model.layers.{depth - 1}.mlp", REPEATS[-1])
    assert last == f"base.model.layers.{pattern.depth - 1}.mlp"
    assert pattern.at_depth("model.layers.0.mlp", REPEATS[-1]) == "model.layers.0.mlp"
    assert pattern.at_depth("model.norm", REPEATS[-1]) == "model.norm"


def test_lists_of_layers_keep_their_beginning():
    fields = {**SMALL, "num_hidden_layers": 12, "layer_types": list(SLIDING) * 6}
    found = with_layers(transformers.Gemma2Config(**fields), 5)
    assert found.num_hidden_layers == 5
    assert found.layer_types == [*SLIDING * 2, SLIDING[0]]
