"""Lab 02, parameter inventory: every parameter of a Mini-GPT counted, by the lab's names, against its closed form.

    python scripts/phase17_param_inventory.py [--out DIR]

writes into DIR (default: experiments/<date>-phase-17-param-inventory/, which is not committed)

    distribution.png    where the parameter mass lies, a horizontal bar per group
    notes.md            the derivation, every number in it computed by this script

The lab's own paths map to that folder: its notes (learners/.../phase-17/notes.md) are notes.md here, and its plot keeps
its name.

The closed form, derived (Vaswani et al. 2017, sections 3.1 to 3.4; LayerNorm: Ba et al. 2016, section 3):

1. The tied embedding has a row of d numbers for each of V tokens, and the LM head is its transpose: V·d.
2. Attention has four projections of d to d: 4d². With biases each adds d: +3d for query, key and value, +d for the output.
3. The MLP maps d to f and back, with biases: 2·d·f + f + d.
4. A LayerNorm has scale and shift: 2d; two a block, one at the end.
5. A block: 4d² + 2·d·f + f + d + 4d. The model: V·d + L·(4d² + 2·d·f + f + 5d) + 2d.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

LOCKED = 103_680
"""What lab 02 says that its locked configuration has."""


def inventory(model: PreTrainedModel) -> dict[str, int]:
    """Parameters of a MiniGPTForCausalLM by the lab's names, "block_0.attn.W_q"; each distinct parameter once.

    Raises ValueError for a parameter that the lab has no name for.
    """
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():  # a tied head appears once, as the embedding
        counts[lab_name(name)] = parameter.numel()
    return counts


_OUTSIDE = {
    "model.embed_tokens.weight": "E",
    "model.embed_positions.weight": "P",
    "lm_head.weight": "W_LM",
    "model.norm.weight": "ln_final.gamma",
    "model.norm.bias": "ln_final.beta",
}
_INSIDE = {
    **{f"self_attn.{p}_proj.weight": f"attn.W_{p}" for p in "qkvo"},
    **{f"self_attn.{p}_proj.bias": f"attn.b_{p}" for p in "qkvo"},
    "mlp.fc1.weight": "ffn.W_1",
    "mlp.fc1.bias": "ffn.b_1",
    "mlp.fc2.weight": "ffn.W_2",
    "mlp.fc2.bias": "ffn.b_2",
    **{f"mlp.{p}_proj.weight": f"ffn.W_{p}" for p in ("gate", "up", "down")},
    **{f"mlp.{p}_proj.bias": f"ffn.b_{p}" for p in ("gate", "up", "down")},
    "input_layernorm.weight": "ln1.gamma",
    "input_layernorm.bias": "ln1.beta",
    "post_attention_layernorm.weight": "ln2.gamma",
    "post_attention_layernorm.bias": "ln2.beta",
}


def lab_name(name: str) -> str:
    """The lab's name of the parameter that the model calls `name`.

    >>> lab_name("model.layers.1.self_attn.q_proj.weight")
    'block_1.attn.W_q'
    """
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, _, index, rest = name.split(".", 3)
    if rest not in _INSIDE:
        raise ValueError(f"lab 02 has no name for {name}")
    return f"block_{index}.{_INSIDE[rest]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """The lab's integers, and which projections of the attention have biases."""

    V: int = 64
    d: int = 64
    L: int = 2
    f: int = 256
    h: int = 4
    bias_qkv: bool = False
    bias_output: bool = False


def block(sizes: Sizes) -> dict[str, int]:
    """Parameters of one block: attention, FFN and its two LayerNorms (steps 2 to 4)."""
    d, f = sizes.d, sizes.f
    biases = (3 * d if sizes.bias_qkv else 0) + (d if sizes.bias_output else 0)
    return {"attention": 4 * d * d + biases, "FFN": 2 * d * f + f + d, "LayerNorms": 4 * d}


def closed_form(sizes: Sizes) -> int:
    """Parameters of the whole model (step 5)."""
    return sizes.V * sizes.d + sizes.L * sum(block(sizes).values()) + 2 * sizes.d


def build(sizes: Sizes) -> PreTrainedModel:
    """The Mini-GPT of these sizes: LayerNorm, biases in the FFN, tied embedding, empty."""
    from accelerate import init_empty_weights

    from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM

    config = MiniGPTConfig(
        vocab_size=sizes.V,
        hidden_size=sizes.d,
        num_hidden_layers=sizes.L,
        num_attention_heads=sizes.h,
        intermediate_size=sizes.f,
        norm="layernorm",
        mlp_bias=True,
        attention_bias=sizes.bias_qkv,
        attention_output_bias=sizes.bias_output,
        tie_word_embeddings=True,
    )
    with init_empty_weights(include_buffers=True):
        model = MiniGPTForCausalLM(config)
    model.tie_weights()
    return model


def checked(sizes: Sizes) -> int:
    """The count of the built model, after it has been held against the closed form; AssertionError if they differ."""
    counted = sum(inventory(build(sizes)).values())
    assert counted == closed_form(sizes), f"counted {counted:,}, closed form {closed_form(sizes):,}"
    return counted


VARIANTS = {
    "Mini-GPT (locked)": Sizes(),
    "Mini-GPT-medium": Sizes(d=128, L=4, f=512),
    "Mini-GPT-large": Sizes(d=256, L=6, f=1024),
}


def groups(model: PreTrainedModel) -> dict[str, int]:
    """The inventory summed into the lab's groups: embedding, three a block, the final LayerNorm."""
    parts = {"attn": "attention", "ffn": "FFN", "ln1": "LayerNorms", "ln2": "LayerNorms"}
    sums: dict[str, int] = {}
    for name, count in inventory(model).items():
        place, _, rest = name.partition(".")
        if place.startswith("block_"):
            group = f"{place.replace('_', ' ')} {parts[rest.split('.')[0]]}"
        else:
            group = {"E": "embedding (tied)", "P": "positions", "W_LM": "LM head"}.get(place, "final LayerNorm")
        sums[group] = sums.get(group, 0) + count
    return dict(sorted(sums.items(), key=lambda item: (item[0] == "final LayerNorm", "block" in item[0])))


def distribution(model: PreTrainedModel) -> Figure:
    """A horizontal bar for each of the lab's groups, its exact count and share at the end."""
    from matplotlib.figure import Figure

    colors = {"attention": "#009E73", "FFN": "#CC79A7", "LayerNorms": "#56B4E9", "LayerNorm": "#56B4E9"}
    sums = groups(model)
    total = sum(sums.values())
    figure = Figure(figsize=(8, 0.6 + 0.36 * len(sums)), layout="constrained")
    axes = figure.add_subplot()
    names = list(sums)
    axes.barh(names, list(sums.values()), color=[colors.get(name.split()[-1], "#0072B2") for name in names])
    for row, count in enumerate(sums.values()):
        axes.annotate(f" {count:,}  {count / total:.1%}", (count, row), va="center", fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlim(0, max(sums.values()) * 1.25)
    axes.set_xlabel("parameters")
    axes.set_title(f"Where the parameter mass lies: {total:,}", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def notes() -> str:
    """The notes of the lab in Markdown: the derivation with every number computed."""
    sizes = Sizes()
    d, f, V, L = sizes.d, sizes.f, sizes.V, sizes.L
    parts = block(sizes)
    per_block = sum(parts.values())
    qkv, all_four = (
        dataclasses.replace(sizes, bias_qkv=True),
        dataclasses.replace(sizes, bias_qkv=True, bias_output=True),
    )
    return f"""# Parameter inventory of a Mini-GPT

d = {d}, L = {L}, f = {f}, V = {V}; tied embedding, biases in the FFN, none in the attention, LayerNorm with scale and shift.

## One block, from first principles

| part | why | parameters |
| --- | --- | ---: |
| W_q, W_k, W_v, W_o | each maps d to d without a bias: 4 · {d}² | {parts["attention"]:,} |
| W_1, b_1 | maps d to f: {d} · {f} + {f} | {d * f + f:,} |
| W_2, b_2 | maps f to d: {f} · {d} + {d} | {d * f + d:,} |
| ln1, ln2 | scale and shift of d each: 4 · {d} | {parts["LayerNorms"]:,} |
| block | 4d² + 2·d·f + f + 5d | {per_block:,} |

## The model

V·d + L·(4d² + 2·d·f + f + 5d) + 2d = {V * d:,} + {L} · {per_block:,} + {2 * d:,} = **{closed_form(sizes):,}**,
and the built model has {checked(sizes):,}.

## With biases in the attention

On query, key and value each block gains 3d: {checked(qkv):,}, {checked(qkv) - LOCKED:+,}. With the output projection as well it
gains 4d: {checked(all_four):,}, {checked(all_four) - LOCKED:+,}. The lab's "+4·d·L" is the second; its text speaks of the first.

## How the FFN's share moves

{scaling_table()}
The share of a block tends to 2·d·f / (4d² + 2·d·f) = 2/3 with f = 4d as d grows, since biases and norms grow with d and matrices
with d². It does not depend on depth: more blocks are more of the same, and move only the share of the total, by making the
embedding and the final LayerNorm smaller beside them.

## GPT-2 small by the same formula

GPT-2 has learned positions (n_ctx · d) and biases on all projections, which this Mini-GPT has not.

{gpt2_section()}
"""


def scaling_table() -> str:
    """The lab's three variants: total, the FFN's share of a block and of the whole."""
    rows = [
        "| variant | d | L | f | total | FFN of a block | FFN of the total |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, sizes in VARIANTS.items():
        total, parts = checked(sizes), block(sizes)
        of_block, of_total = parts["FFN"] / sum(parts.values()), sizes.L * parts["FFN"] / total
        rows.append(f"| {name} | {sizes.d} | {sizes.L} | {sizes.f} | {total:,} | {of_block:.2%} | {of_total:.2%} |")
    return "\n".join(rows) + "\n"


GPT2 = Sizes(V=50_257, d=768, L=12, f=3072, h=12, bias_qkv=True, bias_output=True)
GPT2_POSITIONS = 1_024


def gpt2_section() -> str:
    """GPT-2 small counted by the lab's formula, and what its published figures are."""
    without = closed_form(dataclasses.replace(GPT2, bias_qkv=False, bias_output=False))
    total = closed_form(GPT2) + GPT2_POSITIONS * GPT2.d
    tied = GPT2.V * GPT2.d
    return (
        f"The formula as it stands gives {without:,}; with the attention's biases (+4d a block) {closed_form(GPT2):,}; with the "
        f"positions {total:,}, which is GPT-2's count: 124M. Counting the tied head again gives {total + tied:,} (163M), so the "
        "published 117M is not a matter of tying: it is an early miscount, and fits GPT-1's vocabulary of 40,478 rows "
        f"({total - (GPT2.V - 40_478) * GPT2.d:,})."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path("experiments") / f"{datetime.date.today():%Y-%m-%d}-phase-17-param-inventory"
    parser.add_argument("--out", type=Path, default=default, help=f"where the files go (default: {default})")
    out = parser.parse_args().out
    model = build(Sizes())
    counts = inventory(model)
    for name, count in counts.items():
        print(f"{name:24}{count:>10,}")
    total, predicted = sum(counts.values()), closed_form(Sizes())
    print(
        f"{'TOTAL':24}{total:>10,}\nclosed form {predicted:,}: {'✓ equal' if total == predicted else '✗ not equal'}\n"
    )
    print(scaling_table())
    out.mkdir(parents=True, exist_ok=True)
    distribution(model).savefig(out / "distribution.png", dpi=150)
    (out / "notes.md").write_text(notes(), encoding="utf-8")
    print(f"written: {out / 'distribution.png'}, {out / 'notes.md'}")
    return 0 if total == predicted == LOCKED else 1


if __name__ == "__main__":
    sys.exit(main())
