"""Every number that five documents on counting parameters by hand state: it holds, or the document is wrong and why.

A row names the document and the figure as it prints it, what the house computes for it, and the verdict. Rows that
hold are compared with the printed figure to its printed precision. Rows that do not must differ from it, and equal the
right figure, which is worked out in the row independently of the code it is held against. What is no parameter count (cache
sizes of a laptop's processor) is left out.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from hfcount.api import Count, count
from hfcount.conventions import parse_figure
from hfcount.errors import BadInput

LAB02 = "Lab 02, parameter inventory"
LAYERS = "Mini-GPT parameter count, derived layer by layer"
MICRO = "microgpt: model parameters"
GUIDE = "Manual parameter calculation guide (nanochat)"
LORA = "LoRA lab 01"


@functools.cache
def counted(
    card: str, settings: tuple[tuple[str, object], ...] = (), r: int = 0, targets: str = "all-linear"
) -> Count:
    return count(f"card:{card}", settings=dict(settings), lora_r=(r,) if r else (), lora_targets=targets)


def total(card: str, **settings: object) -> int:
    return counted(card, tuple(settings.items())).sizes.total


def adds(card: str, **settings: object) -> int:
    """What a change of the config adds to the card."""
    return total(card, **settings) - total(card)


def part(card: str, *components: str, layer: int | None = None, **settings: object) -> int:
    """Parameters of components, of one layer where `layer` says so."""
    table = counted(card, tuple(settings.items())).table
    rows = table[table["component"].isin(components)] if components else table
    return int((rows if layer is None else rows[rows["layer"] == layer])["numel"].sum())


def matrices(card: str) -> int:
    """Parameters of the matrices of one layer."""
    table = counted(card).table
    rows = table[(table["layer"] == 0) & table["shape"].map(len).eq(2)]
    return int(rows["numel"].sum())


def adapters(targets: str, r: int = 8) -> int:
    """What LoRA trains in mini-gpt-lora-lab, PEFT's own adapters counted."""
    row = counted("mini-gpt-lora-lab", (), r, targets).lora[0]
    assert row.trainable is not None
    return row.trainable


def share_trained(card: str) -> float:
    """Of the attention's parameters, what LoRA r = 8 on all of its matrices trains."""
    trainable = counted(card, (), 8, "attention").lora[0].trainable
    assert trainable is not None
    return trainable / part(card, "attention")


def nf4_scale_bytes() -> float:
    """Bytes of scales a weight that bitsandbytes really keeps for NF4 with blocks of 64."""
    import torch
    from bitsandbytes.functional import quantize_4bit

    _, state = quantize_4bit(torch.ones(64 * 64), blocksize=64, quant_type="nf4")
    return state.absmax.nbytes / (64 * 64)


def rule(layers: int, d: int, *, V: int = 0, T: int = 0) -> int:
    """The 12·L·d² rule, with embeddings of V tokens and T positions."""
    return 12 * layers * d * d + (V + T) * d


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of a document: `printed` as it stands (a number for shares), `computed` by the house, and what is so.

    `wrong` is None where the figure holds; else why it does not, and `right` is what it should be.
    """

    document: str
    printed: str | float
    computed: Callable[[], float]
    wrong: str | None = None
    right: float | None = None
    within: float = 0.0


def holds(document: str, printed: str | float, computed: Callable[[], float], within: float = 0.0) -> Row:
    return Row(document, printed, computed, within=within)


def wrong(document: str, printed: str | float, computed: Callable[[], float], right: float, why: str) -> Row:
    return Row(document, printed, computed, wrong=why, right=right)


ROWS = [
    # Lab 02: d 64, L 2, f 256, V 64, LayerNorm with scale and shift, MLP biases, tied
    holds(LAB02, "103,680", lambda: total("mini-gpt-lab02")),
    holds(LAB02, "4,096", lambda: part("mini-gpt-lab02", "token_embedding")),
    holds(LAB02, "16,384", lambda: part("mini-gpt-lab02", "attention", layer=0)),
    holds(LAB02, "33,088", lambda: part("mini-gpt-lab02", "mlp", layer=1)),
    holds(LAB02, "32,768", lambda: part("mini-gpt-lab02", "mlp", layer=0) - 256 - 64),
    holds(LAB02, "256", lambda: part("mini-gpt-lab02", "norm", layer=0)),
    holds(LAB02, "49,728", lambda: part("mini-gpt-lab02", layer=0)),
    holds(LAB02, "99,456", lambda: part("mini-gpt-lab02", layer=0) + part("mini-gpt-lab02", layer=1)),
    holds(LAB02, "128", lambda: part("mini-gpt-lab02", "norm") - 2 * 256),
    wrong(LAB02, "57K", lambda: total("mini-gpt-lab02"), 64 * 64 + 2 * (12 * 64**2 + 256 + 64 + 4 * 64) + 2 * 64,
          "leaving out MLP biases and LayerNorms explains 1,280 of the missing 46,680, not all of it"),
    holds(LAB02, "+512", lambda: adds("mini-gpt-lab02", attention_bias=True, attention_output_bias=True)),
    wrong(LAB02, "+512", lambda: adds("mini-gpt-lab02", attention_bias=True), 3 * 64 * 2,
          "the text speaks of query, key and value: 3·d·L; 4·d·L is with the output projection"),
    holds(LAB02, "4096", lambda: adds("mini-gpt-lab02", tie_word_embeddings=False)),
    wrong(LAB02, 0.64, lambda: part("mini-gpt-lab02", "mlp", layer=0) / part("mini-gpt-lab02", layer=0), 33_088 / 49_728,
          "the MLP is 66.5 % of a block; 64 % is its share of the total"),
    holds(LAB02, 0.64, lambda: part("mini-gpt-lab02", "mlp") / total("mini-gpt-lab02"), within=0.005),
    wrong(LAB02, "117M", lambda: total("gpt2"), 50_257 * 768 + 1_024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768,
          "not whether tied embeddings are counted: without them 85,056,000, with the head again 163,037,184"),
    holds(LAB02, "799,488", lambda: total("mini-gpt-medium")),
    holds(LAB02, "4,749,312", lambda: total("mini-gpt-large")),
    # Layer by layer: V 512, d 64, L 2, f 256, RMSNorm, no biases, tied
    holds(LAYERS, "131,392", lambda: total("mini-gpt")),
    holds(LAYERS, "131K", lambda: total("mini-gpt")),
    holds(LAYERS, "32,768", lambda: part("mini-gpt", "token_embedding")),
    holds(LAYERS, "49,280", lambda: part("mini-gpt", layer=0)),
    holds(LAYERS, "49K", lambda: part("mini-gpt", layer=1)),
    holds(LAYERS, "98,560", lambda: part("mini-gpt", layer=0) + part("mini-gpt", layer=1)),
    holds(LAYERS, "16,384", lambda: part("mini-gpt", "attention", layer=0)),
    holds(LAYERS, "32,768", lambda: part("mini-gpt", "mlp", layer=0)),
    holds(LAYERS, "128", lambda: part("mini-gpt", "norm", layer=0)),
    holds(LAYERS, "64", lambda: part("mini-gpt", "norm") - 2 * 128),
    holds(LAYERS, "2,048", lambda: adds("mini-gpt", position_embedding="learned")),
    holds(LAYERS, "0", lambda: adds("mini-gpt", position_embedding="sinusoidal")),
    holds(LAYERS, "256", lambda: adds("mini-gpt", attention_bias=True, attention_output_bias=True) / 2),
    holds(LAYERS, "320", lambda: adds("mini-gpt", mlp_bias=True) / 2),
    holds(LAYERS, "32,768", lambda: adds("mini-gpt", tie_word_embeddings=False)),
    holds(LAYERS, 0.249, lambda: part("mini-gpt", "token_embedding") / total("mini-gpt"), within=0.0005),
    holds(LAYERS, 0.375, lambda: part("mini-gpt", layer=0) / total("mini-gpt"), within=0.0005),
    wrong(LAYERS, "50K", lambda: total("mini-gpt"), 512 * 64 + 2 * (12 * 64**2 + 2 * 64) + 64,
          "the document says so itself further down"),
    holds(LAYERS, "41,120", lambda: total("mini-gpt-small")),
    holds(LAYERS, "12,352", lambda: part("mini-gpt-small", layer=0)),
    holds(LAYERS, "24,704", lambda: part("mini-gpt-small", layer=0) * 2),
    holds(LAYERS, "8,192", lambda: part("mini-gpt-small", "mlp", layer=0)),
    wrong(LAYERS, "50K", lambda: total("mini-gpt-small"), 512 * 32 + 2 * (12 * 32**2 + 2 * 32) + 32,
          "41,120 is not about 50K either: 18 % below"),
    wrong(LAYERS, "131,136", lambda: total("mini-gpt"), 131_136 + 2 * 2 * 64,
          "not rounding: V·d + L·12d² + d leaves out the two norms of each block, 2·2·64 = 256"),
    holds(LAYERS, "85M", lambda: rule(12, 768)),
    wrong(LAYERS, "117M", lambda: total("gpt2"), 124_439_808, "as above; with the rule 31.7 % low, not within 30 %"),
    wrong(LAYERS, 0.30, lambda: 1 - rule(12, 768) / total("gpt2"), 1 - 84_934_656 / 124_439_808,
          "the rule is 31.7 % below GPT-2's real count; within 30 % only of the published 117M"),
    holds(LAYERS, "175B", lambda: rule(96, 12_288, V=50_257, T=2_048), within=0.01),
    wrong(LAYERS, "173B", lambda: rule(96, 12_288), 12 * 96 * 12_288**2, "173.9B: cut off and not rounded"),
    holds(LAYERS, "6.4B", lambda: rule(32, 4_096)),
    holds(LAYERS, 0.10, lambda: 1 - rule(32, 4_096) / total("llama-7b"), within=0.06),
    wrong(LAYERS, "0", lambda: part("llama-7b", "lm_head"), 32_000 * 4_096,
          "LLaMA does not tie its head: 131,072,000 parameters of its own"),
    holds(LAYERS, "131M", lambda: part("llama-7b", "lm_head")),
    wrong(LAYERS, "33M", lambda: 8_192 * 4_096, 33_554_432, "33.55M: cut off and not rounded"),
    holds(LAYERS, "524 KB", lambda: total("mini-gpt") * 4 / 1_000, within=0.004),
    holds(LAYERS, "262 KB", lambda: total("mini-gpt") * 2 / 1_000, within=0.004),
    wrong(LAYERS, 28.0, lambda: total("llama-7b") * 4 / 1e9, 6_738_415_616 * 4 / 1e9, "26.95 GB: 7B is the name, not the count"),
    wrong(LAYERS, 14.0, lambda: total("llama-7b") * 2 / 1e9, 6_738_415_616 * 2 / 1e9, "13.48 GB, for the same reason"),
    holds(LAYERS, "65,000", lambda: 4 * 8 * 32 * 64, within=0.01),
    holds(LAYERS, "4", lambda: part("t5-base", "attention") / 768**2 / 12 - 4 - 4),  # cross-attention, in d² a layer
    # microgpt: V 27, d 16, L 1, T 8
    holds(MICRO, "432", lambda: part("microgpt", "token_embedding")),
    holds(MICRO, "128", lambda: part("microgpt", "position_embedding")),
    holds(MICRO, "768", lambda: part("microgpt", "attention") - 16 * 16),
    holds(MICRO, "1024", lambda: part("microgpt", "mlp") / 2),
    holds(MICRO, "432", lambda: part("microgpt", "lm_head")),
    wrong(MICRO, "4,000", lambda: total("microgpt"), 2 * 27 * 16 + 8 * 16 + 12 * 16**2, "its own column adds up to 4,064"),
    # nanochat: d = 64·depth, V 65,536, untied, no norm weights
    holds(GUIDE, "83,886,080", lambda: part("nanochat-d20", "token_embedding")),
    holds(GUIDE, "84M", lambda: part("nanochat-d20", "lm_head")),
    holds(GUIDE, "1,638,400", lambda: part("nanochat-d20", "attention", layer=0) / 4),
    holds(GUIDE, "6,553,600", lambda: part("nanochat-d20", "attention", layer=19)),
    holds(GUIDE, "13,107,200", lambda: part("nanochat-d20", "mlp", layer=0)),
    holds(GUIDE, "0", lambda: part("nanochat-d20", "norm")),
    holds(GUIDE, "19,660,800", lambda: part("nanochat-d20", layer=0)),
    holds(GUIDE, "393,216,000", lambda: counted("nanochat-d20").sizes.non_embedding),
    holds(GUIDE, "560,988,160", lambda: total("nanochat-d20")),
    holds(GUIDE, "0.56B", lambda: total("nanochat-d20")),
    holds(GUIDE, "561M", lambda: total("nanochat-d20")),
    holds(GUIDE, 0.150, lambda: part("nanochat-d20", "lm_head") / total("nanochat-d20"), within=0.0005),
    holds(GUIDE, 0.701, lambda: counted("nanochat-d20").sizes.non_embedding / total("nanochat-d20"), within=0.0005),
    holds(GUIDE, 0.30, lambda: 2 * part("nanochat-d20", "lm_head") / total("nanochat-d20"), within=0.005),
    wrong(GUIDE, "568M", lambda: total("nanochat-d20"), 2 * 65_536 * 1_280 + 20 * 12 * 1_280**2,
          "mental arithmetic with 20M for 19.66M a layer: 7M too high"),
    wrong(GUIDE, "36M", lambda: total("nanochat-d4"), 2 * 65_536 * 256 + 4 * 12 * 256**2, "36.7M: cut off and not rounded"),
    holds(GUIDE, "33,554,432", lambda: part("nanochat-d8", "token_embedding")),
    holds(GUIDE, "1,048,576", lambda: part("nanochat-d8", "attention", layer=0)),
    holds(GUIDE, "2,097,152", lambda: part("nanochat-d8", "mlp", layer=0)),
    holds(GUIDE, "3,145,728", lambda: part("nanochat-d8", layer=0)),
    holds(GUIDE, "25,165,824", lambda: counted("nanochat-d8").sizes.non_embedding),
    holds(GUIDE, "92.3M", lambda: total("nanochat-d8")),
    wrong(GUIDE, "203M", lambda: total("nanochat-d12"), 2 * 65_536 * 768 + 12 * 12 * 768**2,
          "its own formula gives 185.6M"),
    wrong(GUIDE, "1.05B", lambda: total("nanochat-d26"), 2 * 65_536 * 1_664 + 26 * 12 * 1_664**2,
          "its own formula gives 1.08B"),
    holds(GUIDE, "1.9B", lambda: total("nanochat-d32")),
    holds(GUIDE, "163,840", lambda: (part("nanochat-d20", "attention", layer=0, num_key_value_heads=1) - 2 * 1_280**2) / 2),
    holds(GUIDE, "3,604,480", lambda: part("nanochat-d20", "attention", layer=0, num_key_value_heads=1)),
    holds(GUIDE, 0.45, lambda: 1 - part("nanochat-d20", "attention", layer=0, num_key_value_heads=1) / 6_553_600, within=0.005),
    wrong(GUIDE, 0.25, lambda: 1 - part("nanochat-d20", "attention", layer=0, num_key_value_heads=1) / 6_553_600, 0.45,
          "its own problem 2 finds 45 %; 25 % is what half the key-value heads save"),
    holds(GUIDE, 0.25, lambda: 1 - part("nanochat-d20", "attention", layer=0, num_key_value_heads=5) / 6_553_600),
    wrong(GUIDE, "150K", lambda: adds("nanochat-d20", attention_bias=True, attention_output_bias=True, mlp_bias=True),
          20 * (4 * 1_280 + 4 * 1_280 + 1_280),
          "the first MLP matrix has 4d outputs: 230,400, not 1,280 · 6 · 20 = 153,600"),
    holds(GUIDE, "2", lambda: part("nanochat-d20", "mlp") / part("nanochat-d20", "attention")),
    holds(GUIDE, "560,988,160", lambda: 2 * 65_536 * 1_280 + 20 * (4 + 2 * 4) * 1_280**2),
    # LoRA lab: d 64, L 4, f 256; adapters on all Linears of the layers
    holds(LORA, "49,152", lambda: matrices("mini-gpt-lora-lab")),
    holds(LORA, "16384", lambda: part("mini-gpt-lora-lab", "attention", layer=0)),
    holds(LORA, "4096", lambda: adapters("attention") / 4),
    holds(LORA, "5120", lambda: adapters("mlp") / 4),
    holds(LORA, "2560", lambda: adapters("mlp") / 8),
    holds(LORA, "9216", lambda: adapters("all-linear") / 4),
    holds(LORA, 0.25, lambda: adapters("attention") / part("mini-gpt-lora-lab", "attention")),
    wrong(LORA, 8 / 64, lambda: adapters("attention") / part("mini-gpt-lora-lab", "attention"), 2 * 8 / 64,
          "on a square layer the share is 2r/d: r·(d + d) of d², where the document writes r/h"),
    wrong(LORA, 0.002, lambda: share_trained("llama-7b"), 8 * (4_096 + 4_096) / 4_096**2,
          "r/h at LLaMA's width is 0.2 %, but the share is 2r/d, 0.39 %"),
    holds(LORA, 0.0625, lambda: nf4_scale_bytes()),
    wrong(LORA, 0.0625, lambda: nf4_scale_bytes() / 2, 16 / 8 / 64,
          "one fp16 scale per 64 weights is 2/64 byte; 4/64 is an fp32 scale, which is what bitsandbytes keeps"),
]  # fmt: skip


def printed_value(printed: str | float) -> tuple[float, float, float]:
    """(the figure, the least and the greatest number that is printed so)."""
    if not isinstance(printed, str):
        return printed, printed, printed
    try:
        figure = parse_figure(printed.lstrip("+"))
    except BadInput:  # "524 KB", "16d²", "0"
        number = float("".join(each for each in printed if each.isascii() and (each.isdigit() or each == ".")))
        return number, number, number
    return figure.value, figure.low, figure.high


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.document}-{row.printed}")
def test_figure(row: Row) -> None:
    value, low, high = printed_value(row.printed)
    computed = row.computed()
    if row.wrong is None:
        slack = row.within * value if isinstance(row.printed, str) else row.within
        assert low - slack <= computed <= high + slack or math.isclose(computed, value), (
            f"{row.document} prints {row.printed}, computed {computed:,}: {computed - value:+,}"
        )
    else:
        assert row.right is not None
        assert math.isclose(computed, row.right), f"computed {computed:,}, by hand {row.right:,}"
        assert not low <= row.right <= high, f"{row.document} prints {row.printed}, which holds after all"
        assert len(row.wrong) > 20


GPT3 = [  # Brown et al. 2020, table 2.1: name, layers, width, published
    ("Small", 12, 768, 125e6), ("Medium", 24, 1024, 350e6), ("Large", 24, 1536, 760e6), ("XL", 24, 2048, 1.3e9),
    ("2.7B", 32, 2560, 2.7e9), ("6.7B", 32, 4096, 6.7e9), ("13B", 40, 5140, 13.0e9), ("175B", 96, 12288, 175.0e9),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layers", "d", "published"), GPT3)
def test_the_rule_is_not_within_5_percent_of_every_row_of_gpt3s_table(
    name: str, layers: int, d: int, published: float
) -> None:
    """12·L·d² alone is more than 5 % low in five of the eight rows; with the embeddings it is within 5 % in all."""
    alone = rule(layers, d) / published - 1
    whole = rule(layers, d, V=50_257, T=2_048) / published - 1
    assert (abs(alone) <= 0.05) == (name in ("6.7B", "13B", "175B")), f"{alone:+.1%}"
    assert abs(whole) <= 0.05, f"{whole:+.1%}"


def test_every_extracted_claim_of_the_labs_is_in_the_table() -> None:
    """The facts hold the labs' figures as claims; each of them is a row here."""
    facts = Path(__file__).resolve().parents[2] / "scripts" / "facts" / "lab_claims.json"
    rows = {printed_value(row.printed)[0] for row in ROWS}
    missing = []
    for claim in json.loads(facts.read_text(encoding="utf-8")):
        value = claim.get("value") or claim.get("approx") or claim.get("fraction") or claim.get("bytes_per_parameter")
        if value is None:
            value = float("".join(each for each in claim["claim"].split()[0] if each.isdigit()))
        if value not in rows and claim["kind"] != "activations (forward)":
            missing.append((claim["id"], claim["claim"], claim["kind"]))
    assert not missing
