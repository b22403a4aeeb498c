"""How fast a form is as a function of a table, and beside building each model: ratios of one run.

python scripts/bench_evaluate.py [--rows 1000000] [--built 20]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import hfcount
from hfcount.api import count

FIELDS = {
    "gpt2": {"vocab_size": 1, "n_embd": 12, "n_layer": 1, "n_positions": 1},
    "llama": {"vocab_size": 1, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 16},
    "mixtral": {"hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 16, "num_local_experts": 1},
}
"""Of each model type the fields that vary, and what they are multiples of."""


def configs(model_type: str, rows: int) -> pd.DataFrame:
    """Random configs that all meet the form's conditions."""
    chance = np.random.default_rng(0)
    return pd.DataFrame({name: step * chance.integers(2, 60, rows) for name, step in FIELDS[model_type].items()})


def seconds_to_build(model_type: str, frame: pd.DataFrame, counts: pd.Series) -> float:
    """Seconds for one model, built empty and counted; the counts must agree."""
    start = time.perf_counter()
    for place, row in frame.iterrows():
        settings = {name: int(value) for name, value in row.items()}
        total = count(f"card:{CARDS[model_type]}", settings={**DEFAULTS[model_type], **settings}).sizes.total
        if total != counts[place]:
            raise SystemExit(f"{model_type} {settings}: {counts[place]:,} by the form, {total:,} built")
    return (time.perf_counter() - start) / len(frame)


CARDS = {"gpt2": "gpt2", "llama": "llama-7b", "mixtral": "mixtral-8x7b"}
DEFAULTS = {"gpt2": {}, "llama": {"num_key_value_heads": 32}, "mixtral": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--built", type=int, default=20)
    arguments = parser.parse_args()
    print("| model type | rows | rows a second | seconds to build one | times as fast |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for model_type in FIELDS:
        answer = hfcount.formula(CARDS[model_type], fast=True)
        frame = configs(model_type, arguments.rows)
        start = time.perf_counter()
        counts = answer.evaluate(frame)
        each = (time.perf_counter() - start) / len(frame)
        built = seconds_to_build(model_type, frame.head(arguments.built), counts)
        print(f"| {model_type} | {len(frame):,} | {1 / each:,.0f} | {built:.3f} | {built / each:,.0f} |")


if __name__ == "__main__":
    main()
