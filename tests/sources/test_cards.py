"""The bundled model cards: complete, valid, found by name, and in step with the facts behind them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hfcount.errors import BadInput
from hfcount.sources.cards import aliases, card_folder, card_names, find_card, load_card
from hfcount.sources.claims import claims_in, front_matter

REPO = Path(__file__).resolve().parents[2]
CARDS = REPO / "model_cards"
FACTS = REPO / "scripts" / "facts"


def read_facts(name: str) -> Any:
    return json.loads((FACTS / f"{name}.json").read_text(encoding="utf-8"))


PUBLISHED = {fact["id"]: fact for fact in read_facts("configs")}
LABS = {fact["id"]: fact for fact in read_facts("minigpt")}
FACTS_BY_ID = PUBLISHED | LABS


@pytest.fixture(scope="module")
def build_cards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_cards", REPO / "scripts" / "build_cards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fronts() -> dict[str, dict[str, Any]]:
    """The front matter of each card on disk, as huggingface_hub reads it."""
    return {
        path.parent.relative_to(CARDS).as_posix(): ModelCard.load(path).data.to_dict()
        for path in sorted(CARDS.glob("*/*/README.md"))
    }


# --- the set of cards ---------------------------------------------------------------------------------


def test_there_is_a_card_for_every_fact_and_no_other() -> None:
    on_disk = {path.parent.relative_to(CARDS).as_posix() for path in CARDS.glob("*/*/config.json")}
    assert len(PUBLISHED) == 167
    assert len(LABS) == 13
    assert on_disk == FACTS_BY_ID.keys()
    assert card_names() == sorted(on_disk)


def test_the_cards_are_what_the_facts_give(build_cards: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_cards.main(["--check"]) == 0, capsys.readouterr().err


def test_check_names_what_differs_and_building_mends_it(
    build_cards: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "cards"
    build = ["--root", str(root)]
    assert build_cards.main(build) == 0
    (root / "openai-community/gpt2/config.json").write_text("{}")
    (root / "google-t5/t5-base/README.md").unlink()
    (root / "nobody/nothing").mkdir(parents=True)
    (root / "nobody/nothing/config.json").write_text("{}")

    assert build_cards.main([*build, "--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "stale: nobody/nothing/config.json",
        "missing: google-t5/t5-base/README.md",
        "differs: openai-community/gpt2/config.json",
    ]
    assert build_cards.main(build) == 0
    assert build_cards.main([*build, "--check"]) == 0
    assert not (root / "nobody").exists()


# --- front matter -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted(FACTS_BY_ID))
def test_front_matter(model: str, fronts: dict[str, dict[str, Any]]) -> None:
    """Valid to the Hub's own reader, says where the config comes from, and reads the same without it."""
    front, fact = fronts[model], FACTS_BY_ID[model]
    assert front["library_name"] == "transformers"
    assert fact["model_type"] in front["tags"]
    provenance = front["hfcount"]["provenance"]
    assert fact["confidence"].startswith(provenance["kind"])
    assert provenance["source"] == fact["source"]
    text = (CARDS / model / "README.md").read_text(encoding="utf-8")
    assert front_matter(text) == front
    assert ("**reconstructed**" in text) == (provenance["kind"] == "reconstructed")


def test_every_published_figure_of_a_model_with_a_card_stands_in_it() -> None:
    facts = read_facts("claims") + read_facts("lab_claims")
    assert len(read_facts("claims")) == 388
    wanted = Counter((f["id"], f["claim"], f["kind"], f["value"]) for f in facts if f["id"] in FACTS_BY_ID)
    found = Counter(
        (model, claim.claim, claim.kind, claim.value) for model in card_names() for claim in load_card(model).claims
    )
    assert found == wanted


def test_facts_hold_figures_and_sources_not_sentences() -> None:
    for claim in read_facts("claims") + read_facts("lab_claims"):
        assert "quoted" not in claim
        assert claim["source"], claim
        free_text = [claim["claim"], claim.get("note", ""), claim.get("method", "")]
        assert max(map(len, free_text)) <= 110, claim


def test_no_licence_is_invented(fronts: dict[str, dict[str, Any]]) -> None:
    licences = {model: front["license"] for model, front in fronts.items() if "license" in front}
    assert licences == dict.fromkeys(LABS, "apache-2.0")  # this project's own configs


# --- names --------------------------------------------------------------------------------------------


def test_index_and_front_matters_agree(fronts: dict[str, dict[str, Any]]) -> None:
    pairs = [(alias, model) for model, front in fronts.items() for alias in front["hfcount"]["aliases"]]
    twice = [alias for alias, times in Counter(alias for alias, _ in pairs).items() if times > 1]
    assert twice == []
    assert dict(pairs) == aliases()
    assert list(aliases()) == sorted(aliases())
    assert [alias for alias in aliases() if alias != alias.lower()] == []


@pytest.mark.parametrize("model", sorted(FACTS_BY_ID))
def test_a_card_is_found_by_its_id_and_by_its_repo_name_in_any_case(model: str) -> None:
    for name in (
        model,
        model.lower(),
        model.upper(),
        model.split("/")[1],
        f" {model.split('/')[1].lower()} ",
    ):
        assert find_card(name) == model


NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "gpt1": "openai-community/openai-gpt",
    "openai-gpt": "openai-community/openai-gpt",
    "distilgpt2": "distilbert/distilgpt2",
    "llama-7b": "huggyllama/llama-7b",
    "llama-65b": "huggyllama/llama-65b",
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "llama-2-13b": "meta-llama/Llama-2-13b-hf",
    "llama-3-8b": "meta-llama/Meta-Llama-3-8B",
    "llama-3-70b": "meta-llama/Meta-Llama-3-70B",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
    "llama-3.1-405b": "meta-llama/Llama-3.1-405B",
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B",
    "llama-3.3-70b": "meta-llama/Llama-3.3-70B-Instruct",
    "llama-4-scout": "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "mistral-7b": "mistralai/Mistral-7B-v0.1",
    "mixtral-8x7b": "mistralai/Mixtral-8x7B-v0.1",
    "mixtral-8x22b": "mistralai/Mixtral-8x22B-v0.1",
    "bert-base": "google-bert/bert-base-uncased",
    "bert-large": "google-bert/bert-large-uncased",
    "roberta-large": "FacebookAI/roberta-large",
    "t5-base": "google-t5/t5-base",
    "t5-3b": "google-t5/t5-3b",
    "flan-t5-xxl": "google/flan-t5-xxl",
    "opt-125m": "facebook/opt-125m",
    "bloom": "bigscience/bloom",
    "pythia-70m": "EleutherAI/pythia-70m",
    "gemma-2-9b": "google/gemma-2-9b",
    "gemma-3-4b": "google/gemma-3-4b-pt",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "phi-1.5": "microsoft/phi-1_5",
    "phi-3-mini": "microsoft/Phi-3-mini-4k-instruct",
    "whisper-tiny": "openai/whisper-tiny",
    "clip-vit-base-patch32": "openai/clip-vit-base-patch32",
    "vit-base": "google/vit-base-patch16-224",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "falcon-7b": "tiiuae/falcon-7b",
    "gpt-j-6b": "EleutherAI/gpt-j-6b",
    "gpt-neox-20b": "EleutherAI/gpt-neox-20b",
    "rwkv": "RWKV/rwkv-4-169m-pile",
    "mamba": "state-spaces/mamba-130m-hf",
    "smollm": "HuggingFaceTB/SmolLM-135M",
    "olmo": "allenai/OLMo-7B-hf",
    "starcoder": "bigcode/starcoder",
    "mini-gpt": "hfcount/mini-gpt",
    "nanochat-d20": "hfcount/nanochat-d20",
    "microgpt": "hfcount/microgpt",
}


@pytest.mark.parametrize(("name", "model"), NAMES.items())
def test_the_names_people_type(name: str, model: str) -> None:
    assert find_card(name) == model


@pytest.mark.parametrize(
    ("typed", "meant"), [("gtp2", "gpt2"), ("mixtral8x7b", "mixtral-8x7b"), ("bert-bse", "bert-base")]
)
def test_an_unknown_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    assert find_card(typed) is None
    with pytest.raises(BadInput, match=rf"no bundled model card is called '{typed}' \(nearest: .*{meant}"):
        load_card(typed)


@pytest.mark.parametrize("name", ["", "..", "../scripts/facts", "openai-community", "zzzzzzzzzz"])
def test_no_name_leads_out_of_the_cards(name: str) -> None:
    assert find_card(name) is None
    with pytest.raises(BadInput, match="no bundled model card"):
        card_folder(name)


# --- configs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted(PUBLISHED))
def test_transformers_reads_the_config(model: str) -> None:
    """The folder is one that AutoConfig takes, of an architecture that the installed transformers has."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(CARDS / model)
    assert config.model_type == PUBLISHED[model]["model_type"]
    for architecture in config.architectures:
        assert hasattr(transformers, architecture), f"{model}: no class {architecture}"


@pytest.mark.parametrize("model", sorted(FACTS_BY_ID))
def test_the_config_is_the_published_one(model: str) -> None:
    """Nothing is changed; a key may only be added where AutoConfig needs it, and the card says so."""
    source, fact = load_card(model), FACTS_BY_ID[model]
    assert (source.kind, source.model, source.location) == ("card", model, f"model_cards/{model}")
    added = source.config.keys() - fact["config"].keys()
    assert {key: source.config[key] for key in source.config if key not in added} == fact["config"]
    assert all(f"added here: {key}" in source.notes[0] for key in added)
    word = fact["confidence"].split()[0]
    assert word in source.notes[0]


def test_only_distilgpt2_needed_a_key() -> None:
    """Its copy is of 2019, when configs had no model_type."""
    added = {m for m in PUBLISHED if load_card(m).config.keys() != PUBLISHED[m]["config"].keys()}
    assert added == {"distilbert/distilgpt2"}


# --- the labs' models ---------------------------------------------------------------------------------

# Worked by hand from the labs' own shapes: embeddings + blocks + what follows, V·d + L·(...) + ...
BY_HAND = {
    "hfcount/mini-gpt": 512 * 64 + 2 * (4 * 64**2 + 2 * 64 * 256 + 2 * 64) + 64,
    "hfcount/mini-gpt-small": 512 * 32 + 2 * (4 * 32**2 + 2 * 32 * 128 + 2 * 32) + 32,
    "hfcount/mini-gpt-lab02": 64 * 64 + 2 * (4 * 64**2 + 2 * 64 * 256 + 256 + 64 + 4 * 64) + 2 * 64,
    "hfcount/mini-gpt-medium": 64 * 128 + 4 * (4 * 128**2 + 2 * 128 * 512 + 512 + 128 + 4 * 128) + 2 * 128,
    "hfcount/mini-gpt-large": 64 * 256 + 6 * (4 * 256**2 + 2 * 256 * 1024 + 1024 + 256 + 4 * 256) + 2 * 256,
    "hfcount/mini-gpt-lora-lab": 512 * 64 + 4 * (4 * 64**2 + 2 * 64 * 256 + 2 * 64) + 64,
    "hfcount/microgpt": 27 * 16 + 8 * 16 + 4 * 16**2 + 2 * 16 * 64 + 27 * 16,
    "hfcount/nanochat-d4": 2 * 65536 * 256 + 4 * 12 * 256**2,
    "hfcount/nanochat-d8": 2 * 65536 * 512 + 8 * 12 * 512**2,
    "hfcount/nanochat-d12": 2 * 65536 * 768 + 12 * 12 * 768**2,
    "hfcount/nanochat-d20": 2 * 65536 * 1280 + 20 * 12 * 1280**2,
    "hfcount/nanochat-d26": 2 * 65536 * 1664 + 26 * 12 * 1664**2,
    "hfcount/nanochat-d32": 2 * 65536 * 2048 + 32 * 12 * 2048**2,
}
PUBLISHED_BY_LABS = {
    "hfcount/mini-gpt": 131_392,
    "hfcount/mini-gpt-small": 41_120,
    "hfcount/mini-gpt-lab02": 103_680,
    "hfcount/nanochat-d20": 560_988_160,
}


def from_config(c: dict[str, Any]) -> int:
    """Parameters of a GPT with these fields, term by term.

    Embeddings V·d, learned positions T·d; a block has Q and O (d·d), K and V (d·k·d_h), a two-matrix MLP
    (2·d·f, biases f + d) and two norms; a final norm and an untied head follow. A LayerNorm has 2d, an
    RMSNorm d, a norm without weight 0.
    """
    V, d, L = c["vocab_size"], c["hidden_size"], c["num_hidden_layers"]
    f, h, k = c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"]
    assert not c["gated_mlp"]
    assert not c["attention_bias"]
    assert not c["attention_output_bias"]
    norm = {"layernorm": 2 * d, "rmsnorm": d, "rmsnorm-no-weight": 0}[c["norm"]]
    positions = c["max_position_embeddings"] * d if c["position_embedding"] == "learned" else 0
    attention = 2 * d * d + 2 * d * (k * (d // h))
    mlp = 2 * d * f + (f + d if c["mlp_bias"] else 0)
    head = 0 if c["tie_word_embeddings"] else V * d
    return V * d + positions + L * (attention + mlp + 2 * norm) + (norm if c["final_norm"] else 0) + head


@pytest.mark.parametrize("model", sorted(LABS))
def test_lab_configs_have_the_shapes_of_the_labs(model: str) -> None:
    counted, by_hand = from_config(dict(load_card(model).config)), BY_HAND[model]
    assert counted == by_hand, f"{model}: {counted:,} from the config, {by_hand:,} by hand, {counted - by_hand:+,}"
    if model in PUBLISHED_BY_LABS:
        printed = PUBLISHED_BY_LABS[model]
        assert by_hand == printed, f"{model}: {by_hand:,} by hand, {printed:,} printed, {by_hand - printed:+,}"


@pytest.mark.parametrize("depth", [4, 8, 12, 20, 26, 32])
def test_nanochat_grows_by_its_depth_alone(depth: int) -> None:
    """d = 64·depth and as many heads as need at most 128 each (nanochat's scripts/base_train.py)."""
    config = load_card(f"nanochat-d{depth}").config
    heads = {4: 2, 8: 4, 12: 6, 20: 10, 26: 13, 32: 16}[depth]
    assert (config["hidden_size"], config["num_hidden_layers"]) == (64 * depth, depth)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (heads, heads)


# --- the reader of front matters ----------------------------------------------------------------------


def test_a_claim_keeps_its_peft_configuration() -> None:
    printed = [claim for claim in load_card("bloom-560m").claims if "PEFT" in claim.kind]
    assert {claim.details["peft"]["peft_type"] for claim in printed} == {
        "PREFIX_TUNING",
        "LN_TUNING",
        "PROMPT_TUNING",
    }
    for claim in printed:
        assert claim.value is not None
        all_params = claim.details["all_params"]
        assert f"trainable params: {claim.value:,} || all params: {all_params:,}" in claim.claim


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("---\na: [1\n---\n", "R.md: the front matter is not valid YAML"),
        ("---\n- a\n---\n", "R.md: the front matter is a list, a mapping was expected"),
        ("---\nhfcount: 3\n---\n", "R.md: `hfcount:` is a int, a mapping was expected"),
        ("---\nhfcount: {claims: 3}\n---\n", "R.md: `hfcount: claims:` is a int, a list was expected"),
        (
            "---\nhfcount: {claims: [{value: 3}]}\n---\n",
            "R.md: claim 1: a mapping with a `claim` was expected",
        ),
        (
            "---\nhfcount: {claims: [{claim: 3, value: 3.5}]}\n---\n",
            "R.md: claim 1: `value` must be an integer",
        ),
        (
            "---\nhfcount: {claims: [{claim: 3, approx: x}]}\n---\n",
            "R.md: claim 1: `approx` must be a number",
        ),
    ],
)
def test_a_broken_front_matter_is_named(readme: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        claims_in(front_matter(readme, "R.md"), "R.md")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("readme", ["", "# A page\n", "---\n---\n", "---\nlicense: mit\n---\n# x", "a\n---\nb\n---\n"])
def test_a_card_without_claims_has_none(readme: str) -> None:
    assert claims_in(front_matter(readme)) == ()


def test_reading_a_card_imports_nothing_heavy() -> None:
    code = (
        "import sys; from hfcount.sources.cards import load_card; assert load_card('gpt2').claims;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}"
        " & {'torch', 'transformers', 'pandas', 'huggingface_hub', 'peft'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
