"""The LoRA lab: what full fine-tuning, LoRA r = 4, 8, 16 and QLoRA r = 8 train, and what each costs in memory.

    python scripts/lora_counts.py [--out DIR]

prints the lab's table for its Mini-GPT (batch 16, 32 tokens) and writes into DIR (default: experiments/28-lora-counts/,
which is not committed)

    REPORT.md               the table under the lab's recipe and under PEFT's own, the ratios here and at production
                            scale, and what fraction LoRA r = 8 trains; every number in it computed by this script
    memory_breakdown.png    stacked bars: weights, gradients, Adam, activations

The lab's four buckets: weights (an fp32 master copy among them), gradients, Adam's two moments, activations by its
rule, batch·seq·d·L·16 bytes. Its counts, derived by hand:

1. A layer has four Linears of d x d, one of d x f and one of f x d: 4·64² + 2·64·256 = 49,152 weights.
2. LoRA adds r·(in + out) to each (Hu et al. 2021, section 4.1): 4·r·128 + 2·r·320 = 1,152·r a layer, 9,216 at r = 8.
3. Four layers: 4,608·r, that is 18,432, 36,864 and 73,728 at r = 4, 8 and 16. Biases there are none; embeddings, norms
   and the head stay as they are.
4. NF4 packs the 196,608 weights of the Linears into 98,304 bytes and keeps an fp32 absmax for every 64: 12,288 bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfcount.memory_answer import Budget, Memory

LAB = "mini-gpt-lora-lab"
BATCH, SEQ = 16, 32
SCALES = ("gpt2", "llama-7b", "llama-65b", "mixtral-8x7b")
SCALE_SEQ = 512
HEADINGS = ("Regime", "Trainable", "Frozen", "Weights", "Grads", "Adam", "Activations", "Total", "vs full FT")
KIB, GIB = 2**10, 2**30


def lab_memory(precision: str) -> Memory:
    """The lab's five regimes under a recipe."""
    return kept_memory(LAB, batch=BATCH, seq=SEQ, precision=precision)


def scale_memory(model: str) -> Memory:
    """The same regimes for a model of production size: bf16 with a master copy, one row of 512 tokens."""
    return kept_memory(model, seq=SCALE_SEQ, precision="mixed-bf16")


def kept_memory(model: str, **way: Any) -> Memory:
    """The lasting buckets by their closed forms, and as activations the most that the step keeps."""
    from hfcount import memory

    closed, stepped = (
        memory(model, lora_targets="all-linear", method=each, **way) for each in ("closed-form", "simulated")
    )
    budgets = (
        dataclasses.replace(one, activations_bytes=other.highest.get("activations", other.activations_bytes))
        for one, other in zip(closed.budgets, stepped.budgets, strict=True)
    )
    return dataclasses.replace(closed, budgets=tuple(budgets))


def four_buckets(budget: Budget, *, by_rule: bool) -> dict[str, int]:
    """Weights with the master copy, gradients, Adam, activations, in bytes: the last `by_rule`, or as autograd keeps."""
    activations = budget.activations_rule_bytes if by_rule else budget.activations_bytes
    return {
        "weights": (budget.weights_bytes or 0) + (budget.master_bytes or 0),
        "gradients": budget.gradients_bytes or 0,
        "optimizer": budget.optimizer_bytes or 0,
        "activations": activations or 0,
    }


def total(budget: Budget, *, by_rule: bool) -> int:
    """The sum of the four buckets."""
    return sum(four_buckets(budget, by_rule=by_rule).values())


def name_of(budget: Budget) -> str:
    """A regime as the lab writes it: "Full FT", "LoRA r=8"."""
    kind = {"full": "Full FT", "lora": "LoRA", "qlora": "QLoRA"}[budget.regime]
    return kind if budget.r is None else f"{kind} r={budget.r}"


def table(found: Memory, *, by_rule: bool, unit: int = KIB) -> str:
    """The lab's columns for each regime as a Markdown table, sizes in `unit` bytes."""
    from hfcount.reports.markdown import markdown_table

    rows = []
    for each in found.budgets:
        buckets = four_buckets(each, by_rule=by_rule).values()
        sizes = (f"{value / unit:,.{1 if unit == KIB else 2}f}" for value in (*buckets, sum(buckets)))
        ratio = sum(buckets) / total(found.full, by_rule=by_rule)
        rows.append([name_of(each), f"{each.trainable:,}", f"{each.frozen:,}", *sizes, f"{ratio:.1%}"])
    return markdown_table(HEADINGS, rows, right=range(1, len(HEADINGS)))


def regime(found: Memory, name: str) -> Budget:
    """The budget called `name`, "lora r=8"."""
    return next(each for each in found.budgets if each.name == name)


def report() -> str:
    """REPORT.md: the tables and what they say."""
    lab = lab_memory("lab")
    return "\n".join(
        (
            heading(lab),
            lab_section(lab),
            peft_section(lab),
            fraction_section(lab),
            ratios_section(lab, {each: scale_memory(each) for each in SCALES}),
        )
    )


def heading(lab: Memory) -> str:
    whole = lab.full.trainable or 0
    return f"""# LoRA on Mini-GPT: what trains, and what it costs

Written by `scripts/lora_counts.py`; every number is computed. The model has {whole:,} parameters, of which
{adapted(lab):,} are in the Linears of its layers. Batch {BATCH}, {SEQ} tokens. Sizes in KiB.
"""


def adapted(lab: Memory) -> int:
    """The weights of the adapted Linears: NF4 packs two into a byte."""
    quantized = regime(lab, "qlora r=8").quantized
    return 2 * quantized.packed if quantized is not None else 0


def lab_section(lab: Memory) -> str:
    return f"""## The lab's recipe

fp16 weights (full fine-tuning with an fp32 master copy), fp16 gradients, Adam's moments in fp32, activations by the
rule batch·seq·d·L·16.

{table(lab, by_rule=True)}"""


def peft_section(lab: Memory) -> str:
    eight = regime(lab, "lora r=8")
    rule, kept = (eight.activations_rule_bytes or 0) / KIB, (eight.activations_bytes or 0) / KIB
    return f"""## PEFT's own default

Adapters in fp32 with fp32 gradients over an fp16 base, `prepare_model_for_kbit_training` before QLoRA, which casts all
that is not quantized to fp32; activations as autograd keeps them under autocast, not by the rule.

{table(lab_memory("mixed-fp16"), by_rule=False)}
The rule says {rule:,.0f} KiB of activations; LoRA r = 8 keeps {kept:,.0f} KiB in the lab's own recipe. The rule stands for eight
16-bit numbers a token, layer and unit of width, and leaves out the wider MLP, what the norms keep in fp32, and the
logits.
"""


def hidden_size() -> int:
    """The lab model's width."""
    from hfcount import count

    return int(count(LAB).config.hidden_size)


def fraction_section(lab: Memory) -> str:
    eight = regime(lab, "lora r=8")
    trained, whole = eight.trainable or 0, eight.frozen or 0
    width = hidden_size()
    return f"""## What fraction of the parameters does LoRA r = 8 train?

It trains {trained:,} parameters. That is

- {trained / adapted(lab):.2%} of the {adapted(lab):,} weights of the adapted Linears,
- {trained / whole:.2%} of the model's {whole:,} parameters,
- {trained / (trained + whole):.2%} of the model with its adapters, which is what PEFT prints.

On one square layer it is 2·r/d = 2·8/{width} = {16 / width:.0%}: r·(d + d) of d². (The lab's text has r/h for it.)
"""


def ratios_section(lab: Memory, scales: dict[str, Memory]) -> str:
    eight, packed = regime(lab, "lora r=8"), regime(lab, "qlora r=8")
    quantized = packed.quantized
    assert quantized is not None
    rule = eight.activations_rule_bytes or 0
    share = total(eight, by_rule=True) / total(lab.full, by_rule=True)
    bare = (total(eight, by_rule=True) - rule) / (total(lab.full, by_rule=True) - rule)
    ratio = {
        (name, each.name): total(each, by_rule=False) / total(found.full, by_rule=False)
        for name, found in scales.items()
        for each in found.budgets
    }
    trained = {
        name: (regime(each, "lora r=8").trainable or 0) / (each.full.trainable or 1) for name, each in scales.items()
    }
    tables = "\n".join(f"### {found.model}\n\n{table(found, by_rule=False, unit=GIB)}" for found in scales.values())
    return f"""## The ratios, here and at production scale

At this scale the adapters are large: LoRA r = 8 adds {(eight.trainable or 0) / adapted(lab):.1%} to what it adapts, and a run takes {share:.1%} of full
fine-tuning's memory by the lab's count, {bare:.1%} if the activations are left out. The activations do not shrink with LoRA, and
they are {rule / total(eight, by_rule=True):.0%} of the total here. QLoRA saves little more: the Linears' weights go from {2 * adapted(lab):,} bytes to
{quantized.without_tables:,} ({quantized.packed:,} of codes and {quantized.absmax:,} of scales), but the code tables of many small tensors add {quantized.tables:,}, and
the embedding stays in 16 bit. A scale for every 64 weights is 4/64 = 0.0625 byte a weight because bitsandbytes keeps it
in fp32; in fp16, as the lab's text has it, it would be 2/64.

At production scale an adapter's share falls with 2·r/d (LoRA r = 8 trains {trained["llama-7b"]:.2%} of LLaMA-7B and {trained["llama-65b"]:.2%} of LLaMA-65B), and
what is left is the frozen base: LoRA r = 8 takes {ratio["llama-7b", "lora r=8"]:.1%} of full fine-tuning's memory for LLaMA-7B and {ratio["llama-65b", "lora r=8"]:.1%} for
LLaMA-65B, QLoRA {ratio["llama-7b", "qlora r=8"]:.1%} and {ratio["llama-65b", "qlora r=8"]:.1%}, since nearly all of their weights are in Linears. GPT-2's ratios are nearer to
Mini-GPT's ({ratio["gpt2", "lora r=8"]:.1%} and {ratio["gpt2", "qlora r=8"]:.1%}): a third of it is embedding, and its logits are most of what is kept. Mixtral-8x7B goes the
other way, {ratio["mixtral-8x7b", "lora r=8"]:.1%} with LoRA and {ratio["mixtral-8x7b", "qlora r=8"]:.1%} with QLoRA: its experts are fused parameters that bitsandbytes does not convert, PEFT's
preparation casts them to fp32, and an adapter on them makes a second copy of them in every step.

The tables below are in GiB, with bf16 weights and a master copy, one row of {SCALE_SEQ} tokens, adapters on all linear layers.

{tables}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lab's table; write the report and the chart."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments") / "28-lora-counts", help="where to write")
    out: Path = parser.parse_args(arguments).out
    from hfcount.reports.bars import memory_bars
    from hfcount.reports.files import write_figure, write_text

    out.mkdir(parents=True, exist_ok=True)
    lab = lab_memory("lab")
    print(table(lab, by_rule=True))
    write_text(out / "REPORT.md", report())
    stacks = {name_of(each): four_buckets(each, by_rule=True) for each in lab.budgets}
    title = f"Mini-GPT, batch {BATCH} x {SEQ} tokens, the lab's recipe"
    write_figure(out / "memory_breakdown.png", memory_bars(stacks, title=title))
    print(f"wrote {out / 'REPORT.md'} and {out / 'memory_breakdown.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
