"""LoRA from a form against PEFT: every figure of a row, for cards of many families, groups of targets and names.

The records are made here, from the packaged forms, so the recorder is tested with what reads it; that the package
carries the same records is a test of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hfcount.api import count
from hfcount.cli.app import run
from hfcount.errors import BadInput
from hfcount.fast.lora import fast_lora, lora_polynomial, starred
from hfcount.fast.recorded import recorded_targets, same
from hfcount.formulas import catalogue
from hfcount.formulas.config_fields import example_of
from hfcount.formulas.form import Form
from hfcount.lora import LoraCount, LoraOptions, count_lora
from hfcount.sources import resolve

SETS = ("default", "all-linear", "attention", "mlp")
CARDS = [
    "gpt2", "llama-7b", "mistral-7b-v0.1", "mixtral-8x7b", "t5-base", "bert-base-uncased", "opt-350m", "bloom-560m",
    "deepseek-v3", "qwen1.5-moe-a2.7b", "whisper-tiny", "mini-gpt", "gemma-3-4b-pt", "vit-base-patch16-224",
    "gpt-oss-20b", "falcon-7b",
]  # fmt: skip


def raw_of(card: str) -> dict[str, Any]:
    return {key: value for key, value in resolve(f"card:{card}").config.items() if key != "quantization_config"}


@functools.cache
def recorded(card: str) -> Form:
    """The packaged form of a card with what PEFT attaches now."""
    form = catalogue.find(raw_of(card))
    assert form is not None, card
    return dataclasses.replace(form, lora=recorded_targets(form, subject_of(form, raw_of(card))))


def subject_of(form: Form, raw: Mapping[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)
    from hfcount.classes import model_class_named
    from hfcount.formulas.tracing.search import Subject

    model_class = model_class_named(form.model_class)
    assert model_class is not None
    return Subject(raw=raw, config_class=CONFIG_MAPPING[form.model_type], model_class=model_class)


def real(card: str, options: LoraOptions, settings: tuple[str, ...] = ()) -> LoraCount:
    return count(f"card:{card}", settings=settings, lora_r=options.r, lora_targets=options.targets).lora[0]


@pytest.mark.parametrize("card", CARDS)
def test_every_set_is_what_peft_counts(card: str) -> None:
    for targets, rank in zip(SETS, (1, 8, 5, 64), strict=True):
        options = LoraOptions(r=rank, targets=targets)
        fast, slow = fast_lora(recorded(card), raw_of(card), options), real(card, options)
        assert fast is not None, targets
        assert same(fast, slow), (fast, slow)
        assert fast.formula == slow.formula
        assert fast.unreached_share == slow.unreached_share


@pytest.mark.parametrize("card", CARDS)
def test_the_package_carries_the_record(card: str) -> None:
    form = catalogue.find(raw_of(card))
    assert form is not None
    assert form.lora, "nothing is recorded: python scripts/build_catalogue.py --lora"
    if form.lora["peft"] != importlib.metadata.version("peft"):
        pytest.skip("recorded with another PEFT")
    for targets in SETS:
        options = LoraOptions(r=8, targets=targets)
        assert fast_lora(form, raw_of(card), options) == fast_lora(recorded(card), raw_of(card), options)


@pytest.mark.parametrize(
    ("card", "names"),
    [
        ("gpt2", ("c_attn", "c_fc")), ("gpt2", ("attn.c_proj",)), ("gpt2", ("wte", "lm_head")),
        ("llama-7b", ("q_proj", "down_proj")), ("mistral-7b-v0.1", ("k_proj", "embed_tokens")),
        ("mixtral-8x7b", ("q_proj", "v_proj")), ("deepseek-v3", ("q_b_proj", "o_proj")),
        ("bert-base-uncased", ("query", "word_embeddings")), ("t5-base", ("wi", "shared")),
        ("t5-base", ("embed_tokens",)), ("opt-350m", ("project_in", "fc1")), ("bloom-560m", ("query_key_value",)),
        ("whisper-tiny", ("conv1", "encoder_attn.q_proj")), ("mamba-130m-hf", ("in_proj", "x_proj")),
        ("gpt-oss-20b", ("q_proj", "o_proj")), ("vit-base-patch16-224", ("projection", "classifier")),
    ],
)  # fmt: skip
def test_names_of_layers_are_matched_as_peft_matches_them(card: str, names: tuple[str, ...]) -> None:
    options = LoraOptions(r=3, targets=names)
    fast, slow = fast_lora(recorded(card), raw_of(card), options), real(card, options)
    assert fast is not None
    assert same(fast, slow), (fast, slow)


def test_a_refusal_reads_the_same_in_every_process() -> None:
    """PEFT's message shows a set, whose order changes from one process to the next."""
    options = LoraOptions(r=8, targets="all-linear")
    fast, slow = fast_lora(recorded("mamba-130m-hf"), raw_of("mamba-130m-hf"), options), real("mamba-130m-hf", options)
    assert fast == slow
    assert "{'conv1d', 'out_proj'}" in str(slow.reason)


@pytest.mark.parametrize(
    ("model_type", "shown"),
    [("swinv2", "continuous_position_bias_mlp.0"), ("qwen2_5_vl", "mlp.2")],
)
def test_layers_that_are_called_by_a_number_are_shown_as_they_are(model_type: str, shown: str) -> None:
    form = next(catalogue.forms(model_type))
    raw = example_of(form)
    form = dataclasses.replace(form, lora=recorded_targets(form, subject_of(form, raw)))
    options = LoraOptions(r=2, targets="all-linear")
    fast = fast_lora(form, raw, options)
    (slow,) = count_lora(subject_of(form, raw).model, [options])
    assert fast is not None
    assert same(fast, slow), (fast, slow)
    assert shown in fast.targets


def test_numbers_that_go_with_the_depth_are_not_known() -> None:
    """`layers.0` is what a stack of one bare layer shows, and `layers.1` with it where there are two."""
    form = next(catalogue.forms("edgetam_video"))
    record = recorded_targets(form, subject_of(form, example_of(form)))
    assert "attention" in record["sets"]
    assert not {"all-linear", "mlp"} & set(record["sets"])


@pytest.mark.parametrize(
    "options",
    [
        LoraOptions(r=8, use_dora=True), LoraOptions(r=8, bias="all"), LoraOptions(r=8, modules_to_save=("lm_head",)),
        LoraOptions(r=8, rank_pattern={"c_attn": 4}), LoraOptions(r=8, targets=("ln_1",)),
        LoraOptions(r=8, targets=("attn",)), LoraOptions(r=8, targets=("h.0.attn.c_attn",)),
        LoraOptions(r=8, targets=("h.*.attn.c_attn",)), LoraOptions(r=8, targets=("*.c_attn",)),
        LoraOptions(r=8, targets=("no_such_layer", "c_attn")), LoraOptions(r=8, ensure_weight_tying=True),
        LoraOptions(r=8, targets=("c_.*",)), LoraOptions(r=8, target_parameters=("wte.weight",)),
    ],
)  # fmt: skip
def test_what_the_record_does_not_tell_is_left_to_peft(options: LoraOptions) -> None:
    assert fast_lora(recorded("gpt2"), raw_of("gpt2"), options) is None


@pytest.mark.parametrize(
    ("card", "name"),
    [
        # PEFT takes these for the old names of the experts and the router, and refuses one of the two fused ones.
        ("deepseek-v3", "down_proj"), ("deepseek-v3", "gate_proj"), ("mixtral-8x7b", "gate"), ("mixtral-8x7b", "w1"),
        # PEFT refuses these two layers of Mamba by name.
        ("mamba-130m-hf", "out_proj"), ("mamba-130m-hf", "conv1d"),
    ],
)  # fmt: skip
def test_names_that_peft_takes_for_others_are_left_to_it(card: str, name: str) -> None:
    assert fast_lora(recorded(card), raw_of(card), LoraOptions(r=8, targets=(name,))) is None


@pytest.mark.parametrize(
    ("card", "settings"),
    [
        ("deepseek-v3", {"num_hidden_layers": 3, "first_k_dense_replace": 3}),
        ("deepseek-v3", {"num_hidden_layers": 4, "first_k_dense_replace": 0}),
        ("deepseek-v3", {"num_hidden_layers": 4, "first_k_dense_replace": 2, "hidden_size": 512}),
        ("gpt2", {"n_layer": 3, "n_embd": 96, "n_head": 4}),
        ("llama-7b", {"num_key_value_heads": 8, "vocab_size": 999, "num_hidden_layers": 2}),
        ("mixtral-8x7b", {"num_local_experts": 3, "num_hidden_layers": 2}),
    ],
)
def test_variants_are_right_or_not_known(card: str, settings: dict[str, Any]) -> None:
    """Without experts PEFT refuses `mlp` and shows other targets: what was recorded with them must not be given."""
    raw = {**raw_of(card), **settings}
    form = recorded(card)
    assert form.covers(raw), form.broken_guards(raw)
    for targets in SETS:
        options = LoraOptions(r=4, targets=targets)
        fast = fast_lora(form, raw, options)
        try:
            slow = real(card, options, tuple(f"{key}={json.dumps(value)}" for key, value in settings.items()))
        except BadInput:
            assert fast is None, (targets, fast)
            continue
        assert fast is None or same(fast, slow), (targets, fast, slow)
        # Only a model without a kind of layer may be left to PEFT.
        assert fast is not None or settings.get("first_k_dense_replace") in (0, 3), targets


def test_a_record_of_another_peft_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    form = recorded("gpt2")
    monkeypatch.setattr("hfcount.fast.lora.installed", lambda package: "0.1")
    assert fast_lora(form, raw_of("gpt2"), LoraOptions(r=8)) is None


def test_a_set_that_is_not_peft_s_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof finds a record that names one layer too few."""
    from hfcount.fast import recorded as recorder

    honest = recorder._recorded

    def short(form: Form, subject: Any, targets: str, table: Any) -> dict[str, Any] | None:
        found = honest(form, subject, targets, table)
        return {**found, "modules": found["modules"][1:]} if found and targets == "mlp" else found

    monkeypatch.setattr(recorder, "_recorded", short)
    form = catalogue.find(raw_of("gpt2"))
    assert form is not None
    assert sorted(recorded_targets(form, subject_of(form, raw_of("gpt2")))["sets"]) == [
        "all-linear", "attention", "default",
    ]  # fmt: skip


By = Callable[[Mapping[str, int]], int]


@pytest.mark.parametrize(
    ("card", "targets", "by_hand"),
    [
        # Hu et al. 2021, section 4.1: r·(in + out) for each matrix.
        ("gpt2", "default", lambda v: v["L"] * v["r"] * (v["d"] + 3 * v["d"])),
        ("gpt2", "mlp", lambda v: v["L"] * v["r"] * 2 * (v["d"] + 4 * v["d"])),
        ("llama-7b", ("q_proj", "v_proj"), lambda v: v["L"] * v["r"] * (2 * v["d"] + v["d"] + v["k"] * v["d_h"])),
        ("llama-7b", "mlp", lambda v: v["L"] * v["r"] * 3 * (v["d"] + v["f"])),
        # gate and up are one parameter, E matrices of twice the width.
        (
            "mixtral-8x7b", "mlp",
            lambda v: v["L"] * v["E"] * v["r"] * ((v["d"] + 2 * v["f"]) + (v["f"] + v["d"])),
        ),
        ("gpt2", ("wte",), lambda v: v["r"] * (v["V"] + v["d"])),
    ],
)  # fmt: skip
def test_the_polynomial_is_the_derivation(card: str, targets: Any, by_hand: By) -> None:
    form = recorded(card)
    polynomial = lora_polynomial(form, LoraOptions(r=1, targets=targets))
    assert polynomial is not None
    values = {name: 3 + 7 * place for place, name in enumerate([*form.symbols, "r"])}
    assert polynomial.evaluate(values) == by_hand(values)


@pytest.mark.parametrize("r", [1, 8, 64])
def test_the_polynomial_is_the_count(r: int) -> None:
    form, raw = recorded("deepseek-v3"), raw_of("deepseek-v3")
    options = LoraOptions(r=r, targets="attention")
    polynomial, counted = lora_polynomial(form, options), fast_lora(form, raw, options)
    assert polynomial is not None
    assert counted is not None
    assert polynomial.evaluate({**form.values(raw), "r": r}) == counted.trainable


def test_numbers_in_paths_become_stars() -> None:
    assert starred("model.layers.12.mlp.experts.3.w1") == "model.layers.*.mlp.experts.*.w1"
    assert starred("block.fc2") == "block.fc2"


def test_the_command_answers_without_heavy_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows of `--fast` are those of the slow way to the last digit, and neither torch nor PEFT is loaded."""
    catalogue.write_forms(tmp_path / "gpt2.json", [recorded("gpt2")], default="GPT2LMHeadModel")
    arguments = ["gpt2", "--lora-r", "1,8", "--lora-targets", "c_attn,c_fc", "--format", "json"]
    heavy = ("torch", "transformers", "peft", "accelerate", "pandas", "numpy", "sympy")
    probe = (
        "import sys\nfrom pathlib import Path\nfrom hfcount.formulas import catalogue\n"
        f"from hfcount.cli.app import run\ncatalogue.PACKAGED = Path({str(tmp_path)!r})\n"
        f"code = run({[*arguments, '--fast']!r})\nassert code == 0, code\n"
        f"found = [each for each in {heavy!r} if each in sys.modules]\nassert not found, found"
    )
    fast = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert fast.returncode == 0, fast.stderr[-500:]
    assert run(arguments) == 0
    assert json.loads(fast.stdout)["lora"] == json.loads(capsys.readouterr().out)["lora"]
