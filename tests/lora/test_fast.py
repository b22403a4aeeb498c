"""LoRA from a form against PEFT: every figure of a row, for cards of many families and all groups of targets."""

from __future__ import annotations

import pytest

from hfcount.api import count
from hfcount.formulas import catalogue
from hfcount.lora import LoraCount, LoraOptions
from hfcount.lora.fast import fast_lora, lora_polynomial, starred
from hfcount.lora.recorded import same
from hfcount.sources import resolve

CARDS = [
    "gpt2", "llama-7b", "mixtral-8x7b", "t5-base", "bert-base-uncased", "opt-350m", "deepseek-v3", "qwen1.5-moe-a2.7b",
    "mini-gpt", "gemma-3-4b-pt", "mistral-7b-v0.1", "mamba-130m-hf",
]  # fmt: skip


def form_of(card: str) -> tuple[object, dict[str, object]]:
    raw = {key: value for key, value in resolve(f"card:{card}").config.items() if key != "quantization_config"}
    form = catalogue.find(raw)
    assert form is not None, card
    return form, raw


def real(card: str, options: LoraOptions) -> LoraCount:
    return count(f"card:{card}", lora_r=options.r, lora_targets=options.targets).lora[0]


@pytest.mark.parametrize("card", CARDS)
def test_every_known_set_is_what_peft_counts(card: str) -> None:
    form, raw = form_of(card)
    known = 0
    for targets in ("default", "all-linear", "attention", "mlp"):
        options = LoraOptions(r=5, targets=targets)
        fast = fast_lora(form, raw, options)
        if fast is not None:
            known += 1
            slow = real(card, options)
            assert same(fast, slow), (fast, slow)
            assert fast.formula == slow.formula
    assert known >= (1 if card == "mamba-130m-hf" else 4), known


@pytest.mark.parametrize(
    ("card", "names"),
    [
        ("gpt2", ("c_attn", "c_fc")), ("gpt2", ("attn.c_proj",)), ("llama-7b", ("q_proj", "down_proj")),
        ("bert-base-uncased", ("query", "pooler.dense")), ("t5-base", ("wi", "wo")), ("gpt2", ("wte",)),
        ("opt-350m", ("project_in", "fc1")),
    ],
)  # fmt: skip
def test_names_of_layers_are_matched_as_peft_matches_them(card: str, names: tuple[str, ...]) -> None:
    form, raw = form_of(card)
    options = LoraOptions(r=3, targets=names)
    fast = fast_lora(form, raw, options)
    assert fast is not None
    assert same(fast, real(card, options))


@pytest.mark.parametrize(
    "options",
    [
        LoraOptions(r=8, use_dora=True), LoraOptions(r=8, bias="all"), LoraOptions(r=8, modules_to_save=("lm_head",)),
        LoraOptions(r=8, rank_pattern={"c_attn": 4}), LoraOptions(r=8, targets=("ln_1",)),
        LoraOptions(r=8, targets=("attn",)), LoraOptions(r=8, targets=("h.0.attn.c_attn",)),
        LoraOptions(r=8, targets=("no_such_layer", "c_attn")), LoraOptions(r=8, ensure_weight_tying=True),
    ],
)  # fmt: skip
def test_what_the_record_does_not_tell_is_left_to_peft(options: LoraOptions) -> None:
    form, raw = form_of("gpt2")
    assert fast_lora(form, raw, options) is None


def test_names_of_fused_experts_are_left_to_peft() -> None:
    form, raw = form_of("mixtral-8x7b")
    assert fast_lora(form, raw, LoraOptions(r=8, targets=("q_proj",))) is None


def test_a_record_of_another_peft_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    form, raw = form_of("gpt2")
    monkeypatch.setattr("hfcount.lora.fast.installed", lambda package: "0.1")
    assert fast_lora(form, raw, LoraOptions(r=8)) is None


@pytest.mark.parametrize(
    ("card", "targets", "by_hand"),
    [
        # Hu et al. 2021, section 4.1: r·(in + out) for each matrix.
        ("gpt2", "default", lambda v: v["L"] * v["r"] * (v["d"] + 3 * v["d"])),
        ("gpt2", "mlp", lambda v: v["L"] * v["r"] * 2 * (v["d"] + 4 * v["d"])),
        ("llama-7b", ("q_proj", "v_proj"), lambda v: v["L"] * v["r"] * (2 * v["d"] + v["d"] + v["k"] * v["d_h"])),
        ("llama-7b", "mlp", lambda v: v["L"] * v["r"] * 3 * (v["d"] + v["f"])),
        # gate and up are one parameter of twice the rank, and so are their experts.
        (
            "mixtral-8x7b", "mlp",
            lambda v: v["L"] * v["E"] * v["r"] * (2 * (v["d"] + 2 * v["f"]) + v["f"] + v["d"]),
        ),
    ],
)  # fmt: skip
def test_the_polynomial_is_the_derivation(card: str, targets: object, by_hand: object) -> None:
    form, _ = form_of(card)
    polynomial = lora_polynomial(form, LoraOptions(r=1, targets=targets))
    assert polynomial is not None
    values = {name: 3 + 7 * place for place, name in enumerate([*form.symbols, "r"])}
    assert polynomial.evaluate(values) == by_hand(values)


@pytest.mark.parametrize("r", [1, 8, 64])
def test_the_polynomial_is_the_count(r: int) -> None:
    form, raw = form_of("deepseek-v3")
    options = LoraOptions(r=r, targets="attention")
    polynomial, counted = lora_polynomial(form, options), fast_lora(form, raw, options)
    assert polynomial is not None
    assert counted is not None
    assert polynomial.evaluate({**form.values(raw), "r": r}) == counted.trainable


def test_numbers_in_paths_become_stars() -> None:
    assert starred("model.layers.12.mlp.experts.3.w1") == "model.layers.*.mlp.experts.*.w1"
    assert starred("block.fc2") == "block.fc2"
