"""The closed forms give the counts that papers and model cards print, from the published config alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from family_witness import config_class

from hfcount.formulas import ClosedForm, closed_form

FACTS = Path(__file__).parents[2] / "scripts" / "facts"
CONFIGS = {
    entry["id"]: entry for name in ("configs.json", "minigpt.json") for entry in json.loads((FACTS / name).read_text())
}

PYTHIA = "Biderman et al. 2023, arXiv:2304.01373, table 1, and the model card"
GEMMA2 = "Gemma 2, arXiv:2408.00118, table 2"
HUB = "the total of the checkpoint's safetensors headers, as the Hub shows it"
PEFT = "PEFT's documentation prints all parameters and the trainable ones: the difference"

TOTALS = [
    ("openai-community/gpt2", 124_439_808, "the released weights (openai/gpt-2), causal masks left out"),
    ("openai-community/gpt2-large", 775_873_280 - 1_843_200, f"{PEFT} (PeftModelForCausalLM)"),
    ("EleutherAI/gpt-neox-20b", 20_554_567_680, "the model card's table of hyperparameters"),
    ("EleutherAI/pythia-14m", 14_067_712, "the model card"),
    ("EleutherAI/pythia-70m", 70_426_624, "the model card"),
    ("EleutherAI/pythia-160m", 162_322_944, "the model card"),
    ("EleutherAI/pythia-410m", 405_334_016, "the model card"),
    ("EleutherAI/pythia-1b", 1_011_781_632, "the model card"),
    ("EleutherAI/pythia-1.4b", 1_414_647_808, "the model card"),
    ("EleutherAI/pythia-6.9b", 6_857_302_016, "the model card"),
    ("facebook/opt-125m", 129_957_888 - 4_718_592, PEFT),
    ("facebook/opt-350m", 332_769_280 - 1_572_864, PEFT),
    ("bigscience/bloom", 176_247_271_424, "the model card"),
    ("bigscience/bloom-1b1", 1_065_314_304, "the model card"),
    ("bigscience/bloom-560m", 560_689_152 - 1_474_560, PEFT),
    ("meta-llama/Llama-2-7b-hf", 6_738_415_616, "recounted by its users from the released weights"),
    ("meta-llama/Llama-3.1-8B", 8_030_261_248, HUB),
    ("meta-llama/Llama-3.1-70B", 70_553_706_496, HUB),
    ("meta-llama/Llama-3.1-405B", 405_853_388_800, HUB),
    ("meta-llama/Llama-3.2-1B", 1_280_641_024 - 44_826_624, PEFT),
    ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704, HUB),
    ("Qwen/Qwen2-7B", 7_615_616_512, HUB),
    (
        "deepseek-ai/DeepSeek-V3",
        671_026_404_352,
        "DeepSeek-V3 without its MTP module; 671B in arXiv:2412.19437",
    ),
    (
        "google/flan-t5-base",
        222_903_552,
        "247,577,856 as published, with its own head: less 32,128 x 768",
    ),
    ("hfcount/mini-gpt", 131_392, "counted by hand in the course"),
    ("hfcount/mini-gpt-small", 41_120, "counted by hand in the course"),
    ("hfcount/mini-gpt-lab02", 103_680, "counted by hand in the course"),
    ("hfcount/mini-gpt-medium", 799_488, "counted by hand in the course"),
    ("hfcount/mini-gpt-large", 4_749_312, "counted by hand in the course"),
    ("hfcount/microgpt", 4_064, "counted by hand in the course"),
    ("hfcount/nanochat-d20", 560_988_160, "nanochat's own report of d20"),
]

PARTS = [
    ("EleutherAI/pythia-70m", "non-embedding", 18_915_328, PYTHIA),
    ("EleutherAI/pythia-160m", "non-embedding", 85_056_000, PYTHIA),
    ("EleutherAI/pythia-410m", "non-embedding", 302_311_424, PYTHIA),
    ("EleutherAI/pythia-1b", "non-embedding", 805_736_448, PYTHIA),
    ("EleutherAI/pythia-1.4b", "non-embedding", 1_208_602_624, PYTHIA),
    ("EleutherAI/pythia-6.9b", "non-embedding", 6_444_163_072, PYTHIA),
    ("google/gemma-2b", "non-embedding", 1_981_884_416, "Gemma, arXiv:2403.08295, table 2"),
    ("google/gemma-7b", "non-embedding", 7_751_248_896, "Gemma, arXiv:2403.08295, table 2"),
    ("google/gemma-2-2b", "non-embedding", 2_024_517_888, GEMMA2),
    ("google/gemma-2-9b", "non-embedding", 8_324_201_984, GEMMA2),
    ("google/gemma-2-27b", "non-embedding", 26_047_480_320, GEMMA2),
    ("bigscience/bloom", "embedding", 3_596_615_680, "the model card"),
    ("bigscience/bloom-1b1", "embedding", 385_351_680, "the model card"),
]


def form_of(model: str) -> ClosedForm:
    entry = CONFIGS[model]
    config = config_class(entry["model_type"]).from_dict(dict(entry["config"]))
    form = closed_form(config, entry["architectures"][0])
    assert form is not None
    return form


@pytest.mark.parametrize(("model", "published", "source"), TOTALS, ids=lambda value: str(value))
def test_total(model: str, published: int, source: str) -> None:
    value = form_of(model).value
    assert value == published, f"form {value:,}, {source} {published:,}: {value - published:+,}"


@pytest.mark.parametrize(("model", "part", "published", "source"), PARTS, ids=lambda value: str(value))
def test_part(model: str, part: str, published: int, source: str) -> None:
    """Embeddings alone, or all but token embedding, positions and LM head."""
    form = form_of(model)
    tables = {"token_embedding", "position_embedding", "lm_head"}
    embedding = sum(each.value for each in form.components if each.component in tables)
    value = embedding if part == "embedding" else form.value - embedding
    assert value == published, f"form {value:,}, {source} {published:,}: {value - published:+,}"
