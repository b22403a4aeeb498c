"""What a repository's name claims, and the numbers in names that claim no size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcount.auditing.claimed import claims_in_name
from hfcount.conventions import parse_figure

NOMINAL = "(nominal, from the name)"


def said(model: str) -> list[tuple[str, str, float | None]]:
    """(figure, kind without its ending, value) of each claim."""
    return [(claim.claim, claim.kind.removesuffix(f" {NOMINAL}"), claim.approx) for claim in claims_in_name(model)]


@pytest.mark.parametrize(
    ("model", "figure", "value"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "0.5B", 0.5e9),
        ("Qwen/Qwen1.5-1.8B", "1.8B", 1.8e9),
        ("meta-llama/Llama-3.1-8B", "8B", 8e9),
        ("meta-llama/Llama-3_1-8B", "8B", 8e9),
        ("facebook/opt-350m", "350m", 350e6),
        ("facebook/opt-6.7b", "6.7b", 6.7e9),
        ("google/gemma-2-2b-it", "2b", 2e9),
        ("google-t5/t5-11b", "11b", 11e9),
        ("EleutherAI/pythia-70m-deduped", "70m", 70e6),
        ("facebook/nllb-200-distilled-600M", "600M", 600e6),
        ("facebook/m2m100_418M", "418M", 418e6),
        ("facebook/esm2_t33_650M_UR50D", "650M", 650e6),
        ("openlm-research/open_llama_3b_v2", "3b", 3e9),
        ("bigscience/bloom-1b7", "1.7B", 1.7e9),
        ("stabilityai/stablelm-2-1_6b", "1.6b", 1.6e9),
        ("stabilityai/stablelm-2-zephyr-1_6b", "1.6b", 1.6e9),
        ("Salesforce/codegen2-3_7B_P", "3.7B", 3.7e9),
        ("someone/Qwen2_5_7B", "7B", 7e9),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "7B", 7e9),
        ("unsloth/llama-3-8b-bnb-4bit", "8b", 8e9),
        ("someone/Llama-3.2-1B-Instruct-Q4_K_M-GGUF", "1B", 1e9),
        ("Qwen/Qwen2.5-7B-Instruct-1M", "7B", 7e9),  # a context of a million
        ("TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T", "1.1B", 1.1e9),
        ("TinyLlama/TinyLlama-1.1B-step-50K-105b", "1.1B", 1.1e9),  # 105 billion tokens
        ("state-spaces/mamba2-8b-3t-4k", "8b", 8e9),
        ("stabilityai/stablelm-3b-4e1t", "3b", 3e9),  # four epochs of 10^12 tokens
        ("togethercomputer/Llama-2-7B-32K", "7B", 7e9),
        ("allenai/OLMo-2-0425-1B", "1B", 1e9),
        ("CausalLM/14B", "14B", 14e9),
        ("/home/me/models/llama-7b-4k/", "7b", 7e9),
        ("C:\\models\\Qwen2.5-3B", "3B", 3e9),
    ],
)
def test_total(model: str, figure: str, value: float) -> None:
    assert said(model) == [(figure, "total", value)]


@pytest.mark.parametrize(
    ("model", "claims"),
    [
        ("Qwen/Qwen3-30B-A3B", [("30B", "total", 30e9), ("3B", "active", 3e9)]),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", [("235B", "total", 235e9), ("22B", "active", 22e9)]),
        ("Qwen/Qwen1.5-MoE-A2.7B", [("2.7B", "active", 2.7e9)]),
        ("ibm-granite/granite-3.0-1b-a400m-base", [("1b", "total", 1e9), ("400m", "active", 400e6)]),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", [("17B", "active", 17e9)]),
        ("allenai/OLMoE-1B-7B-0924", [("7B", "total", 7e9), ("1B", "active", 1e9)]),
        ("google/gemma-3n-E4B-it", [("4B", "effective", 4e9)]),
    ],
)
def test_active_and_effective(model: str, claims: list[tuple[str, str, float]]) -> None:
    assert said(model) == claims


@pytest.mark.parametrize(
    ("model", "figure", "experts", "each"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "8x7B", 8, 7_000_000_000),
        ("mistralai/Mixtral-8x22B-v0.1", "8x22B", 8, 22_000_000_000),
        ("someone/Moe-4X0.6B", "4X0.6B", 4, 600_000_000),
    ],
)
def test_experts_times_their_size_are_no_sum(model: str, figure: str, experts: int, each: int) -> None:
    (claim,) = claims_in_name(model)
    assert (claim.claim, claim.value, claim.approx) == (figure, None, None)
    assert claim.details == {"experts": experts, "each": each}


def test_the_number_of_experts_stands_beside_the_active_size() -> None:
    (claim,) = claims_in_name("meta-llama/Llama-4-Maverick-17B-128E-Instruct")
    assert claim.details == {"experts": 128}
    assert claim.source == "the repository's name"


@pytest.mark.parametrize(
    "model",
    [
        "openai-community/gpt2",
        "google-bert/bert-base-uncased",
        "microsoft/Phi-3-mini-4k-instruct",
        "microsoft/Phi-3-mini-128k-instruct",
        "openai/clip-vit-large-patch14-336",
        "openai/whisper-large-v3",
        "BAAI/bge-m3",
        "stabilityai/stable-diffusion-2-1",
        "bigscience/bloom",
        "mistralai/Mistral-Large-Instruct-2407",
        "someone/model-4bit",
        "someone/model-8-bit-int4-w4a16-fp8-bf16-GPTQ",
        "someone/model-q4_k_m",
        "someone/model-v0.1",
        "someone/model-4.0bpw-exl2",
        "facebook/wav2vec2-large-960h",
        "facebook/metaclip-b32-400m",  # 400 million pairs
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "LargeWorldModel/LWM-Text-1M",
        "someone/gpt2-babylm-100M",
        "someone/chess-16M-games",
        "someone/llama-3_8b",  # Llama 3, 8B, or 3.8B
        "someone/Llama-70B-to-8B",
        "someone/TinyLlama-1.1B-Chat-v1.0-x2-MoE",
        "someone/0B",
        "",
        "/",
    ],
)
def test_nothing_is_claimed(model: str) -> None:
    assert claims_in_name(model) == ()


@given(st.text(max_size=400))
def test_any_name_is_read(name: str) -> None:
    for claim in claims_in_name(name):
        assert claim.kind.endswith(NOMINAL)
        assert claim.approx is None or parse_figure(claim.claim).value == claim.approx


@given(
    st.from_regex(r"[A-Z][a-z]{2,8}", fullmatch=True).filter(lambda word: "moe" not in word.lower()),
    st.integers(1, 999),
    st.sampled_from("bB"),
    st.sampled_from(["", "-it", "-Instruct-GGUF", "-4bit", "-2407", "-128k", "-v0.1"]),
)
def test_a_size_is_found_between_other_words(family: str, billions: int, unit: str, ending: str) -> None:
    assert said(f"owner/{family}-{billions}{unit}{ending}") == [(f"{billions}{unit}", "total", billions * 1e9)]
