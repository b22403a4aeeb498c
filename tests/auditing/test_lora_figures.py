"""Published sizes of LoRA: of whole models, of a layer, and as a share."""

from __future__ import annotations

import dataclasses

import pytest
from peft_models import CLAIMS, described, facts

from hfcount.auditing.lora_figures import KINDS, judge_lora
from hfcount.sources.source import Claim

FIGURES = {
    (model, claim.claim): claim for model, claim in [*CLAIMS, *facts("lab_claims.json")] if KINDS.match(claim.kind)
}

APART = "fused matrices counted apart"
# The verdict, the convention, and the count as the facts' own `exact` or the lab's arithmetic has it.
EXPECTED = {
    ("FacebookAI/roberta-large", "0.8M"): ("ok", None, 24 * 2 * 8 * 2048),
    ("microsoft/deberta-v2-xxlarge", "4.7M"): ("ok", None, 48 * 2 * 16 * 3072),
    ("openai/gpt-3-175b", "37.7M"): ("explained", APART, 96 * 2 * 8 * 24_576),
    ("openai/gpt-3-175b", "4.7M"): ("explained", APART, 96 * 2 * 1 * 24_576),
    ("openai/gpt-3-175b", "18M"): ("explained", "digits cut off", 96 * 2 * 4 * 24_576),  # 18.87M
    ("openai-community/gpt2-large", "0.77M"): ("mismatch", None, 36 * 2 * 4 * 2560),
    ("openai-community/gpt2-medium", "0.35M"): ("mismatch", None, 24 * 2 * 4 * 2048),
    ("hfcount/mini-gpt-lora-lab", "4,096"): ("ok", None, 4 * 8 * 128),
    ("hfcount/mini-gpt-lora-lab", "5,120"): ("ok", None, 2 * 8 * 320),
    ("hfcount/mini-gpt-lora-lab", "9,216"): ("ok", None, 4 * 8 * 128 + 2 * 8 * 320),
    ("hfcount/mini-gpt-lora-lab", "25%"): ("ok", None, None),
}


@pytest.mark.parametrize("key", FIGURES, ids=lambda key: f"{key[0].rpartition('/')[2]}-{key[1]}")
def test_published_figure(key: tuple[str, str]) -> None:
    finding = judge_lora(FIGURES[key], described(key[0]))
    assert (finding.verdict, finding.convention, finding.expected) == EXPECTED[key], finding
    if finding.expected is not None:
        value = FIGURES[key].value or FIGURES[key].approx
        assert finding.delta == round(value or 0) - finding.expected


@pytest.mark.parametrize("off", [1, -1, 8, 4096, -4095])
def test_a_wrong_figure_is_a_mismatch(off: int) -> None:
    claim = FIGURES["hfcount/mini-gpt-lora-lab", "4,096"]
    finding = judge_lora(dataclasses.replace(claim, value=4096 + off), described("hfcount/mini-gpt-lora-lab"))
    assert (finding.verdict, finding.delta) == ("mismatch", off)


@pytest.mark.parametrize(
    ("text", "verdict"), [("25.0%", "ok"), ("25.1%", "mismatch"), ("24%", "mismatch"), ("12.5%", "mismatch")]
)
def test_a_share_is_held_to_its_printed_places(text: str, verdict: str) -> None:
    claim = FIGURES["hfcount/mini-gpt-lora-lab", "25%"]
    finding = judge_lora(dataclasses.replace(claim, claim=text), described("hfcount/mini-gpt-lora-lab"))
    assert finding.verdict == verdict


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (Claim(claim="1M", kind="trainable (LoRA)"), "does not say"),
        (Claim(claim="1M", kind="trainable (LoRA)", details={"lora": {"targets": ["q"], "r": "8"}}), "does not say"),
        (Claim(claim="1M", kind="trainable (LoRA)", details={"lora": {"targets": ["w"], "r": 8}}), "are called w"),
        (Claim(claim="few", kind="trainable (LoRA)", details={"lora": {"targets": "mlp", "r": 8}}), "no count"),
        (Claim(claim="1M", kind="trainable (LoRA)", details={"lora": {"targets": "mlp", "r": -1}}), "rank"),
    ],
)
def test_what_cannot_be_counted_is_said(claim: Claim, why: str) -> None:
    finding = judge_lora(claim, described("openai-community/gpt2"))
    assert finding.verdict == "unverifiable"
    assert why in finding.explanation
