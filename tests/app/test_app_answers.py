"""The page's figures are those of hfcount's public functions, and of the published tables."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

import hfcount
import hfcount.api
from hfcount.app import answers, views
from hfcount.app.answers import at_once, exactly, source_of
from hfcount.app.latest import MAX_SESSIONS, Latest
from hfcount.app.state import State
from hfcount.app.worker import Worker
from hfcount.errors import BadInput
from hfcount.sources.source import Source

# GPT-2's count: 50257·768 + 1024·768 + 12·(12·768² + 13·768) + 2·768; LoRA's r·(in + out) on c_attn, 12 layers.
GPT2 = 50257 * 768 + 1024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
GPT2_LORA_8 = 12 * 8 * (768 + 3 * 768)


@pytest.fixture(scope="module")
def gpt2() -> answers.Answer:
    state = State(model="gpt2", ranks="8", figure="117M")
    return exactly(state, source_of(state))


def test_the_catalogue_and_the_class_say_what_the_derivation_says(gpt2: answers.Answer) -> None:
    state = State(model="gpt2", ranks="8")
    fast = at_once(state, source_of(state))
    assert fast is not None
    for answer, built in ((fast, False), (gpt2, True)):
        assert answer.count["parameters"]["total"] == GPT2
        assert [each["trainable"] for each in answer.count["lora"]] == [GPT2_LORA_8]
        assert answer.built is built
    assert gpt2.same_figures(fast)


def test_another_batch_builds_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def counted(source: Source, settings: tuple[str, ...], adapters: Any) -> hfcount.Count:
        asked.append(settings)
        return count_source(source, settings, adapters)

    count_source = hfcount.api.count_source
    monkeypatch.setattr(hfcount.api, "count_source", counted)
    for state in (
        State(model="mini-gpt"),
        State(model="mini-gpt", batch=2),
        State(model="mini-gpt", precision="bf16"),
    ):
        exactly(state, source_of(state))
    assert asked == [()]
    state = State(model="mini-gpt", settings="num_hidden_layers=3")
    # Mini-GPT has 131,392 in two layers of 49,280.
    assert exactly(state, source_of(state)).count["parameters"]["total"] == 131392 + 49280
    assert asked == [(), ("num_hidden_layers=3",)]


def test_different_figures_are_noticed(gpt2: answers.Answer) -> None:
    state = State(model="gpt2", settings="n_layer=11", ranks="8")
    other = at_once(state, source_of(state))
    assert other is not None
    assert not gpt2.same_figures(other)


@pytest.mark.parametrize("model", ["llama-7b", "deepseek-ai/DeepSeek-V3", "t5-base", "mini-gpt"])
def test_at_once_is_what_count_says(model: str) -> None:
    state = State(model=model, ranks="4", targets="all-linear")
    found = at_once(state, source_of(state))
    counted = hfcount.count(model, lora_r=4, lora_targets="all-linear", fast=True)
    assert found is not None
    assert found.count["parameters"]["total"] == counted.sizes.total
    assert [each["trainable"] for each in found.count["lora"]] == [each.trainable for each in counted.lora]
    assert {each["component"]: each["parameters"] for each in found.count["components"]} == {
        each.component: each.parameters for each in counted.components
    }


def test_a_pasted_config_is_counted_as_the_file_would_be() -> None:
    """Llama-7B's figure is PEFT's own: 6,738,415,616 (its base, in the LoRA examples)."""
    text = json.dumps(dict(source_of(State(model="llama-7b")).config))
    state = State(config=text, ranks="")
    source = source_of(state)
    found = at_once(state, source)
    assert found is not None
    assert found.count["parameters"]["total"] == 6738415616
    assert (source.kind, found.count["model"]) == ("pasted", "pasted config.json")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "config.json: not valid JSON at line 1"),
        ("[1]", "holds a JSON list"),
        ("[" * 5000, "nested too deeply"),
        ('{"model_type": "gpt2", "n_layer": 99999999}', "absurd"),
        ('{"model_type": "gpt2", "n_embd": -1}', "negative"),
    ],
)
def test_a_bad_config_is_named(config: str, said: str) -> None:
    state = State(config=config)
    with pytest.raises(BadInput, match=re.escape(said)):
        at_once(state, source_of(state))


def test_code_of_a_repository_is_not_run(tmp_path: object) -> None:
    config = {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}, "architectures": ["Own"]}
    state = State(config=json.dumps(config))
    assert at_once(state, source_of(state)) is None
    with pytest.raises(BadInput, match="own"):
        exactly(state, source_of(state))


def test_a_figure_is_explained_and_a_bad_one_named(gpt2: answers.Answer) -> None:
    assert gpt2.explanation is not None
    assert gpt2.explanation["explained"]
    assert [each["parameters"] for each in gpt2.explanation["matches"]] == [116929536]  # 40,478 rows of vocabulary
    state = State(model="gpt2", figure="a lot")
    bad = at_once(state, source_of(state))
    assert bad is not None
    assert bad.explanation is None
    assert "a lot" in bad.figure_fault
    assert bad.count["parameters"]["total"] == GPT2


def test_the_budget_is_what_memory_says() -> None:
    state = State(model="mini-gpt-lora-lab", ranks="8", batch=16, precision="lab", gpus=("T4",))
    found = answers.budgets(state, source_of(state))
    full = next(each for each in found["regimes"] if each["regime"] == "full")
    assert full["highest"]["gradients"] == 459904  # two bytes for each of the lab's 229,952 parameters
    assert all(each["fits"] for each in found["fits"])
    assert len(found["fits"]) == 3


def test_the_notes_of_a_budget_are_shown_and_whether_it_fits() -> None:
    """Mixtral's experts stay unconverted: 32 layers x 8 experts x 3 matrices of 4096 x 14336."""
    state = State(model="mixtral-8x7b", ranks="8", gpus=("T4", "H200"))
    found = answers.budgets(state, source_of(state))
    shown = views.budget(found)
    assert f"{32 * 8 * 3 * 4096 * 14336:,} weights of fused experts" in shown
    assert "LoRA on all linear layers: PEFT" in shown, "default targets attach nothing, so others are taken"
    assert shown.count("too much") == sum(not each["fits"] for each in found["fits"])
    config = next(each for each in found["notes"] if "config copied" in each)
    assert config not in views.budget(found, [config])


def test_ranks_that_attach_nothing_are_told_together() -> None:
    state = State(model="mixtral-8x7b", ranks="4, 8")
    found = at_once(state, source_of(state))
    assert found is not None
    assert views.lora(found).startswith("<p>r = 4, 8: PEFT")
    assert "<table" not in views.lora(found)


@pytest.mark.parametrize("model", ["gpt2", "gemma-3-4b-pt", "whisper-tiny"])
def test_every_field_that_is_offered_can_be_set_and_changes_nothing_by_itself(model: str) -> None:
    source = source_of(State(model=model))
    offered = answers.fields(source)
    assert offered
    before = at_once(State(model=model, ranks=""), source)
    after = at_once(State(model=model, ranks="", settings="\n".join(offered)), source)
    assert before is not None
    assert after is not None
    assert after.count["parameters"] == before.count["parameters"]


@pytest.mark.parametrize(("suffix", "begins"), [("json", b"{"), ("csv", b"name,parameters"), ("png", b"\x89PNG")])
def test_files(suffix: str, begins: bytes) -> None:
    state = State(model="mini-gpt", ranks="8")
    assert answers.file_of(suffix, state, source_of(state)).startswith(begins)


def test_the_html_report_has_the_figure_and_asks_no_network() -> None:
    state = State(model="gpt2", ranks="8")
    page = answers.file_of("html", state, source_of(state)).decode()
    assert f"{GPT2:,}" in page
    assert 'src="http' not in page


def test_what_a_visitor_brings_in_is_escaped() -> None:
    evil = '<img src=x onerror="alert(1)">'
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "_name_or_path": evil}
    state = State(config=json.dumps(config), figure=evil[:60])
    found = at_once(state, source_of(state))
    assert found is not None
    parts = [getattr(views, name)(found) for name in ("headline", "chart", "explanation", "conventions", "remarks")]
    assert "<img" not in "".join([*parts, views.message(evil), views.status(evil)])


def test_a_late_answer_is_known_as_one() -> None:
    latest, first, second = Latest(), State(), State(batch=2)
    latest.note("a", first)
    latest.note("b", second)
    assert latest.is_it("a", first)
    latest.note("a", second)
    assert not latest.is_it("a", first)
    latest.note("a", None)
    assert not latest.is_it("a", second)
    for index in range(MAX_SESSIONS):
        latest.note(f"session {index}", first)
    assert not latest.is_it("b", second)


def _fault() -> None:
    raise RuntimeError("broken\nin two lines")


def _refusal() -> None:
    raise BadInput("no such thing")


@pytest.mark.slow
def test_the_worker_survives_what_it_is_asked() -> None:
    worker = Worker(seconds=3.0)
    try:
        state = State(model="gpt2", ranks="")
        assert worker.ask(len, "four") == 4
        with pytest.raises(BadInput, match="no such thing"):
            worker.ask(_refusal)
        with pytest.raises(BadInput, match="a fault in hfcount itself"):
            worker.ask(_fault)
        with pytest.raises(BadInput, match="more than 3 s"):
            worker.ask(time.sleep, 60)
        with pytest.raises(BadInput, match="died"):
            worker.ask(_die)
        worker._seconds = 60.0
        assert worker.ask(exactly, state, source_of(state)).count["parameters"]["total"] == GPT2
    finally:
        worker.close()


def _die() -> None:
    import os

    os._exit(9)
