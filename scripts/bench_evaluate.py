"""How fast a form is as a function of a table, and beside building each model: ratios of one run.

python scripts/bench_evaluate.py [--rows 1000000] [--built 20]

The rows are random configs of one architecture; the first of them are also built, as empty as torch builds them (no
weight is stored), by the class itself and with nothing around it, and their parameters added up. It stops with exit
code 1 if one count differs.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig

import hfcount
from hfcount.classes import model_class_for

FIELDS: dict[str, dict[str, int]] = {
    "gpt2": {"vocab_size": 30_000, "n_embd": 12, "n_layer": 1, "n_positions": 1},
    "llama": {"vocab_size": 30_000, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 16},
    "mixtral": {
        "vocab_size": 30_000, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 16, "num_local_experts": 1,
    },
}  # fmt: skip
"""Of each model type the fields that vary, and what they are multiples of."""


def configs(model_type: str, rows: int) -> pd.DataFrame:
    """Random configs that all meet the form's conditions."""
    chance = np.random.default_rng(0)
    return pd.DataFrame({name: step * chance.integers(2, 60, rows) for name, step in FIELDS[model_type].items()})


def built(raw: dict[str, Any]) -> int:
    """The parameters of the model itself."""
    config = AutoConfig.for_model(**raw)
    model_class, _ = model_class_for(config, raw, where=raw["model_type"])
    with torch.device("meta"):
        model = model_class(config)
    return sum(parameter.numel() for parameter in model.parameters())


def seconds_to_build(raw: dict[str, Any], frame: pd.DataFrame, counts: pd.Series) -> float:
    """Seconds for one model, built and counted; SystemExit where the table says another number."""
    built(raw)  # what is imported and compiled once
    start = time.perf_counter()
    totals = [built({**raw, **{str(key): int(value) for key, value in row.items()}}) for _, row in frame.iterrows()]
    each = (time.perf_counter() - start) / len(frame)
    for (_, row), said, total in zip(frame.iterrows(), counts, totals, strict=False):
        if total != said:
            raise SystemExit(f"{row.to_dict()}: {said:,} by the form, {total:,} built")
    return each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--built", type=int, default=20)
    arguments = parser.parse_args()
    print("| model type | rows | rows a second | built, counts equal | seconds to build one | times as fast |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for model_type in FIELDS:
        answer = hfcount.formula(model_type, fast=True)
        frame = configs(model_type, arguments.rows)
        start = time.perf_counter()
        counts = answer.evaluate(frame)
        each = (time.perf_counter() - start) / len(frame)
        one = seconds_to_build(dict(answer.raw), frame.head(arguments.built), counts)
        print(
            f"| {model_type} | {len(frame):,} | {1 / each:,.0f} | {arguments.built} | {one:.4f} | {one / each:,.0f} |"
        )


if __name__ == "__main__":
    main()
