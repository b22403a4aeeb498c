"""Printed lines without their configuration: what they prove, and what they do not."""

from __future__ import annotations

import pytest
from peft_models import described

from hfcount.auditing.peft_lines import KIND, judge_peft
from hfcount.sources.source import Claim

GPT2, LLAMA_3 = 124_439_808, 8_030_261_248
LLAMA_3_PACKED = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) // 2


def printed(trainable: int, everything: int, percent: str = "") -> Claim:
    tail = f" || trainable%: {percent}" if percent else ""
    return Claim(
        claim=f"trainable params: {trainable:,} || all params: {everything:,}{tail}", value=trainable, kind=KIND
    )


def test_one_usual_lora_alone_gives_it() -> None:
    """All linear layers of Llama-3-8B at r = 16: 16·32·(2·8192 + 2·5120 + 3·18432) = 41,943,040."""
    trainable = 16 * 32 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    finding = judge_peft(printed(trainable, LLAMA_3 + trainable, "0.5196"), described("meta-llama/Meta-Llama-3-8B"))
    assert finding.verdict == "explained"
    names = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    assert finding.convention == f"LoRA r = 16 on {names}"
    assert (finding.expected, finding.delta) == (trainable, 0)


def test_the_same_on_a_packed_base() -> None:
    trainable = 16 * 32 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    line = printed(trainable, LLAMA_3 - LLAMA_3_PACKED + trainable)
    finding = judge_peft(line, described("meta-llama/Meta-Llama-3-8B"))
    assert finding.verdict == "explained"
    assert finding.convention is not None
    assert finding.convention.endswith(", packed 4-bit elements")


def test_a_separate_head_is_part_of_the_base() -> None:
    """flan-t5-large before transformers 5: the base, its head of 32,128·1024, r = 16 on q and v of 72 attentions."""
    trainable = 144 * 16 * 2048
    line = printed(trainable, 787_868_672)
    finding = judge_peft(line, described("google/flan-t5-large"))
    assert finding.verdict == "unverifiable"
    assert "the model's count, separate LM head;" in finding.explanation
    assert "as well r = 16 on q, v as r = 8 on k, o, q, v gives" in finding.explanation


def test_several_usual_loras_prove_nothing() -> None:
    """GPT-2: 12·8·(768 + 2304) on c_attn is 12·2·((768 + 2304) + (768 + 768) + 2·(768 + 3072)) on all matrices."""
    finding = judge_peft(printed(294_912, GPT2 + 294_912), described("openai-community/gpt2"))
    assert (finding.verdict, finding.convention) == ("unverifiable", None)
    assert "r = 8 on c_attn as r = 2 on c_attn, c_fc, c_proj" in finding.explanation


def test_no_usual_lora_gives_it() -> None:
    finding = judge_peft(printed(1000, GPT2 + 1000), described("openai-community/gpt2"))
    assert finding.verdict == "unverifiable"
    assert "no usual LoRA gives 1,000" in finding.explanation


@pytest.mark.parametrize("off", [1, -1, 8, 294_912, -62_000_000])
def test_a_base_that_is_not_the_models_is_a_mismatch(off: int) -> None:
    finding = judge_peft(printed(294_912, GPT2 + 294_912 + off), described("openai-community/gpt2"))
    assert finding.verdict == "mismatch"
    assert f"{off:+,}" in finding.explanation


def test_a_wrong_percent_is_a_mismatch() -> None:
    finding = judge_peft(printed(294_912, GPT2 + 294_912, "0.2365"), described("openai-community/gpt2"))
    assert finding.verdict == "mismatch"
