"""What has been published about the bundled models, held against the conventions: no verdict is written by hand.

Every exact integer must be given by a convention of its kind. A rounded figure must be given too, or stand below with
what it differs by; a figure that is only the number in a model's name is not held.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from hfcount.api import Count, count
from hfcount.conventions import Figure, parse_figure
from hfcount.conventions.ways import CLAIM_KINDS
from hfcount.errors import BadInput
from hfcount.sources.cards import find_card

FACTS = Path(__file__).resolve().parents[2] / "scripts" / "facts" / "claims.json"


@functools.cache
def counted(model: str) -> Count:
    return count(f"card:{model}")


def figure_of(claim: dict[str, Any]) -> Figure | None:
    try:
        return parse_figure(claim["claim"])
    except BadInput:
        return None


CLAIMS = [
    (claim, figure)
    for claim in json.loads(FACTS.read_text(encoding="utf-8"))
    if claim["kind"] in CLAIM_KINDS and find_card(claim["id"]) and (figure := figure_of(claim)) is not None
]
EXACT = [claim for claim in CLAIMS if claim[1].low == claim[1].high]
ROUNDED = [claim for claim in CLAIMS if claim[1].low != claim[1].high and "nominal" not in claim[0]["kind"]]

# Rounded figures that no convention gives: (model, figure) and the count that is nearest to what it means. Cut off
# means that the digits are the count's own, not rounded. The others are open questions.
CUT_OFF = {
    ("google/vit-base-patch16-224", "86M"), ("Qwen/Qwen2-0.5B", "0.35B"), ("Qwen/Qwen2.5-7B-Instruct", "7.61B"),
    ("meta-llama/Llama-3.2-1B", "1.23B"), ("huggyllama/llama-65b", "65.2B"), ("Qwen/Qwen2.5-14B", "14.7B"),
    ("Qwen/Qwen3-30B-A3B", "3.3B"),
}  # fmt: skip
OPEN = {
    ("deepseek-ai/DeepSeek-V3", "36.7B"): 36_625_603_584, ("distilbert/distilbert-base-uncased", "66M"): 66_985_530,
    ("facebook/bart-base", "140M"): 139_420_416, ("facebook/bart-large", "400M"): 406_291_456,
    ("facebook/opt-350m", "350M"): 331_196_416, ("google-bert/bert-large-uncased", "340M"): 335_174_458,
    ("google-t5/t5-base", "220M"): 222_903_552, ("google/flan-t5-base", "250M"): 247_577_856,
    ("google/flan-t5-large", "800M"): 783_150_080, ("google/gemma-3-12b-pt", "1,012M"): 1_006_878_720,
    ("google/gemma-3-27b-pt", "1,416M"): 1_409_630_208, ("google/gemma-3-4b-pt", "675M"): 671_252_480,
    ("HuggingFaceTB/SmolLM2-360M", "360M"): 361_821_120, ("MiniMaxAI/MiniMax-M2.5", "230B"): 228_689_748_992,
    ("mistralai/Mistral-7B-v0.1", "7.3B"): 7_241_732_096, ("mosaicml/mpt-7b", "6.7B"): 6_649_286_656,
    ("openai-community/gpt2-medium", "354.92M"): 354_823_168,
    ("openai/whisper-large-v2", "1550M"): 1_543_304_960, ("openai/whisper-large-v3", "1550M"): 1_543_490_560,
    ("openai/whisper-large-v3-turbo", "798M"): 808_878_080, ("openai/whisper-medium", "769M"): 763_857_920,
    ("openai/whisper-small", "244M"): 241_734_912, ("openai/whisper-tiny", "39M"): 37_760_640,
    ("Qwen/Qwen2.5-14B", "13.1B"): 13_212_898_304, ("Qwen/Qwen2.5-32B-Instruct", "31.0B"): 31_206_740_992,
    ("Qwen/Qwen2.5-32B-Instruct", "32.5B"): 32_763_876_352, ("Qwen/Qwen2.5-72B", "70.0B"): 70_214_787_072,
    ("state-spaces/mamba-130m-hf", "130M"): 129_135_360, ("state-spaces/mamba-790m-hf", "790M"): 793_204_224,
}  # fmt: skip


def given_by(claim: dict[str, Any], figure: Figure) -> list[str]:
    kind = CLAIM_KINDS[claim["kind"]]
    conventions = counted(claim["id"]).conventions
    return [each.name for each in conventions if kind in each.kinds and figure.holds(each.parameters)]


def name_of(item: Any) -> str:
    return f"{item['id']}-{item['kind']}" if isinstance(item, dict) else str(getattr(item, "text", item))


@pytest.mark.parametrize(("claim", "figure"), EXACT, ids=name_of)
def test_every_exact_figure_is_given_by_a_convention(claim: dict[str, Any], figure: Figure) -> None:
    assert given_by(claim, figure), f"{figure.text} ({claim['source']}); total {counted(claim['id']).sizes.total:,}"


@pytest.mark.parametrize(("claim", "figure"), ROUNDED, ids=name_of)
def test_every_rounded_figure_is_given_or_listed(claim: dict[str, Any], figure: Figure) -> None:
    key = (claim["id"], claim["claim"])
    conventions = counted(claim["id"]).conventions
    if key in CUT_OFF:
        width = figure.high - figure.low + 1
        assert any(figure.value <= each.parameters < figure.value + width for each in conventions)
        assert not given_by(claim, figure)
    elif key in OPEN:
        assert not given_by(claim, figure), f"{key} is given after all: take it off the list"
    else:
        assert given_by(claim, figure), f"{figure.text} ({claim['source']})"


@pytest.mark.parametrize(("key", "parameters"), OPEN.items(), ids=str)
def test_open_questions_are_held_against_the_right_count(key: tuple[str, str], parameters: int) -> None:
    """The count that each open figure is nearest to in meaning: as built, or a convention of its kind."""
    counts = {each.parameters for each in counted(key[0]).conventions} | {counted(key[0]).sizes.untied}
    assert parameters in counts, sorted(counts)
