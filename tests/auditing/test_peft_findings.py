"""The findings on PEFT's printed lines: each published one, and wrong ones made of them."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outside import noted
from peft_models import CLAIMS, described

from hfcount.auditing.one import Reach, audit_described
from hfcount.auditing.peft_conventions import Case, ways
from hfcount.auditing.peft_lines import KIND, Line, judge_peft, printed_line
from hfcount.auditing.peft_methods import adapt, load_base
from hfcount.sources.cards import load_card
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

LINES = {(model, claim.value): claim for model, claim in CLAIMS if claim.kind == KIND}

IN_PLACE = "head trained in place"
TWICE = "head and its copy both trainable"
SEPARATE = "separate LM head"
RENAMED = "modules renamed since"

# What tests/conformance/test_peft_lines.py derives for the LoRA lines by hand; the others by the same arithmetic.
EXPLAINED = {
    ("bigscience/mt0-large", 2_359_296): SEPARATE,
    ("bigscience/mt0-large", 282_624): SEPARATE,
    ("google/flan-t5-large", 4_718_592): SEPARATE,
    ("google/flan-t5-xxl", 18_874_368): SEPARATE,
    ("FacebookAI/roberta-large", 1_351_938): IN_PLACE,
    ("FacebookAI/roberta-large", 1_855_499): IN_PLACE,
    ("FacebookAI/roberta-large", 1_061_890): IN_PLACE,
    ("FacebookAI/roberta-large", 2_034_690): IN_PLACE,
    ("microsoft/layoutlm-base-uncased", 702_733): IN_PLACE,
    ("google/vit-base-patch16-224-in21k", 667_493): IN_PLACE,
    ("FacebookAI/roberta-large", 2_275_332): TWICE,
    ("google-bert/bert-base-cased", 592_900): TWICE,
    ("google-t5/t5-base", 884_736): "biases of the early LoRA Linear",
    ("google/vit-base-patch16-224-in21k", 1_257_317): RENAMED,
    ("google/vit-base-patch16-224-in21k", 589_824): RENAMED,
    ("nvidia/mit-b0", 566_422): RENAMED,
    ("google/vit-base-patch16-224-in21k", 116_069): "earlier adapters left in the model",
    ("meta-llama/Llama-3.2-1B", 44_826_624): "block-diagonal LoRA",
    ("meta-llama/Meta-Llama-3-8B", 22_347_776): "packed 4-bit elements",
}
UNVERIFIABLE = {
    ("mistralai/Mixtral-8x7B-v0.1", 218_103_808): "all less trainable is the base's 46,702,792,704",
    ("HuggingFaceM4/idefics-9b", 19_750_912): "no config.json",
    ("Qwen/Qwen2.5-3B-Instruct", 3_686_400): "no config.json",
    ("timm/poolformer_m36.sail_in1k", 1_064_454): "no config.json",
}


@pytest.mark.parametrize(("model", "value"), LINES, ids=[f"{m.rpartition('/')[2]}-{v}" for m, v in LINES])
def test_every_published_line_has_its_verdict(model: str, value: int) -> None:
    finding = judge_peft(LINES[model, value], described(model))
    if (model, value) in UNVERIFIABLE:
        assert finding.verdict == "unverifiable", finding
        assert UNVERIFIABLE[model, value] in finding.explanation
        return
    convention = EXPLAINED.get((model, value))
    assert (finding.verdict, finding.convention) == ("explained" if convention else "ok", convention), finding
    assert finding.expected is not None
    assert finding.delta == value - finding.expected


def test_every_expected_verdict_is_of_a_line() -> None:
    assert set(EXPLAINED) | set(UNVERIFIABLE) <= set(LINES)


def accepted(model: str, claim: Claim) -> set[tuple[int, int]]:
    """Every pair of figures that the line's configuration would make ok or explained."""
    about = described(model)
    peft = claim.details["peft"]
    loaded = load_base(model, about.config or {}, peft["model_kwargs"])
    adapted = adapt(loaded, peft)
    others = tuple(each.details["peft"] for each in about.claims if each.kind == KIND and each != claim)
    case = Case(loaded=loaded, peft=peft, adapted=adapted, note=str(claim.details.get("note")), others=others)
    return {(adapted.trainable, adapted.all), *((way.trainable, way.all) for way in ways(case))}


def wrong_figures(line: Line, rank: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """The line with one figure off: by 1, by the rank, twofold, half, and at random near and far."""
    for figure, other in ((0, 1), (1, 0)):
        right = (line.trainable, line.all)
        near = [1, -1, rank, -rank, right[figure], -(right[figure] // 2)]
        for off in [*near, *(rng.choice((1, -1)) * rng.randint(1, 10 ** rng.randint(1, 7)) for _ in range(44))]:
            wrong = [0, 0]
            wrong[figure], wrong[other] = right[figure] + off, right[other]
            yield wrong[0], wrong[1]


HELD = [key for key in LINES if key not in UNVERIFIABLE]
SMALL = [key for key in HELD if key[0].rpartition("/")[2] in ("opt-125m", "bert-base-cased", "t5-base", "mit-b0")]


def share_refused(keys: list[tuple[str, int]]) -> float:
    """Of wrong lines made of published ones, the share that no convention would take."""
    rng = random.Random(6)
    outcomes = []
    for model, value in keys:
        claim = LINES[model, value]
        line = printed_line(claim)
        assert line is not None
        pairs = accepted(model, claim)
        assert (line.trainable, line.all) in pairs
        outcomes += [pair not in pairs for pair in wrong_figures(line, int(claim.details["peft"].get("r") or 8), rng)]
    assert len(outcomes) >= 100 * len(keys)
    return sum(outcomes) / len(outcomes)


def test_wrong_figures_stay_unexplained() -> None:
    assert share_refused(SMALL) >= 0.98


@pytest.mark.slow
def test_wrong_figures_of_all_lines_stay_unexplained() -> None:
    assert share_refused(HELD) >= 0.98


@pytest.mark.parametrize("off", [(1, 0), (0, -1), (768, 0), (0, 768), (296_450, 0), (1538, 0), (-1538, 1538)])
def test_a_wrong_line_is_a_mismatch_that_names_the_difference(off: tuple[int, int]) -> None:
    model, value = "google-bert/bert-base-cased", 296_450
    claim = LINES[model, value]
    trainable, everything = value + off[0], claim.details["all_params"] + off[1]
    text = f"trainable params: {trainable:,} || all params: {everything:,}"
    wrong = Claim(claim=text, kind=KIND, details={"peft": claim.details["peft"]})
    finding = judge_peft(wrong, described(model))
    # Figures with the head counted twice are what the first ModulesToSaveWrapper printed: 2·768 + 2 more.
    if off == (1538, 0):
        assert (finding.verdict, finding.convention) == ("explained", TWICE)
        return
    assert finding.verdict == "mismatch", finding
    assert f"{off[0]:+,} trainable and {off[1]:+,} in all" in finding.explanation
    assert finding.delta == off[0]


@pytest.mark.parametrize("percent", [0.5473, 0.274, 12.0, "nan", float("nan"), "much"])
def test_a_percent_that_is_not_theirs_is_a_mismatch(percent: Any) -> None:
    claim = LINES["google-bert/bert-base-cased", 296_450]
    wrong = dataclasses.replace(claim, details={**claim.details, "trainable_pct": percent})
    assert judge_peft(wrong, described("google-bert/bert-base-cased")).verdict == "mismatch"


def test_adapters_of_a_page_that_trains_one_after_another() -> None:
    """PEFT's guide to LoRA methods (docs/source/task_guides/lora_based_methods.md) prints a third line, of AdaLoRA.

    Its all is larger than one AdaLoRA makes it by the LoHa and the LoKr trained on the same `model` before it.
    """
    model = "google/vit-base-patch16-224-in21k"
    about = described(model)
    peft = {**LINES[model, 1_257_317].details["peft"], "peft_type": "ADALORA", "r": 8, "init_r": 12, "tinit": 200,
            "tfinal": 1000, "deltaT": 10, "total_step": 5000}  # fmt: skip
    claim = Claim(
        claim="trainable params: 520,325 || all params: 87,614,722 || trainable%: 0.5938785036606062",
        kind=KIND,
        details={"peft": peft},
    )
    finding = judge_peft(claim, about)
    assert (finding.verdict, finding.convention) == ("explained", "earlier adapters left in the model"), finding
    assert "LOHA and LOKR" in finding.explanation
    alone = dataclasses.replace(about, claims=())
    assert judge_peft(claim, alone).verdict == "mismatch"


def test_a_mixture_whose_targets_nobody_knows_is_held_by_its_base() -> None:
    claim = LINES["mistralai/Mixtral-8x7B-v0.1", 218_103_808]
    wrong = dataclasses.replace(claim, value=218_103_809)
    assert judge_peft(wrong, described("mistralai/Mixtral-8x7B-v0.1")).verdict == "mismatch"


PEFT = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "target_modules": ["c_attn"]}
GPT2 = "trainable params: 294,912 || all params: 124,734,720 || trainable%: 0.2364"


def line(text: str = GPT2, **peft: Any) -> Claim:
    return Claim(claim=text, kind=KIND, details={"peft": {**PEFT, **peft}})


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (line(peft_type="XLORA", adapters={"a": "somebody/adapter"}), "would load other models"),
        (line(peft_type="SHADOW", shadow_model="somebody/model"), "would load other models"),
        (line(peft_type="WHATEVER"), "no method called 'WHATEVER'"),
        (line(peft_type="BOFT", target_modules=["c_attn"]), "attaches no BOFT"),
        (line(peft_type="IA3", target_modules=7), "cannot be told"),
        (line("trainable params: 294,912"), "both figures"),
        (line(model_class="GPT3LMHeadModel"), "cannot be built"),
        (line(model_class="os.system"), "cannot be built"),
        (line(model_kwargs={"n_embd": -3}), "cannot be built"),
    ],
)
def test_what_cannot_be_attached_is_said(claim: Claim, why: str) -> None:
    finding = judge_peft(claim, described("openai-community/gpt2"))
    assert finding.verdict == "unverifiable"
    assert why in finding.explanation


def test_a_configuration_opens_no_file_and_imports_no_module() -> None:
    """Fields that name files, repositories or modules are left out, so the line is held all the same."""
    told = {"megatron_core": "antigravity", "megatron_config": {"a": 1}, "init_lora_weights": "pissa",
            "tokenizer_name_or_path": "somebody/tokenizer", "base_model_name_or_path": "somebody/base",
            "inference_mode": True, "of_tomorrow": 3}  # fmt: skip
    assert judge_peft(line(**told), described("openai-community/gpt2")).verdict == "ok"


def test_a_published_adapter_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    """A folder that is there and one that is not are the same to it; to an adapter in a folder they are not."""
    (tmp_path / "config.json").write_text(json.dumps(load_card("gpt2").config))
    claims = (Claim(claim=GPT2, kind=KIND),)
    for base in (str(tmp_path), str(tmp_path / "missing"), "~/missing", "../missing", "no id"):
        published = Described(
            model="somebody/adapter",
            where="hub",
            adapter_config={**PEFT, "base_model_name_or_path": base},
            claims=claims,
        )
        with noted() as events:
            (finding,) = audit_described(published, reach=Reach(offline=True))
        assert finding.verdict == "unverifiable"
        assert finding.explanation == "no config.json of the base to hold it against"
        assert [each for each in events if str(tmp_path) in each] == []
        (here,) = audit_described(dataclasses.replace(published, where="folder"), reach=Reach(offline=True))
        assert here.verdict == ("ok" if base == str(tmp_path) else "unverifiable")


@pytest.mark.parametrize("rank", [-1, 0, 10**14, "8", None, [8]])
def test_absurd_ranks_are_no_crash(rank: Any) -> None:
    finding = judge_peft(line(r=rank), described("openai-community/gpt2"))
    assert finding.verdict in ("mismatch", "unverifiable", "ok"), finding
    assert (finding.verdict == "ok") == (rank is None)  # PEFT's own default is 8


def test_the_adapter_config_of_a_repository_is_the_lines_own() -> None:
    base = described("openai-community/gpt2").config
    repository = Described(
        model="somebody/adapter", where="hub", adapter_config={**PEFT, "base_model_name_or_path": "openai/gpt2"}
    )
    claim = Claim(claim=GPT2, kind=KIND)
    assert judge_peft(claim, repository, base_config=lambda name: base).verdict == "ok"
    assert judge_peft(claim, repository, base_config=lambda name: None).verdict == "unverifiable"
    assert judge_peft(claim, repository).verdict == "unverifiable"
    wrong = Claim(claim=GPT2.replace("294,912", "294,913"), kind=KIND)
    assert judge_peft(wrong, repository, base_config=lambda name: base).verdict == "mismatch"
