"""What a step was given, in every rendering: tokens are named only where there are tokens."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from rich.console import Console

import hfcount
from hfcount.app.views import budget
from hfcount.memory_answer import Memory
from hfcount.reports.given import given, symbols
from hfcount.reports.html import memory_page
from hfcount.reports.memory import memory_document, memory_markdown, memory_report

GIVEN = {
    "google/vit-base-patch16-224": ("8 × 1 image 224 × 224", {"pixel_values": [8, 3, 224, 224], "labels": [8]}),
    "openai/clip-vit-base-patch32": (
        "8 × 77 tokens and 1 image 224 × 224",
        {"input_ids": [8, 77], "pixel_values": [8, 3, 224, 224]},
    ),
    "openai/whisper-tiny": (
        "8 × 30 s of sound (3,000 frames) and 448 tokens decoded",
        {"input_features": [8, 80, 3000], "labels": [8, 448]},
    ),
    "gpt2": ("8 × 64 tokens", {"input_ids": [8, 64], "labels": [8, 64]}),
    "facebook/bart-base": ("8 × 64 tokens and 64 tokens decoded", {"input_ids": [8, 64], "labels": [8, 64]}),
}
"""Published: ViT's crop (arXiv 2010.11929), CLIP's 77 tokens (2103.00020), Whisper's 30 s of 80 x 3,000 and 448 tokens
(2212.04356)."""
SEQ = {"gpt2": 64, "facebook/bart-base": 64}


@functools.cache
def found(model: str, method: str = "simulated") -> Memory:
    return hfcount.memory(model, regimes=["full"], batch=8, seq=SEQ.get(model), method=method)


def renderings(answer: Memory) -> dict[str, str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(memory_report(answer))
    return {
        "terminal": console.file.getvalue(),  # type: ignore[attr-defined]
        "markdown": memory_markdown(answer),
        "page": memory_page(answer),
        "app": budget(json.loads(json.dumps(memory_document(answer)))),
        "plot": " ".join(each.get_text() for each in _texts(answer.plot())),
    }


def _texts(figure: Any) -> list[Any]:
    import matplotlib.text

    return list(figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("model", GIVEN)
def test_every_rendering_says_the_same(model: str) -> None:
    said, shapes = GIVEN[model]
    answer = found(model)
    assert memory_document(answer)["inputs"] == shapes
    for name, text in renderings(answer).items():
        assert said in text, name
        assert ("tokens" in text) == ("tokens" in said), name


@pytest.mark.parametrize("model", ["google/vit-base-patch16-224", "openai/whisper-tiny", "gpt2"])
def test_without_a_step_the_same_is_said(model: str) -> None:
    assert (
        given(8, found(model, "closed-form").inputs, encoder_decoder=model == "openai/whisper-tiny") == GIVEN[model][0]
    )


SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "name", "said"),
    [
        (
            transformers.Wav2Vec2Config(**SMALL, conv_dim=(16,) * 7, vocab_size=40),
            "Wav2Vec2ForCTC",
            "2 × 10 s of sound (160,000 samples)",
        ),
        (transformers.ASTConfig(**SMALL), "ASTForAudioClassification", "2 × 10.24 s of sound (1,024 frames)"),
        (
            transformers.VideoMAEConfig(**SMALL, image_size=32),
            "VideoMAEForVideoClassification",
            "2 × 1 video of 16 frames 32 × 32",
        ),
        (
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4),
            "ResNetForImageClassification",
            "2 × 1 image 224 × 224",
        ),
        (transformers.BertConfig(**SMALL), "BertForMultipleChoice", "2 × 4 × 512 tokens"),
    ],
)
def test_other_inputs(config: Any, name: str, said: str, tmp_path: Path) -> None:
    config.architectures = [name]
    config.save_pretrained(tmp_path)
    answer = hfcount.memory(str(tmp_path), regimes=["full"], batch=2)
    assert f"batch {said} · " in memory_markdown(answer)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"input_ids": (2, 300), "pixel_values": (128, 1176), "image_grid_thw": (2, 3)}, "1 image of 64 patches"),
        ({"input_ids": (2, 300), "pixel_values": (2, 5, 3, 336, 336)}, "1 image in 5 tiles 336 × 336"),
        ({"flattened_patches": (2, 2048, 770), "labels": (2, 10)}, "1 image of 2,048 patches"),
        ({"inputs": (2, 3, 224, 224)}, "1 image 224 × 224"),
        ({}, "2"),
    ],
)
def test_shapes_in_words(inputs: dict[str, tuple[int, ...]], said: str) -> None:
    assert given(2, inputs, encoder_decoder=False).endswith(said)


def test_what_a_forms_symbols_stand_for() -> None:
    assert symbols(1, {"input_ids": (1, 64)}, encoder_decoder=False) == "one row of s tokens, rank r"
    assert symbols(2, {"input_values": (2, 16_000)}, encoder_decoder=False) == "b rows of s samples, rank r"
    assert symbols(2, {"pixel_values": (2, 3, 224, 224)}, encoder_decoder=False) == "b rows, rank r"


def test_the_rule_of_tokens_is_not_said_of_images() -> None:
    images, words = (found(each).budgets[0] for each in ("google/vit-base-patch16-224", "gpt2"))
    assert "rule" not in images.flops
    assert images.activations_rule_bytes is None
    assert words.flops["rule"]
    assert words.activations_rule_bytes
