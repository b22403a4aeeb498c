"""The audit of everything on record: each figure has a verdict, worked out and not written down."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import load_script

from hfcount import audit
from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.sources.cards import card_names, find_card, load_card

ROOT = Path(__file__).resolve().parents[2]
audit_cards = load_script("audit_cards")


@functools.cache
def findings() -> tuple[Finding, ...]:
    return tuple(audit(str(ROOT / "model_cards")).findings)


def of(model: str, claim: str) -> set[tuple[str, str | None]]:
    """(verdict, convention) of the findings on a figure of a model."""
    return {(each.verdict, each.convention) for each in findings() if each.model == model and each.claim == claim}


def test_every_figure_on_record_has_a_verdict() -> None:
    claims = Counter((claim["id"], claim["claim"], claim["kind"]) for claim in audit_cards.recorded())
    carded = {key for key in claims if find_card(key[0])}
    found = {(each.model, each.claim, each.kind) for each in findings()}
    named = {(find_card(model), claim, kind) for model, claim, kind in carded}
    assert named <= found
    others = list(audit_cards.without_card(audit_cards.recorded()))
    assert {(each.model, each.claim, each.kind) for each in others} == set(claims) - carded
    assert {each.verdict for each in others} == {"unverifiable"}


def test_every_card_is_audited_without_an_error() -> None:
    assert {each.model for each in findings()} == set(card_names())
    assert not [each for each in findings() if each.verdict == "error"]


def test_nearly_all_exact_figures_are_given() -> None:
    exact = [each for each in findings() if audit_cards.is_exact(each)]
    good = [each for each in exact if each.verdict in ("ok", "explained")]
    assert len(exact) >= 100
    assert len(good) / len(exact) >= 0.95


def test_no_verdict_stands_in_a_card() -> None:
    for name in card_names():
        for claim in load_card(name).claims:
            words = json.dumps(claim.details).lower()
            assert not any(f'"{verdict}"' in words for verdict in VERDICTS), name


@pytest.mark.parametrize(
    ("model", "claim", "verdict", "convention"),
    [
        ("openai-community/gpt2", "117M", "explained", "with GPT-1's vocabulary"),
        ("EleutherAI/gpt-j-6b", "6053381344", "explained", "with norms and biases replicated on 8 shards"),
        ("stabilityai/stablelm-base-alpha-3b", "3,638,525,952", "explained",
         "with norms and biases replicated on 4 shards"),
        ("stabilityai/stablelm-2-zephyr-1_6b", "1,644,417,024", "explained", "without the biases of the layers' norms"),
        ("Qwen/Qwen2-7B", "7.07B", "explained", "one embedding matrix less"),
        ("Qwen/Qwen2-7B", "5.98B", "explained", "three embedding matrices less"),
        ("google/gemma-7b", "786,825,216", "explained", "token embedding of 256,128 rows"),
        ("microsoft/phi-1_5", "1.3B", "explained", "one embedding matrix less"),
        ("openai/gpt-oss-120b", "5.13B", "explained", "active, without the input embedding"),
        ("deepseek-ai/DeepSeek-V3", "685B", "explained", "with the multi-token-prediction module, as stored"),
        ("EleutherAI/pythia-160m", "162,322,944", "ok", "as built"),
        ("EleutherAI/pythia-160m", "85,056,000", "ok", "non-embedding"),
        ("mistralai/Mixtral-8x7B-v0.1", "46.7B", "ok", "as built"),
        ("mistralai/Mixtral-8x7B-v0.1", "8x7B", "ok", "with one expert a layer"),
        ("facebook/opt-350m", "350m", "explained", "nominal name"),
        ("hfcount/mini-gpt", "131,136", "mismatch", None),
        ("openai-community/gpt2-medium", "354.92M", "mismatch", None),
    ],
)  # fmt: skip
def test_reconciliations_worked_out_by_hand(model: str, claim: str, verdict: str, convention: str | None) -> None:
    assert (verdict, convention) in of(model, claim)


def test_the_document_lists_what_is_open() -> None:
    page = audit_cards.PAGE.read_text(encoding="utf-8")
    for each in findings():
        if each.verdict == "mismatch":
            assert f"| `{each.model}` | {audit_cards.shortened(each.claim, 60)} | {each.kind} |" in page
