"""Random answers of `memory --fit`, each confirmed at its point and refuted at the next one.

    python scripts/fit_answers.py [--count 100] [--seed 0]

A model, a GPU, a regime and a way to train are drawn. The largest batch, or sequence, is found by the closed form of the
step. Then the step is run with every layer at that number and at one more: the first has to have the verdict, the
second must not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Any

MODELS = (
    "gpt2", "gpt2-medium", "pythia-160m", "pythia-1.4b", "opt-125m", "bloom-560m", "llama-7b", "llama-3.2-1b",
    "llama-3.1-8b", "mistral-7b-v0.1", "qwen2.5-1.5b", "qwen3-0.6b", "qwen3-8b", "gemma-2b", "gemma-2-2b", "phi-1_5",
    "smollm2-135m", "tinyllama-1.1b", "bert-base-uncased", "olmo-1b-hf",
)  # fmt: skip
GPUS = ("t4", "3060", "4090", "a100-40gb", "a100-80gb", "h200")


def drawn(chance: random.Random) -> tuple[str, str, dict[str, Any]]:
    """A model, a GPU and the arguments of `stretched_memory`."""
    arguments = {
        "regimes": chance.choice(("full", "lora", "qlora")),
        "lora_r": chance.choice((4, 8, 64)),
        "batch": chance.choice((1, 2, 4)),
        "seq": chance.choice((128, 300, 512, 1000)),
        "precision": chance.choice(("mixed-bf16", "bf16", "autocast-bf16", "mixed-fp16")),
        "optimizer": chance.choice(("adamw", "adamw", "sgd", "adamw-8bit")),
        "gradient_checkpointing": chance.random() < 0.5,
    }
    return chance.choice(MODELS), chance.choice(GPUS), arguments


def held(model: str, card: str, arguments: dict[str, Any], field: str) -> tuple[str, int | None, bool]:
    """The verdict, the largest number, and whether real steps confirm it and refute the next one."""
    from hfcount.budget.gpus import gpu
    from hfcount.fitting import fits, stretched_memory
    from hfcount.workbench import Workbench

    chosen = gpu(card)
    found, (fit,) = stretched_memory(model, [chosen], **arguments)
    number = fit.batch if field == "batch" else fit.seq
    if not number:
        return fit.verdict, number, True
    wanted = fit.verdict if fit.fits else "fits"

    def verdict(value: int) -> str:
        from hfcount import memory

        how = {**arguments, field: value, "capability": chosen.capability or "8.0", "curves": True}
        (one,) = fits(memory(model, **how), [chosen])
        return one.verdict

    order = ("fits", "tight", "does-not-fit")
    confirmed = order.index(verdict(number)) <= order.index(wanted)
    longest = Workbench(found.source, ()).positions if field == "seq" else None
    refuted = number == longest or order.index(verdict(number + 1)) > order.index(wanted)
    return fit.verdict, number, confirmed and refuted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, wrong = random.Random(arguments.seed), 0
    for number in range(arguments.count):
        model, card, how = drawn(chance)
        field = chance.choice(("batch", "seq"))
        begun = time.monotonic()
        verdict, largest, right = held(model, card, how, field)
        wrong += not right
        said = "right" if right else "WRONG"
        ways = " ".join(str(each) for each in how.values())
        print(
            f"{number:3} {said} {model} {card} {verdict} {field} {largest} ({ways}), {time.monotonic() - begun:.0f} s"
        )
        sys.stdout.flush()
    print(f"{arguments.count} answers, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
