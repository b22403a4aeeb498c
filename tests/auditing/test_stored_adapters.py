"""Adapters that PEFT itself saved, held against their configuration and base; and the same, spoilt."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
from safetensors import safe_open
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

from hfcount.auditing import stored_adapters
from hfcount.auditing.stored_adapters import judge_adapter
from hfcount.errors import OfflineError
from hfcount.sources.described import Described
from hfcount.sources.headers.checkpoint import Checkpoint, Entry
from hfcount.sources.headers.header import Header

LLAMA = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, pad_token_id=0, architectures=["LlamaForCausalLM"],
)  # fmt: skip
VIT = ViTConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_labels=3,
                image_size=32, architectures=["ViTForImageClassification"])  # fmt: skip
RAW = {"some/llama": LLAMA.to_dict(), "some/vit": VIT.to_dict()}
CAUSAL = {"task_type": "CAUSAL_LM"}


def causal(vocabulary: int = 64) -> PreTrainedModel:
    model = LlamaForCausalLM(copy.deepcopy(LLAMA))
    if vocabulary != 64:
        model.resize_token_embeddings(vocabulary)
    return model


def classifier() -> PreTrainedModel:
    return LlamaForSequenceClassification(LlamaConfig(**{**LLAMA.to_dict(), "num_labels": 7}))


def saved(model: PreTrainedModel, config: peft.PeftConfig, folder: Path, base: str = "some/llama") -> Described:
    """What PEFT writes of `model` with the adapters of `config`, as a repository that names `base`."""
    peft.get_peft_model(model, config).save_pretrained(str(folder))
    written = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    with safe_open(str(folder / "adapter_model.safetensors"), "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return repository({**written, "base_model_name_or_path": base}, shapes)


def repository(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Described:
    entries = tuple(
        Entry(name=name, shape=shape, parameters=0, stored_elements=0, nbytes=0, dtype="F32")
        for name, shape in shapes.items()
    )
    header = Header(format="safetensors", tensors=(), files=("adapter_model.safetensors",))
    return Described(
        model="somebody/adapter",
        where="hub",
        adapter_config=config,
        checkpoint=Checkpoint(header=header, entries=entries),
    )


def shapes_of(described: Described) -> dict[str, tuple[int, ...]]:
    assert described.checkpoint is not None
    return {entry.name: entry.shape for entry in described.checkpoint.entries}


METHODS = {
    "lora": (causal, peft.LoraConfig(**CAUSAL, r=4)),
    "all-linear, DoRA": (causal, peft.LoraConfig(**CAUSAL, r=4, use_dora=True, target_modules="all-linear")),
    "ranks": (causal, peft.LoraConfig(**CAUSAL, r=4, rank_pattern={"v_proj": 2})),
    "a pattern": (causal, peft.LoraConfig(**CAUSAL, r=4, target_modules=r".*\.1\.self_attn\.[qk]_proj")),
    "head of 7": (classifier, peft.LoraConfig(task_type="SEQ_CLS", r=4)),
    "resized": (lambda: causal(70), peft.LoraConfig(**CAUSAL, r=4, target_modules=["q_proj"],
                                                    modules_to_save=["embed_tokens", "lm_head"])),
    "prefix": (causal, peft.PrefixTuningConfig(**CAUSAL, num_virtual_tokens=5)),
    "projected prefix": (causal, peft.PrefixTuningConfig(**CAUSAL, num_virtual_tokens=5, prefix_projection=True,
                                                         encoder_hidden_size=16)),
    "p-tuning": (causal, peft.PromptEncoderConfig(**CAUSAL, num_virtual_tokens=5, encoder_hidden_size=8)),
    "prompt": (causal, peft.PromptTuningConfig(**CAUSAL, num_virtual_tokens=5)),
    "ia3": (causal, peft.IA3Config(**CAUSAL)),
    "vera": (causal, peft.VeraConfig(**CAUSAL, target_modules=["q_proj", "o_proj"])),
    "ln": (causal, peft.LNTuningConfig(**CAUSAL)),
    "adalora": (causal, peft.AdaLoraConfig(**CAUSAL, total_step=10)),
    "loha": (causal, peft.LoHaConfig(**CAUSAL, r=2, target_modules=["q_proj"])),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_what_peft_saved_is_what_is_expected(method: str, tmp_path: Path) -> None:
    build, config = METHODS[method]
    found = saved(build(), config, tmp_path)
    finding = judge_adapter(found, base_config=RAW.get)
    assert finding is not None
    assert (finding.verdict, finding.delta) == ("ok", 0), finding
    shapes = shapes_of(found)
    spoilt = {name: shape for name, shape in shapes.items() if name != max(shapes)}
    finding = judge_adapter(repository(found.adapter_config or {}, spoilt), base_config=RAW.get)
    assert finding is None if not spoilt else finding is not None and finding.verdict == "mismatch"


def test_embedding_layers_saved_beside_the_adapters(tmp_path: Path) -> None:
    config = peft.LoraConfig(**CAUSAL, r=4, target_modules=["q_proj", "embed_tokens"])
    finding = judge_adapter(saved(causal(), config, tmp_path), base_config=RAW.get)
    assert finding is not None
    assert (finding.verdict, finding.delta) == ("explained", 64 * 32), finding
    assert finding.convention == "saved with the embedding layers"


def test_names_from_before_they_were_renamed(tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    found = saved(ViTForImageClassification(VIT), config, tmp_path, "some/vit")
    old = {
        name.replace("vit.layers", "vit.encoder.layer").replace("attention.q_proj", "attention.attention.query")
        .replace("attention.v_proj", "attention.attention.value"): shape
        for name, shape in shapes_of(found).items()
    }  # fmt: skip
    told = {**(found.adapter_config or {}), "target_modules": ["query", "value"]}
    finding = judge_adapter(repository(told, old), base_config=RAW.get)
    assert finding is not None
    assert (finding.verdict, finding.convention, finding.delta) == ("explained", "modules renamed since", 0), finding


Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({f"{Q}.lora_A.weight": (8, 32)}, "of another shape"),
        ({f"{Q}.lora_A.weight": (4, 64)}, "of another shape"),
        ({"base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight": (4, 32)}, "unexpected"),
        ({"base_model.model.model.norm.weight": (32,)}, "unexpected"),
    ],
)
def test_what_differs_is_named(changes: dict[str, tuple[int, ...]], why: str, tmp_path: Path) -> None:
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4), tmp_path)
    finding = judge_adapter(
        repository(found.adapter_config or {}, {**shapes_of(found), **changes}), base_config=RAW.get
    )
    assert finding is not None
    assert finding.verdict == "mismatch"
    assert f"{why}: {next(iter(changes))}" in finding.explanation


def offline(name: str) -> None:
    raise OfflineError(f"{name}: offline")


@pytest.mark.parametrize("base_config", [None, offline, lambda name: None, lambda name: {"model_type": "unheard-of"}])
def test_without_its_base_an_adapter_is_held_against_itself(base_config: Any, tmp_path: Path) -> None:
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4, rank_pattern={"v_proj": 2}), tmp_path)
    finding = judge_adapter(found, base_config=base_config)
    assert finding is not None
    assert finding.verdict == "unverifiable"
    assert "4 adapted modules are as adapter_config.json says" in finding.explanation


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"r": 3}, "rank 4, and adapter_config.json says 3"),
        ({"rank_pattern": {"v_proj": 3}}, "says 3"),
        ({"target_modules": ["q_proj"]}, "v_proj is none of target_modules"),
        ({"target_modules": r".*\.q_proj"}, "v_proj is none of target_modules"),
    ],
)
def test_an_adapter_that_contradicts_itself_is_a_mismatch(told: dict[str, Any], why: str, tmp_path: Path) -> None:
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4), tmp_path)
    finding = judge_adapter(repository({**(found.adapter_config or {}), **told}, shapes_of(found)))
    assert finding is not None
    assert finding.verdict == "mismatch"
    assert why in finding.explanation


def test_half_a_pair_and_unequal_ranks(tmp_path: Path) -> None:
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4), tmp_path)
    shapes, config = shapes_of(found), found.adapter_config or {}
    half = {name: shape for name, shape in shapes.items() if name != f"{Q}.lora_B.weight"}
    for spoilt, why in ((half, "only one of A and B"), ({**shapes, f"{Q}.lora_B.weight": (32, 8)}, "rank 4, B 8")):
        finding = judge_adapter(repository(config, spoilt))
        assert finding is not None
        assert finding.verdict == "mismatch"
        assert why in finding.explanation


def test_patterns_that_are_none_are_no_crash(tmp_path: Path) -> None:
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4), tmp_path)
    for told in ({"rank_pattern": {"(": 4}}, {"target_modules": "("}, {"r": "x"}, {"target_modules": 7}):
        finding = judge_adapter(repository({**(found.adapter_config or {}), **told}, shapes_of(found)))
        assert finding is not None
        assert finding.verdict == "unverifiable"


def test_a_pattern_made_to_take_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_adapters, "PATTERN_SECONDS", 0.2)
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4), tmp_path)
    told = {**(found.adapter_config or {}), "target_modules": r"(.*a*)*(.*a*)*!"}
    finding = judge_adapter(repository(told, shapes_of(found)))
    assert finding is not None
    assert finding.verdict == "unverifiable"
    assert "take more than 0.2 s" in finding.explanation


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"peft_type": ["LORA"]},
        {"peft_type": "LORA", "target_modules": {"a": 1}},
        {"peft_type": "LORA", "target_modules": ["q_proj"], "modules_to_save": 5},
        {"peft_type": "LORA", "target_modules": ["q_proj"], "layer_replication": [[0, 10**9]]},
        {"peft_type": "LORA", "target_modules": ["q_proj"], "model_class": ["x"]},
        {"peft_type": "LORA", "target_modules": ["q_proj"], "task_type": ["x"]},
        {"peft_type": "LORA", "target_modules": ["q_proj"], "r": 10**30},
        {"peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 10**12},
        {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5},
    ],
)
def test_wild_configurations_are_no_crash(config: dict[str, Any]) -> None:
    told = {**config, "base_model_name_or_path": "some/llama"}
    finding = judge_adapter(repository(told, {f"{Q}.lora_A.weight": (4, 32)}), base_config=RAW.get)
    assert finding is not None
    assert finding.verdict in ("mismatch", "unverifiable")


def test_what_is_no_adapter_gets_no_finding(tmp_path: Path) -> None:
    found = saved(causal(), peft.LoraConfig(**CAUSAL, r=4), tmp_path)
    assert judge_adapter(dataclasses.replace(found, checkpoint=None)) is None
    assert judge_adapter(dataclasses.replace(found, adapter_config=None)) is None
