"""The traps that other tools fall into, each shown to be real, and the way round each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from accelerate import init_empty_weights

from hfcount.api import count
from hfcount.configs import load_config
from hfcount.errors import BadInput
from hfcount.inventory import inventory
from hfcount.skeleton import Skeleton, build_empty, build_skeleton
from hfcount.sources import resolve
from hfcount.sources.source import Source


def skeleton(card: str, *settings: str, class_name: str | None = None) -> Skeleton:
    return build_skeleton(load_config(resolve(f"card:{card}"), settings), class_name=class_name)


def distinct(model: torch.nn.Module) -> int:
    """Elements of all distinct parameters, counted without the house's code."""
    return sum(each.numel() for each in {id(each): each for each in model.parameters()}.values())


def from_source(config: dict) -> Skeleton:
    source = Source(model="lab/model", kind="folder", location=".", config=config)
    return build_skeleton(load_config(source))


def test_accelerates_default_flag_unties_and_ours_does_not() -> None:
    """GPT-2's own sizes: 163,037,184 with the default flag as it stands, 124,439,808 in truth."""
    config = transformers.GPT2Config()
    with init_empty_weights():
        untied = transformers.GPT2LMHeadModel(config)
    assert distinct(untied) == 163_037_184
    assert untied.num_parameters(exclude_embeddings=True) == 123_653_376
    ours = build_empty(transformers.GPT2LMHeadModel, config, where="gpt2")
    assert distinct(ours) == 124_439_808
    assert ours.num_parameters(exclude_embeddings=True) == 85_056_000


def test_the_same_for_llama_32_1b() -> None:
    """1,498,482,688 is the count with the head untied; shown on a small Llama, since the trap allocates for real."""
    assert distinct(skeleton("llama-3.2-1b").model) == 1_235_814_400
    assert distinct(skeleton("llama-3.2-1b", "tie_word_embeddings=false").model) == 1_498_482_688
    small = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        tie_word_embeddings=True,
    )  # fmt: skip
    with init_empty_weights():
        untied = transformers.LlamaForCausalLM(small)
    ours = build_empty(transformers.LlamaForCausalLM, small, where="llama")
    assert distinct(untied) - distinct(ours) == 1000 * 64


def test_t5_has_three_names_for_one_embedding() -> None:
    table = inventory(skeleton("t5-base").model)
    shared = table[table["name"] == "shared.weight"].iloc[0]
    assert set(shared["aliases"]) == {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    assert int(table["numel"].sum()) == 222_903_552


def test_opt_350m_ties_the_narrow_embedding() -> None:
    table = inventory(skeleton("opt-350m").model)
    tokens = table[table["component"] == "token_embedding"].iloc[0]
    assert tokens["shape"] == (50_272, 512)
    assert tokens["aliases"] == ("lm_head.weight",)
    assert int(table["numel"].sum()) == 331_196_416


def test_an_untied_model_has_a_head_of_its_own() -> None:
    result = count("card:llama-7b")
    assert result.sizes.lm_head == 32_000 * 4_096
    assert result.sizes.untied == result.sizes.total
    assert not any(result.table["aliases"].map(len))


def test_a_head_that_the_library_ties_against_the_config_is_reported() -> None:
    built = skeleton("flan-t5-base")
    assert built.published_untied
    assert any("tie_word_embeddings = false" in note for note in built.notes)
    result = count("card:flan-t5-base")
    assert (result.sizes.total, result.sizes.untied) == (222_903_552, 247_577_856)


@pytest.mark.parametrize(("card", "method"), [("gpt-oss-20b", "mxfp4"), ("deepseek-v3", "fp8")])
def test_a_packed_file_is_counted_unpacked_and_said_to_be_packed(card: str, method: str) -> None:
    built = skeleton(card)
    assert any(method in note for note in built.notes)
    assert distinct(built.model) == {"gpt-oss-20b": 20_914_757_184, "deepseek-v3": 671_026_404_352}[card]


def test_buffers_are_not_parameters() -> None:
    """RoPE's tables and the sinusoidal ones: in no count."""
    rope = count("card:mini-gpt")
    assert rope.sizes.buffers > 0
    assert rope.sizes.total == 131_392
    assert count("card:mini-gpt", settings={"position_embedding": "sinusoidal"}).sizes.total == 131_392


@pytest.mark.parametrize("card", ["gpt2", "deepseek-v3", "mini-gpt", "flan-t5-base", "clip-vit-base-patch32"])
def test_nothing_is_allocated(card: str) -> None:
    model = skeleton(card).model
    assert {each.device.type for each in model.parameters()} == {"meta"}
    assert {each.device.type for each in model.buffers()} <= {"meta"}


def test_a_legacy_constructor_is_emptied_too() -> None:
    """XLNet makes parameters with torch.FloatTensor(...), which no device context reaches."""
    model = build_empty(transformers.XLNetLMHeadModel, transformers.XLNetConfig(n_layer=2), where="xlnet")
    assert {each.device.type for each in model.parameters()} == {"meta"}


def test_671_billion_parameters_cost_little_memory() -> None:
    """A process that builds DeepSeek-V3 grows by far less than 2 GiB over its imports."""
    code = (
        "import resource, sys, json\n"
        "import transformers, torch, pandas, hfcount.minigpt\n"
        "from hfcount import count\n"
        "count('card:mini-gpt')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "total = count('card:deepseek-v3').sizes.total\n"
        "print(json.dumps([total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    total, grown_kib = json.loads(done.stdout)
    assert total == 671_026_404_352
    assert grown_kib < 2 * 1024**2


SMALL = {
    "model_type": "gpt2", "n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 16, "n_positions": 4,
}  # fmt: skip


def test_absent_architectures_mean_the_causal_head_and_it_is_said() -> None:
    built = from_source(SMALL)
    assert type(built.model).__name__ == "GPT2LMHeadModel"
    assert any("names no architecture" in note for note in built.notes)


def test_plural_architectures_mean_the_first_and_the_others_are_named() -> None:
    built = skeleton("bart-large")
    assert type(built.model).__name__ == "BartModel"
    assert any("BartForConditionalGeneration" in note for note in built.notes)


def test_another_class_on_demand() -> None:
    assert type(skeleton("gpt2", class_name="GPT2ForSequenceClassification").model).__name__.endswith("Classification")
    with pytest.raises(BadInput, match="LlamaConfig"):
        skeleton("gpt2", class_name="LlamaForCausalLM")


@pytest.mark.parametrize(
    ("card", "class_name"),
    [("gemma-3-4b-pt", "Gemma3ForCausalLM"), ("llama-4-scout-17b-16e-instruct", "Llama4ForCausalLM")],
)
def test_a_text_class_takes_the_nested_text_config(card: str, class_name: str) -> None:
    whole, text = count(f"card:{card}"), count(f"card:{card}", class_name=class_name)
    beside = whole.table["component"].isin(["vision", "projector"])
    assert text.sizes.total == whole.sizes.total - int(whole.table.loc[beside, "numel"].sum()) - _soft_norm(whole)


def _soft_norm(whole) -> int:
    """Gemma's projector has a norm, which is counted with the norms."""
    inside = whole.table["name"].str.contains("projector") & (whole.table["component"] == "norm")
    return int(whole.table.loc[inside, "numel"].sum())


FACTS = Path(__file__).resolve().parents[2] / "scripts" / "facts" / "configs.json"


@pytest.mark.slow
@pytest.mark.pinned
@pytest.mark.parametrize("fact", json.loads(FACTS.read_text(encoding="utf-8")), ids=lambda fact: fact["id"])
def test_every_published_config_is_counted_as_its_own_class_is(fact: dict) -> None:
    """The class named in the config, built by the test itself on the meta device."""
    config_class = transformers.CONFIG_MAPPING[fact["model_type"]]
    config = config_class.from_dict({k: v for k, v in fact["config"].items() if k != "quantization_config"})
    with torch.device("meta"):
        model = getattr(transformers, fact["architectures"][0])(config)
    model.tie_weights()
    assert count(f"card:{fact['id']}").sizes.total == distinct(model)
