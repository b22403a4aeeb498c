"""Answers from the catalogue: what the model itself gives, word for word, without any of the heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfcount.api import Count, count, explain
from hfcount.cli.app import run
from hfcount.configs import checked_fields
from hfcount.errors import BadInput
from hfcount.fast import NotCovered, fast_count
from hfcount.reports.document import count_document, explanation_document
from hfcount.sources import Source, resolve
from hfcount.sources.cards import card_names, load_card

HEAVY = ("torch", "transformers", "peft", "accelerate", "pandas", "numpy", "sympy", "matplotlib", "huggingface_hub")
SURE = ("gpt2", "gpt2-xl", "llama-7b", "mixtral-8x7b", "deepseek-v3", "t5-base", "qwen2-7b", "mini-gpt")


def unlabelled(result: Count) -> dict[str, Any]:
    """The JSON of a count, less what says how it was got: the form's own text and symbols, the last note."""
    document = json.loads(json.dumps(count_document(result)))
    del document["formula"], document["symbols"]
    for row in (*document["components"], *document["breakdown"]["rows"]):
        del row["formula"]
    if not result.built:
        assert document["notes"].pop().startswith("from the catalogue (verified on ")
    return document


@pytest.mark.parametrize("card", SURE)
def test_the_catalogue_covers_the_classics(card: str) -> None:
    result = count(f"card:{card}", fast=True)
    assert result.detour is None
    assert not result.built
    assert result.form is not None
    assert result.form.origin == "traced"
    assert result.form.value == result.sizes.total


@pytest.mark.slow
@pytest.mark.parametrize("card", card_names())
def test_fast_says_what_slow_says(card: str) -> None:
    try:
        fast = fast_count(resolve(f"card:{card}"))
    except NotCovered:
        return
    slow = count(f"card:{card}")
    assert unlabelled(fast) == unlabelled(slow)
    if slow.form is not None:
        assert fast.form is not None
        assert fast.form.value == slow.form.value, f"{fast.form.value:,} and by hand {slow.form.value:,}"


@pytest.mark.parametrize(
    ("model", "figure"), [("gpt2", "117M"), ("gpt2", "124M"), ("deepseek-v3", "685B"), ("llama-7b", "12.3B")]
)
def test_explain_finds_the_same(model: str, figure: str) -> None:
    documents = [explanation_document(*explain(model, figure, fast=fast)) for fast in (True, False)]
    assert documents[0].pop("notes") != documents[1].pop("notes")
    assert documents[0] == documents[1]


VARIANTS = [
    ("gpt2", ["n_layer=3"]),
    ("gpt2", ["n_embd=96", "n_head=4", "n_inner=100"]),
    ("gpt2", ["hidden_size=1536"]),
    ("gpt2", ["num_hidden_layers=1", "vocab_size=17", "layer_norm_epsilon=0.5"]),
    ("gpt2", ["tie_word_embeddings=false"]),
    ("llama-7b", ["num_key_value_heads=8", "num_hidden_layers=5"]),
    ("llama-7b", ["num_key_value_heads=null"]),
    ("deepseek-v3", ["first_k_dense_replace=0", "num_hidden_layers=4"]),
    ("deepseek-v3", ["first_k_dense_replace=30", "num_hidden_layers=60"]),
    ("gemma-3-4b-pt", ["text_config.num_hidden_layers=2", "vision_config.hidden_size=144"]),
    ("mini-gpt", ["hidden_size=320"]),
]


@pytest.mark.parametrize(("model", "settings"), VARIANTS, ids=str)
def test_variants_from_their_settings_alone(model: str, settings: list[str]) -> None:
    slow, fast = (count(model, settings=settings, fast=fast) for fast in (False, True))
    if fast.built:
        assert fast.detour
        assert fast.notes[-1] == fast.detour
    else:
        assert unlabelled(fast) == unlabelled(slow)


def test_a_setting_by_another_name_and_a_shorter_stack_stay_fast() -> None:
    for settings in (["hidden_size=1536"], ["n_layer=3"], ["n_embd=96", "n_head=4"]):
        assert count("gpt2", settings=settings, fast=True).detour is None


BAD = [
    ("gpt2", "n_layer=-1"),
    ("gpt2", "n_layer=10000000"),
    ("gpt2", "vocab_size=0"),
    ("gpt2", "n_head=7"),
    ("gpt2", "n_head=0"),
    ("gpt2", "n_embd=abc"),
    ("gpt2", "n_embd=null"),
    ("gpt2", "n_embd=1.5"),
    ("gpt2", "n_layer=true"),
    ("gpt2", "n_layr=1"),
    ("gpt2", "n_layer"),
    ("gpt2", "=3"),
    ("gpt2", "model_type=llama"),
    ("gpt2", "architectures=NoSuchModel"),
    ("gpt2", "activation_function=nonsense"),
    ("gpt2", "text_config.n_layer=3"),
    ("llama-7b", "num_attention_heads=31"),
    ("llama-7b", "num_key_value_heads=5"),
    ("gemma-3-4b-pt", "text_config.hidden_size=-3"),
]


@pytest.mark.parametrize(("model", "setting"), BAD)
def test_bad_settings_get_the_same_line(model: str, setting: str) -> None:
    lines = []
    for fast in (True, False):
        with pytest.raises(BadInput) as caught:
            count(model, settings=[setting], fast=fast)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_layer", -2), ("n_embd", "768"), ("n_embd", 768.0), ("n_head", 5), ("n_layer", None), ("architectures", 3)],
)
def test_bad_configs_get_the_same_line(field: str, value: object, tmp_path: Path) -> None:
    config = {**load_card("gpt2").config, field: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    lines = []
    for fast in (True, False):
        with pytest.raises(BadInput) as caught:
            count(str(tmp_path), fast=fast)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]


@pytest.mark.parametrize("card", ["gpt2", "llama-7b", "mini-gpt"])
def test_one_by_one_is_the_inventory(card: str) -> None:
    fast, slow = (count(f"card:{card}", fast=fast, detailed=True) for fast in (True, False))
    assert not fast.built
    rows = [[(part.name, part.shape, part.numel, part.component) for part in each.parts] for each in (fast, slow)]
    assert rows[0] == rows[1]


def test_layers_that_a_form_does_not_tell_apart_take_the_long_way() -> None:
    result = count("card:deepseek-v3", fast=True, detailed=True)
    assert result.built
    assert result.detour is not None
    assert "does not tell the layers of model.layers apart" in result.detour


def test_a_detour_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {**load_card("gpt2").config, "add_cross_attention": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert run([str(tmp_path), "--fast", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert int(out) == count(str(tmp_path)).sizes.total
    assert err.count("\n") == 1
    assert "not from the catalogue: " in err


def test_a_class_or_type_that_no_form_is_of() -> None:
    source = Source(model="lab/x", kind="folder", location="x", config={"model_type": "no-such-type"})
    with pytest.raises(NotCovered, match="no form of no-such-type"):
        fast_count(source)
    with pytest.raises(NotCovered, match="no form of GPT2NoSuchHead"):
        fast_count(resolve("card:gpt2"), class_name="GPT2NoSuchHead")


def test_fields_of_the_run_time_are_left_out_and_the_rest_is_a_copy() -> None:
    config = {"model_type": "gpt2", "_attn_implementation": "flash", "rope": {"a": 1}}
    plain = checked_fields(config, "lab/x")
    plain["rope"]["a"] = 2
    assert config["rope"] == {"a": 1}
    assert "_attn_implementation" not in plain


@pytest.mark.parametrize(
    "arguments",
    [
        ["gpt2", "--fast", "--lora-r", "8", "--format", "json"],
        ["gpt2", "--fast", "--by", "layer"],
        ["explain", "gpt2", "117M", "--fast", "--format", "json"],
        ["compare", "gpt2", "llama-7b", "--fast", "--format", "markdown"],
        ["gpt2", "--fast", "--set", "n_layer=3", "--quiet"],
        ["formula", "gpt2", "--fast"],
        ["formula", "deepseek-v3", "--fast", "--format", "python"],
        ["solve", "gpt2", "--parameters", "1B", "--over", "n_layer", "--fast"],
        ["solve", "gpt2", "--trainable", "1%", "--fast"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    probe = (
        f"import sys\nfrom hfcount.cli.app import run\ncode = run({arguments!r})\nassert code == 0, code\n"
        f"found = [each for each in {HEAVY!r} if each in sys.modules]\nassert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "not from the catalogue" not in done.stdout + done.stderr
