"""Gradients, optimizer state and master copies against a plain step: only what the loss reaches has any."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from conftest import load_script
from small_benches import bench_of, really, run_of, wished

import hfcount
from hfcount.budgeting import Way, described, lasting_budget
from hfcount.errors import BadInput
from hfcount.simulation.inputs import make_inputs
from hfcount.simulation.simulate import simulate
from hfcount.simulation.subject import materialize, skeleton_of

simulated = load_script("simulated_types")

UNREACHED = [
    ("sequence to sequence", "marian", "MarianMTModel"),
    ("causal LM", "marian", "MarianForCausalLM"),
    ("causal LM", "whisper", "WhisperForCausalLM"),
    ("image classification", "siglip", "SiglipForImageClassification"),
    ("image-text", "llava", "LlavaForConditionalGeneration"),
]
"""Positions that are computed, a decoder without an encoder, a head that is not asked, layers that are passed by."""


def small(model_type: str, model_class: str) -> Any:
    return simulated.bench_of(simulated.raw_config(model_type, model_class), "small")


def lasting(bench: Any, way: Way, regime: str) -> Any:
    rank = None if regime == "full" else 4
    return lasting_budget(bench, way, described(bench, way, regime, rank, "all-linear"), "all-linear")


def in_a_plain_step(bench: Any, seq: int, *, rank: int = 0) -> tuple[int, int]:
    """Bytes of the gradients and of AdamW's moments after one step of torch's own, with memory."""
    torch.manual_seed(0)
    subject = skeleton_of(bench, wished("fp32", rank=rank))
    materialize(subject)
    inputs = make_inputs(subject.base, batch=2, seq=seq)
    trained = [each for each in subject.model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    subject.model(**inputs).loss.backward()
    gradients = sum(each.grad.nbytes for each in trained if each.grad is not None)
    optimizer.step()
    return gradients, sum(state["exp_avg"].nbytes + state["exp_avg_sq"].nbytes for state in optimizer.state.values())


@pytest.mark.parametrize(("task", "model_type", "model_class"), UNREACHED, ids=lambda each: each.replace(" ", "-"))
def test_what_gets_no_gradient_has_no_state(task: str, model_type: str, model_class: str) -> None:
    bench = small(model_type, model_class)
    seq = 400 if task == "image-text" else 16
    way = Way(batch=2, seq=seq, precision="fp32", device="cpu")
    full = lasting(bench, way, "full")
    assert (full.gradients_bytes, full.optimizer_bytes) == in_a_plain_step(bench, seq)
    assert (full.gradients_bytes or 0) < 4 * bench.parameters
    lora = lasting(bench, way, "lora")
    assert (lora.gradients_bytes, lora.optimizer_bytes) == in_a_plain_step(bench, seq, rank=4)


def test_an_adapter_on_a_layer_whose_weight_is_read_past_it_has_no_gradient() -> None:
    """Jamba's mixer multiplies by dt_proj's weight itself."""
    bench = small("jamba", "JambaForCausalLM")
    way = Way(batch=2, seq=16, precision="fp32", device="cpu")
    lora = lasting(bench, way, "lora")
    assert (lora.gradients_bytes, lora.optimizer_bytes) == in_a_plain_step(bench, 16, rank=4)


def test_the_layers_in_the_middle_are_like_those_that_are_tried(tmp_path: Any) -> None:
    config = transformers.MarianConfig(
        d_model=32, encoder_layers=2, decoder_layers=9, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=96,
        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=32, num_hidden_layers=9,
        pad_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    bench = bench_of(tmp_path, config, "MarianForCausalLM")
    full = lasting(bench, Way(batch=2, seq=16, precision="fp32", device="cpu"), "full")
    assert (full.gradients_bytes, full.optimizer_bytes) == in_a_plain_step(bench, 16)


def test_what_is_left_out_is_named_and_what_could_not_be_tried_too(tmp_path: Any) -> None:
    config = transformers.MarianConfig(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=96,
        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=32, pad_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    bench_of(tmp_path, config, "MarianMTModel")
    found = hfcount.memory(str(tmp_path), regimes=("full",), seq=16, method="closed-form")
    (note,) = [each for each in found.notes if each.startswith("no gradient reaches")]
    assert note == (
        f"no gradient reaches {2 * 32 * 32:,} parameters in a step (model.encoder.embed_positions.weight, "
        "model.decoder.embed_positions.weight): no optimizer state"
    )
    series = transformers.PatchTSTConfig(num_hidden_layers=2, d_model=32, num_attention_heads=4, ffn_dim=48)
    bench_of(tmp_path, series, "PatchTSTForPrediction")
    found = hfcount.memory(str(tmp_path), regimes=("full",), seq=16)
    assert any(
        each.startswith("gradients and optimizer are counted for every trained parameter: no step could be tried")
        for each in found.notes
    )


BF16_LORA = [
    ("causal LM", "xglm", "XGLMForCausalLM"),
    ("sequence to sequence", "bart", "BartForConditionalGeneration"),
    ("sequence to sequence", "marian", "MarianMTModel"),
    ("causal LM", "granitemoe", "GraniteMoeForCausalLM"),
    ("causal LM", "qwen2_moe", "Qwen2MoeForCausalLM"),
    ("causal LM", "gpt_oss", "GptOssForCausalLM"),
]


@pytest.mark.parametrize(("task", "model_type", "model_class"), BF16_LORA, ids=lambda each: each.replace(" ", "-"))
def test_adapters_over_a_bf16_base_hold_what_they_really_hold(task: str, model_type: str, model_class: str) -> None:
    """Frozen experts keep no input; buffers that a class adds to its logits are in bf16 too."""
    bench = small(model_type, model_class)
    kind, run = wished("bf16", rank=4), run_of(batch=2)
    fake, real = simulate(bench, kind, run, whole=True), really(bench, kind, run)
    assert {phase: each.buckets for phase, each in fake.phases.items()} == {
        phase: each.buckets for phase, each in real.phases.items()
    }


@pytest.mark.parametrize(
    ("model_type", "model_class"), [(each[1], each[2]) for each in (*BF16_LORA[:3], ("", "dots1", "Dots1ForCausalLM"))]
)
def test_buffers_have_the_types_that_a_loaded_model_has(model_type: str, model_class: str, tmp_path: Any) -> None:
    bench = small(model_type, model_class)
    subject = skeleton_of(bench, wished("bf16"))
    type(bench.model)(bench.loaded.config).save_pretrained(tmp_path)
    loaded = type(bench.model).from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {name: each.dtype for name, each in subject.base.named_buffers()} == {
        name: each.dtype for name, each in loaded.named_buffers()
    }


def test_a_sound_is_as_long_as_it_was_asked_to_be() -> None:
    bench = small("wav2vec2", "Wav2Vec2ForCTC")
    assert tuple(make_inputs(bench.model, batch=2, seq=4000)["input_values"].shape) == (2, 4000)
    with pytest.raises(BadInput, match="--seq 399: a sound of fewer than 400 samples is too short"):
        make_inputs(bench.model, batch=1, seq=399)
    features = small("parakeet_ctc", "ParakeetForCTC")
    assert make_inputs(features.model, batch=2, seq=64)["input_features"].shape[:2] == (2, 64)


def test_the_least_sound_is_what_the_real_class_takes() -> None:
    bench = small("wav2vec2", "Wav2Vec2ForCTC")
    model = type(bench.model)(bench.loaded.config).eval()
    assert model(torch.zeros(1, 400)).logits.shape[1] == 1
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 399))


def test_the_sizes_of_images_and_sounds_are_printed(tmp_path: Any) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=2)
    bench_of(tmp_path, config, "ResNetForImageClassification")
    found = hfcount.memory(str(tmp_path), regimes=("full",), method="simulated", batch=2)
    assert found.inputs["pixel_values"] == (2, 3, 224, 224)
    assert any("an image without a size in the config is 224 wide" in each for each in found.notes)
    config = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=[16] * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    bench_of(tmp_path, config, "Wav2Vec2ForCTC")
    found = hfcount.memory(str(tmp_path), regimes=("full",))
    assert found.inputs["input_values"] == (1, 160_000)
    assert any("lasts 10 s" in each for each in found.notes)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_class_that_names_no_table_of_tokens_is_answered(checkpointing: bool, tmp_path: Any) -> None:
    text, vision = (
        {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    ) * 2
    for config, name in (
        (transformers.CLIPConfig(text_config={**text, "vocab_size": 99}, vision_config=vision), "CLIPModel"),
        (transformers.SiglipConfig(text_config={**text, "vocab_size": 99}, vision_config=vision), "SiglipModel"),
        (transformers.Wav2Vec2Config(**text), "Wav2Vec2Model"),
    ):
        bench = bench_of(tmp_path, config, name)
        how = {"regimes": ("full",), "gradient_checkpointing": checkpointing, "method": "closed-form"}
        found = hfcount.memory(str(tmp_path), **how)  # type: ignore[arg-type]
        assert found.full.weights_bytes == 2 * bench.parameters
        assert found.full.basis is not None
