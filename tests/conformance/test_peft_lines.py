"""Every published LoRA line in scripts/facts/claims.json, held against PEFT on our skeletons.

A line that the installed versions still give is asserted equal. The others are listed with their reason, and the
difference is asserted to the unit, so that a line which comes to reproduce again turns its test red.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import PreTrainedModel

from hfcount.configs import load_config
from hfcount.errors import BadInput
from hfcount.lora import LoraCount, LoraOptions, count_lora
from hfcount.skeleton import build_empty
from hfcount.sources import resolve

CLAIMS = json.loads((Path(__file__).parents[2] / "scripts" / "facts" / "claims.json").read_text(encoding="utf-8"))
PRINTED = [claim for claim in CLAIMS if claim["kind"] == "trainable (PEFT printed)"]
LORA_LINES = {(claim["id"], claim["value"]): claim for claim in PRINTED if claim["peft"]["peft_type"] == "LORA"}
ADAPTERS = [claim for claim in CLAIMS if claim["kind"] == "trainable (LoRA)"]
OTHER_METHODS = {
    "C3A", "HIRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "VERA",
}  # fmt: skip


def card(name: str, class_name: str | None = None, **fields: Any) -> Callable[[], PreTrainedModel]:
    """The skeleton of a bundled card, with some fields set and perhaps another class."""

    def build() -> PreTrainedModel:
        loaded = load_config(resolve(f"card:{name}"))
        for field, value in fields.items():
            setattr(loaded.config, field, value)
        model_class = getattr(transformers, class_name or loaded.raw["architectures"][0])
        return build_empty(model_class, loaded.config, where=name)

    return build


def made(class_name: str, **fields: Any) -> Callable[[], PreTrainedModel]:
    """The skeleton of a class from documented hyperparameters, for models without a card."""
    model_class = getattr(transformers, class_name)
    return lambda: build_empty(model_class, model_class.config_class(**fields), where=class_name)


def bert_cased(head: str, **fields: Any) -> Callable[[], PreTrainedModel]:
    """bert-base-cased: BERT-base with a vocabulary of 28,996 word pieces."""
    return made(f"BertFor{head}", vocab_size=28996, **fields)


def options(claim: dict[str, Any], **changes: Any) -> LoraOptions:
    """The published PEFT configuration of a line; PEFT's own default rank, 8, where it names none."""
    peft = claim["peft"]
    targets = peft.get("target_modules") or "default"
    asked = {
        "r": peft.get("r", 8),
        "targets": tuple(targets) if isinstance(targets, list) else targets,
        "modules_to_save": tuple(peft.get("modules_to_save") or ()),
        "use_dora": peft.get("use_dora", False),
        "bias": peft.get("bias", "none"),
    }
    return LoraOptions(**{**asked, **changes})


def count(build: Callable[[], PreTrainedModel], asked: LoraOptions) -> LoraCount:
    (result,) = count_lora(build, [asked])
    assert result.matches, f"closed form {result.formula_value} against {result.trainable} attached: {result.formula}"
    return result


QWEN_25_3B = card("Qwen/Qwen2.5-3B")  # Instruct is the same architecture
IDEFICS_9B = made(
    "IdeficsForVisionText2Text",
    additional_vocab_size=2,
    cross_layer_interval=4,
    use_resampler=True,
    qk_layer_norms=True,
    vision_config={"embed_dim": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120},
    perceiver_config={"use_resampler": True, "qk_layer_norms_perceiver": True},
)
VIT = card("google/vit-base-patch16-224-in21k", "ViTForImageClassification", num_labels=101)
MIT_B0 = made("SegformerForSemanticSegmentation", num_labels=150)
POOLFORMER_M36 = made(
    "PoolFormerForImageClassification", depths=[6, 6, 18, 6], hidden_sizes=[96, 192, 384, 768], num_labels=6
)
RENAMED = {"targets": ("q_proj", "v_proj")}  # query and value of the vision classes before transformers 5


@dataclass(frozen=True)
class Same:
    """A line that still holds; `changes` only bring names to what transformers calls them now."""

    model: str
    trainable: int
    build: Callable[[], PreTrainedModel]
    changes: dict[str, Any] | None = None


@dataclass(frozen=True)
class Differs:
    """A line that does not: what we count less what was printed, and why."""

    model: str
    trainable: int
    build: Callable[[], PreTrainedModel]
    trainable_delta: int
    all_delta: int
    reason: str
    changes: dict[str, Any] | None = None


SAME = (
    Same("facebook/opt-350m", 1_572_864, card("facebook/opt-350m")),
    Same("google-bert/bert-base-cased", 296_450, bert_cased("SequenceClassification", num_labels=2)),
    Same("google-bert/bert-base-cased", 301_833, bert_cased("TokenClassification", num_labels=9)),
    Same("google/gemma-2-2b", 3_199_488, card("google/gemma-2-2b", "Gemma2ForSequenceClassification", num_labels=2)),
    Same("google/vit-base-patch16-224-in21k", 589_824, VIT, RENAMED),
    Same("HuggingFaceM4/idefics-9b", 19_750_912, IDEFICS_9B),
    Same("mistralai/Mistral-7B-v0.1", 31_886_720, card("mistralai/Mistral-7B-v0.1", vocab_size=32_027)),
    Same("nvidia/mit-b0", 566_422, MIT_B0, RENAMED),
    Same("Qwen/Qwen2.5-3B-Instruct", 3_686_400, QWEN_25_3B),
    Same("Qwen/Qwen3-14B", 128_450_560, card("Qwen/Qwen3-14B")),
)

T5_TIES = "transformers 5 ties the LM head whatever the config says: less one V x d matrix"
IN_PLACE = "PEFT of 2023 trained the head in place; now it trains a copy, and all counts both"
DIFFERS = (
    Differs(
        "bigscience/mt0-large",
        2_359_296,
        made("MT5ForConditionalGeneration", vocab_size=250_112, d_model=1024, d_ff=2816, num_layers=24, num_heads=16),
        0,
        -250_112 * 1024,
        T5_TIES,
    ),
    Differs("google/flan-t5-large", 4_718_592, card("google/flan-t5-large"), 0, -32_128 * 1024, T5_TIES),
    Differs("google/flan-t5-xxl", 18_874_368, card("google/flan-t5-xxl"), 0, -32_128 * 4096, T5_TIES),
    Differs(
        "google-t5/t5-base",
        884_736,
        card("google-t5/t5-base"),
        0,
        -72 * 768,
        "the LoRA layer of March 2023 made a Linear with a bias, frozen, for each of 36 q and 36 v that had none",
    ),
    Differs(
        "FacebookAI/roberta-large",
        1_855_499,
        card("FacebookAI/roberta-large", "RobertaForTokenClassification", num_labels=11),
        0,
        11 * 1024 + 11,
        IN_PLACE,
    ),
    Differs(
        "microsoft/layoutlm-base-uncased",
        702_733,
        made("LayoutLMForTokenClassification", num_labels=13),
        0,
        13 * 768 + 13,
        IN_PLACE,
    ),
    Differs(
        "google/vit-base-patch16-224-in21k",
        667_493,
        VIT,
        0,
        101 * 768 + 101,
        IN_PLACE,
        RENAMED,
    ),
    Differs(
        "timm/poolformer_m36.sail_in1k",
        1_064_454,
        POOLFORMER_M36,
        0,
        6 * 768 + 6,
        "timm's class is not one of transformers; in transformers' PoolFormer with 6 labels fc1, fc2, head.fc are "
        "called conv1, conv2, classifier. " + IN_PLACE,
        {"targets": ("conv1", "conv2"), "modules_to_save": ("classifier",)},
    ),
    Differs(
        "google-bert/bert-base-cased",
        592_900,
        bert_cased("QuestionAnswering"),
        -(2 * 768 + 2),
        0,
        "PEFT of 2023 counted the head twice among the trainable, the original beside its copy, and once in all",
    ),
    Differs(
        "meta-llama/Llama-3.2-1B",
        44_826_624,
        card("meta-llama/Llama-3.2-1B"),
        16 * 96 * (2048 + 512 + 512 + 8192 + 8192 + 2048 + 8192) // 2,
        16 * 96 * (2048 + 512 + 512 + 8192 + 8192 + 2048 + 8192) // 2,
        "block-diagonal LoRA in two blocks: B of q, k, v, gate, up and A of o, down have half of their elements",
    ),
    Differs(
        "meta-llama/Meta-Llama-3-8B",
        22_347_776,
        card("meta-llama/Meta-Llama-3-8B"),
        0,
        32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) // 2,
        "an NF4 base whose packed bytes were counted as elements: half of the linear layers' weights",
    ),
)


def named(case: Same | Differs) -> str:
    return f"{case.model.rpartition('/')[2]}-{case.trainable}"


def decimals(figure: float) -> int:
    return len(str(figure).partition(".")[2])


@pytest.mark.parametrize("case", SAME, ids=named)
def test_line_reproduces(case: Same) -> None:
    claim = LORA_LINES[case.model, case.trainable]
    ours = count(case.build, options(claim, **(case.changes or {})))
    deltas = {"trainable": ours.trainable - claim["value"], "all": ours.all - claim["all_params"]}
    assert deltas == {"trainable": 0, "all": 0}, f"{ours} against {claim['claim']}"
    places = decimals(claim["trainable_pct"])
    assert ours.trainable_percent == pytest.approx(claim["trainable_pct"], abs=0.51 * 10.0**-places)


@pytest.mark.parametrize("case", DIFFERS, ids=named)
def test_line_differs_for_its_reason(case: Differs) -> None:
    claim = LORA_LINES[case.model, case.trainable]
    ours = count(case.build, options(claim, **(case.changes or {})))
    deltas = (ours.trainable - claim["value"], ours.all - claim["all_params"])
    assert deltas == (case.trainable_delta, case.all_delta), f"{ours} against {claim['claim']}; said: {case.reason}"
    assert deltas != (0, 0), "this line reproduces: move it to SAME"


@pytest.mark.parametrize("build", [VIT, MIT_B0], ids=["vit", "mit-b0"])
def test_published_names_of_vision_attention_are_gone(build: Callable[[], PreTrainedModel]) -> None:
    with pytest.raises(BadInput, match=r"query, value: no module has such a name.*q_proj"):
        count_lora(build, [LoraOptions(r=16, targets=("query", "value"))])


def test_mixtral_kappatune_chooses_its_targets_from_the_weights() -> None:
    """The targets were picked by the condition numbers of the trained weights, so only the base can be held."""
    claim = LORA_LINES["mistralai/Mixtral-8x7B-v0.1", 218_103_808]
    build = card("mistralai/Mixtral-8x7B-v0.1")
    base = count(build, LoraOptions(r=1, targets="attention"))
    assert base.all - base.trainable == claim["all_params"] - claim["value"] == 46_702_792_704
    (default,) = count_lora(build, [LoraOptions(r=8)])
    assert default.trainable is None
    assert "(q_proj, v_proj) attach nothing" in default.reason


def test_every_lora_line_is_listed() -> None:
    listed = {(case.model, case.trainable) for case in (*SAME, *DIFFERS)}
    elsewhere = {("mistralai/Mixtral-8x7B-v0.1", 218_103_808)}
    assert listed | elsewhere == set(LORA_LINES)
    assert len(listed) == len(SAME) + len(DIFFERS)


def test_other_methods_are_out_of_scope() -> None:
    """The remaining printed lines are of methods other than LoRA, which this program does not attach."""
    assert {claim["peft"]["peft_type"] for claim in PRINTED} - {"LORA"} == OTHER_METHODS


def gpt3(**fields: Any) -> Callable[[], PreTrainedModel]:
    return made("GPT2LMHeadModel", n_embd=12_288, n_layer=96, n_head=96, n_positions=2048, **fields)


# "query and value" of a GPT-2 is its fused c_attn: r·(d + 3d) there is 2·r·(d + d), the two apart.
ADAPTER_MODELS = {
    "FacebookAI/roberta-large": (card("FacebookAI/roberta-large"), "query,value"),
    "microsoft/deberta-v2-xxlarge": (
        made(
            "DebertaV2ForMaskedLM",
            hidden_size=1536,
            num_hidden_layers=48,
            num_attention_heads=24,
            intermediate_size=6144,
        ),
        "query_proj,value_proj",
    ),
    "openai-community/gpt2-medium": (card("openai-community/gpt2-medium"), "c_attn"),
    "openai-community/gpt2-large": (card("openai-community/gpt2-large"), "c_attn"),
    "openai/gpt-3-175b": (gpt3(), "c_attn"),
}
# Printed otherwise than the configuration gives, and by how much: the count less the figure.
NOT_AS_PRINTED = {
    ("openai-community/gpt2-medium", "0.35M"): 43_216,
    ("openai-community/gpt2-large", "0.77M"): -32_720,
    ("openai/gpt-3-175b", "18M"): 874_368,  # cut off, not rounded
}


@pytest.mark.parametrize("claim", ADAPTERS, ids=lambda claim: f"{claim['id'].rpartition('/')[2]}-{claim['claim']}")
def test_adapter_sizes_of_the_lora_paper(claim: dict[str, Any]) -> None:
    build, targets = ADAPTER_MODELS[claim["id"]]
    ours = count(build, LoraOptions(r=claim["lora"]["r"], targets=targets))
    assert ours.trainable == claim["lora"]["exact"]
    unit = 10 ** (6 - decimals(float(claim["claim"].removesuffix("M")))) if "." in claim["claim"] else 10**6
    off = ours.trainable - claim["approx"]
    expected = NOT_AS_PRINTED.get((claim["id"], claim["claim"]))
    assert (off if 2 * abs(off) > unit else None) == expected, f"{ours.trainable:,} printed as {claim['claim']}"
