"""Published figures of GPU memory and storage against what hfcount says: within 10 %, explained, or open by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import load_script

ROOT = Path(__file__).resolve().parents[2]
published = load_script("published_memory")

ROWS = [row for group in published.facts()["groups"] for row in group["rows"]]
CLAIMS = json.loads((ROOT / "scripts" / "facts" / "claims.json").read_text(encoding="utf-8"))
KINDS = ("max context at vram", "quantization constants", "checkpoint size")


def key_of(row: dict[str, Any]) -> str:
    return f"{row['id']}-{row['figure']}-{row['name']}"


def test_every_published_figure_of_memory_is_a_row_or_says_why_not() -> None:
    """Each claim of these kinds, its source word for word, and none that is not published."""
    claims = {
        (each["id"], each["claim"]): each["source"]
        for each in CLAIMS
        if each["kind"].startswith("vram") or each["kind"] in KINDS
    }
    compared = {(row["id"], row["claim"]): row["source"] for row in ROWS}
    left_out = {(each["id"], each["claim"]) for each in published.facts()["not_compared"]}
    assert compared == {key: source for key, source in claims.items() if key not in left_out}
    assert set(claims) == set(compared) | left_out
    assert not set(compared) & left_out


@pytest.mark.parametrize("row", ROWS, ids=key_of)
def test_the_figure_is_given_or_the_difference_is_named(row: dict[str, Any]) -> None:
    """By the peak; a name, from the closed list, where it is open."""
    verdict = published.held(row)
    said = f"{row['figure']}: {verdict.predicted:,.0f}, {verdict.status}"
    if verdict.status == "open":
        assert row.get("named") in published.NAMED, said
    else:
        assert "named" not in row, f"{said}: nothing is left to name"
    if "measure" in row:
        assert verdict.status == "within", said


def measured(measure: str, model: str) -> Any:
    row = next(row for row in ROWS if row.get("measure") == measure and row["id"] == model)
    return published.held(row).predicted


def test_qloras_constants_of_llama_65b() -> None:
    """Dettmers et al. 2023, section 3: 32/64 bits, and 8/64 + 32/(64·256) after the second quantization.

    LLaMA-65B has 80 layers of 4·8192² + 3·8192·22016 weights in matrices. bitsandbytes adds one mean a matrix, 4 bytes.
    """
    weights = 80 * (4 * 8192**2 + 3 * 8192 * 22016)
    means = 80 * 7 * 4
    single, double = 4 * weights // 64, weights // 64 + 4 * weights // (64 * 256) + means
    assert measured("constants", "huggyllama/llama-65b") == 8 * single / weights == 0.5
    assert measured("double constants", "huggyllama/llama-65b") == pytest.approx(8 / 64 + 32 / (64 * 256), abs=1e-6)
    assert measured("constants saved", "huggyllama/llama-65b") == pytest.approx(0.373, abs=1e-4)
    saved = measured("constants saved in all", "huggyllama/llama-65b")
    assert saved == single - double
    assert round(saved / 1e9, 1) == 3.0


def test_loras_checkpoints_of_gpt3() -> None:
    """Hu et al. 2021, section 4.2: fp16, r = 4 on q and v of 96 layers; the printed 35 MB is 350 GB by ten thousand."""
    d, layers = 12288, 96
    blocks = layers * (12 * d**2 + 13 * d)
    whole = 2 * (50257 * d + 2048 * d + blocks + 2 * d)
    adapters = 2 * layers * 2 * (4 * d + d * 4)
    assert measured("weights in 16 bit", "openai/gpt-3-175b") == whole == 349_208_518_656
    assert measured("adapters in 16 bit", "openai/gpt-3-175b") == adapters == 37_748_736
    assert adapters == 36 * 2**20
    assert whole / adapters == pytest.approx(9_251, abs=1)


def test_gpt3s_memory_falls_to_its_weights() -> None:
    """LoRA's 350 GB is the frozen fp16 model; the 1.2 TB is fewer bytes a parameter than Adam in 16 bit, 8."""
    lora = next(row for row in ROWS if row["id"] == "openai/gpt-3-175b" and row["name"] == "LoRA r = 4")
    budget = published.held(lora).budget
    assert budget.weights_bytes == 349_208_518_656 + 37_748_736
    parameters = 349_208_518_656 // 2
    assert 6 < 1.2e12 / parameters < 7


def test_torchtunes_packed_run_is_met_by_the_step() -> None:
    """60.0 GiB, measured: 2 + 4 bytes a parameter stand at the loss, the activations, and 10 more bytes a logit."""
    row = next(row for row in ROWS if row["name"] == "+ packed")
    found = published.held(row)
    assert found.predicted / 2**30 == pytest.approx(60.0, rel=0.05)
    assert found.budget.weights_bytes + found.budget.optimizer_bytes == 6 * 3_212_749_824


@pytest.mark.slow
@pytest.mark.pinned
def test_the_page_is_current() -> None:
    page = published.PAGE.read_text(encoding="utf-8")
    assert published.renewed(page) == page, "run python scripts/published_memory.py --write"
    assert published.RATIOS.read_text(encoding="utf-8") == published.ratios(), "the same"
    assert published.summary() in page
