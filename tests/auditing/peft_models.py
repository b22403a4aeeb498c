"""The models and claims that the tests of PEFT's lines hold: cards, and documented configs of models without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hfcount.sources.cards import card_names, load_card
from hfcount.sources.claims import claims_in
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

FACTS = Path(__file__).parents[2] / "scripts" / "facts"

WITHOUT_CARD: dict[str, dict[str, Any]] = {
    "FacebookAI/roberta-base": {"model_type": "roberta", "vocab_size": 50_265, "max_position_embeddings": 514,
                                "type_vocab_size": 1},
    "bigscience/mt0-large": {"model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"],
                             "vocab_size": 250_112, "d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16,
                             "tie_word_embeddings": False},
    "google-t5/t5-large": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 1024,
                           "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "google-bert/bert-base-cased": {"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 28_996},
    "microsoft/layoutlm-base-uncased": {"model_type": "layoutlm", "num_labels": 13},  # FUNSD's labels
    "nvidia/mit-b0": {"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"],
                      "num_labels": 150},
    "microsoft/deberta-v2-xxlarge": {"model_type": "deberta-v2", "architectures": ["DebertaV2ForMaskedLM"],
                                     "hidden_size": 1536, "num_hidden_layers": 48, "num_attention_heads": 24,
                                     "intermediate_size": 6144},
    "openai/gpt-3-175b": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 12_288, "n_layer": 96,
                          "n_head": 96, "n_positions": 2048},
}  # fmt: skip


def facts(name: str) -> list[tuple[str, Claim]]:
    """Every claim of a file of facts, with the model that it is about."""
    entries = json.loads((FACTS / name).read_text(encoding="utf-8"))
    claims = claims_in({"hfcount": {"claims": entries}}, name)
    return list(zip((entry["id"] for entry in entries), claims, strict=True))


CLAIMS = facts("claims.json")


def described(model: str) -> Described:
    """The model as its card has it, or its documented config; with all claims of the facts."""
    config = WITHOUT_CARD.get(model)
    if config is None and model in card_names():
        config = dict(load_card(model).config)
    return Described(
        model=model, where="card", config=config, claims=tuple(claim for name, claim in CLAIMS if name == model)
    )
