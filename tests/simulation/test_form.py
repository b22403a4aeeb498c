"""The closed form of a step, held against steps that are run with every layer at points that no trace had."""

from __future__ import annotations

import itertools

import pytest
import transformers
from small_benches import bench_of, run_of, wished

from hfcount.simulation.form import polynomial
from hfcount.simulation.simulate import simulate, step_form, values_of
from hfcount.simulation.sizes import Length, Point
from hfcount.simulation.steps import steps_of

SMALL = {
    "vocab_size": 160, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 6, "num_attention_heads": 4,
    "max_position_embeddings": 512,
}  # fmt: skip
CONFIGS = {
    "llama": (transformers.LlamaConfig(**SMALL, num_key_value_heads=2), "LlamaForCausalLM"),
    "gpt2": (
        transformers.GPT2Config(vocab_size=160, n_positions=512, n_embd=48, n_layer=6, n_head=4),
        "GPT2LMHeadModel",
    ),
    "mixtral": (
        transformers.MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=4),
        "MixtralForCausalLM",
    ),
    "bert": (transformers.BertConfig(**SMALL), "BertForMaskedLM"),
    "gemma2": (
        transformers.Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=12, sliding_window=300),
        "Gemma2ForCausalLM",
    ),
}
POINTS = ((1, 250), (1, 37), (5, 200), (2, 64))


CARDS = {"cpu": None, "t4": (7, 5), "a100": (8, 0)}
KINDS = ("full", "lora", "checkpointed")


@pytest.mark.parametrize(
    ("name", "kind", "card"),
    [
        pytest.param(name, kind, card, marks=[] if (index + place) % 4 == 0 else [pytest.mark.slow])
        for index, name in enumerate(CONFIGS)
        for place, (kind, card) in enumerate(itertools.product(KINDS, CARDS))
    ],
)
def test_a_form_is_the_step_of_every_layer(name, kind, card, tmp_path):
    capability = CARDS[card]
    bench = bench_of(tmp_path, *CONFIGS[name])
    how = {"rank": None if kind == "full" else 4, "checkpointing": kind == "checkpointed"}
    what = wished("fp32" if capability is None else "mixed-fp16", **how)
    for batch, seq in POINTS:
        run = run_of(batch=batch, seq=seq, capability=capability)
        form = steps_of(bench).form(what, run)
        assert form is not None
        assert (batch, seq) != (form.point.values["b"], form.point.values["s"])
        found, whole = form.at(values_of(what, run)), simulate(bench, what, run, whole=True)
        assert found.phases == whole.phases
        assert found.highest == whole.highest
        assert found.flops == whole.flops
        assert found.inputs == whole.inputs
        assert [row["bytes"] for row in found.largest] == [row["bytes"] for row in whole.largest]


def test_rows_have_one_form_and_a_single_row_another(tmp_path):
    bench = bench_of(tmp_path, *CONFIGS["llama"])
    steps = steps_of(bench)
    one, two, ten = (steps.form(wished("bf16"), run_of(batch=rows, seq=100)) for rows in (1, 2, 10))
    assert two is ten
    assert one is not two
    assert one.point.free == ("s",)
    assert two.point.free == ("b", "s")


def test_a_form_ends_at_a_length_of_the_config(tmp_path):
    bench = bench_of(tmp_path, *CONFIGS["gemma2"])
    steps = steps_of(bench)
    below, at, beyond = (steps.form(wished("bf16"), run_of(seq=seq)) for seq in (200, 300, 301))
    assert below is at
    assert at is not beyond


def test_points_are_primes_that_no_side_has(tmp_path):
    form = step_form(bench_of(tmp_path, *CONFIGS["llama"]), wished("bf16", rank=4), run_of(batch=3, seq=100))
    values = form.point.values
    assert len(set(values.values())) == 3
    for value in values.values():
        assert all(value % divisor for divisor in range(2, value))
        assert all(side % value for side in (160, 48, 80, 24))


def test_sides_are_read_by_their_primes():
    point = Point({"b": 11, "s": 1009, "r": 13}, ("b", "s", "r"))
    assert str(point.bytes(4 * 11 * 1009 * 48, (11, 1009, 48))) == str(point.bytes(4 * 11 * 1009 * 48, ()))
    assert polynomial({point.bytes(8 * 11 * 1010, (11, 1010)).lengths: 8}) == "8*b*(s + 1)"
    assert point.size(48).lengths == ()
    assert point.size(13 * 1009).lengths == (Length("r"), Length("s"))
    assert Point({"b": 1, "s": 1009}, ("s",)).size(11 * 1009).coefficient == 11
