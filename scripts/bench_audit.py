"""Configs counted per second, from the catalogue of closed forms and by building the models, in one process.

Rows are made by varying the bundled models' configs: widths with their heads, depth, MLP and vocabulary, each within
what the class takes. All rows go to the catalogue; what it does not cover would be built, which is slow, so building
is measured on samples of both kinds and the time for all rows is put together from the rates. Whole audits (claims
read from the card, judged against the count) are measured on a sample too. No test asserts a time.

    python scripts/bench_audit.py [--rows 100000] [--sample 60] [--seed 0]
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hfcount.api import count_source
from hfcount.auditing.one import Reach, audit_target
from hfcount.auditing.targets import Target
from hfcount.errors import HfcountError
from hfcount.fast import NotCovered, fast_count
from hfcount.sources.cards import card_folder, card_names, load_card
from hfcount.sources.source import Source

WIDTHS = ("hidden_size", "d_model", "n_embd", "word_embed_proj_dim")
HEADS = (
    "num_attention_heads", "num_key_value_heads", "n_head", "num_heads", "encoder_attention_heads",
    "decoder_attention_heads",
)  # fmt: skip
MLPS = (
    "intermediate_size",
    "n_inner",
    "ffn_dim",
    "d_ff",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "moe_intermediate_size",
)
DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
VOCABULARIES = ("vocab_size",)


def varied(config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """`config` with other sizes: heads and widths grow alike, so that a head keeps its size; a config inside too.

    Depths that are alike stay alike, and stay as they are where a list has an entry a layer or a pattern of layers.
    """
    times, deeper = draw.choice((1, 1, 2, 3)), draw.uniform(0.5, 1.5)
    changed = dict(config)
    lists = [value for value in config.values() if isinstance(value, list)]
    listed = {len(value) for value in lists}
    patterned = any(isinstance(each, list) for value in lists for each in value)
    for name, value in config.items():
        if isinstance(value, dict) and name == "text_config":
            changed[name] = varied(value, draw)
        elif type(value) is not int or value <= 0:
            continue
        elif name in WIDTHS or name in HEADS:
            changed[name] = value * times
        elif name in MLPS:
            changed[name] = value + 64 * draw.randrange(16)
        elif name in DEPTHS and value not in listed and not patterned:
            changed[name] = max(1, round(value * deeper))
        elif name in VOCABULARIES:
            changed[name] = value + 8 * draw.randrange(64)
    return changed


def sources(rows: int, seed: int) -> Iterator[Source]:
    """So many varied configs, the bundled models in turn."""
    draw = random.Random(seed)
    real = [load_card(name) for name in card_names()]
    for number in range(rows):
        card = real[number % len(real)]
        config = varied(copy.deepcopy(dict(card.config)), draw)
        yield Source(model=f"{card.model}-{number}", kind="header", location=f"row {number}", config=config)


def kept(rows: Iterable[Source], size: int, draw: random.Random, into: list[Source]) -> Iterator[Source]:
    """`rows` as they are, and `size` of them, drawn evenly (Vitter's algorithm R), `into` a list."""
    for number, row in enumerate(rows):
        if number < size:
            into.append(row)
        elif (place := draw.randrange(number + 1)) < size:
            into[place] = row
        yield row


def by_catalogue(rows: Iterable[Source]) -> tuple[int, float, Counter[str], list[Source]]:
    """(configs covered, seconds, why the rest is not, the rest's rows); the making of rows is not timed."""
    covered, seconds, reasons, rest = 0, 0.0, Counter[str](), []
    for row in rows:
        begin = time.perf_counter()
        try:
            fast_count(row)
            covered += 1
        except NotCovered as reason:
            reasons[str(reason)] += 1
            rest.append(row)
        except HfcountError as error:
            reasons[f"refused: {type(error).__name__}"] += 1
        seconds += time.perf_counter() - begin
    return covered, seconds, reasons, rest


def timed(work: Callable[[Source], object], rows: Sequence[Source]) -> list[float]:
    """The seconds of each row that is no error; the first row, which also imports what is needed, is not timed."""
    seconds = []
    for place, row in enumerate(rows):
        begin = time.perf_counter()
        try:
            work(row)
        except HfcountError as error:
            print(f"    {str(error)[:110]}")
        else:
            seconds += [time.perf_counter() - begin] if place else []
    return seconds


def built(row: Source) -> object:
    return count_source(row, fast=False)


def audited(row: Source) -> object:
    folder = card_folder(row.model.rpartition("-")[0])
    card = (folder / "README.md").read_text(encoding="utf-8")
    return audit_target(Target(id=row.model, config=row.config, card=card, location=row.location), Reach(offline=True))


def told(name: str, rows: int, seconds: float, median: float | None = None) -> float:
    """Print and return the rate: rows a second, by the mean."""
    rate = rows / seconds if seconds else float("inf")
    middle = "" if median is None else f"  (median {1e3 * median:.2f})"
    print(f"{rate:10,.1f} a second  {1e3 / rate:9.2f} ms each{middle}  {rows:7,} rows  {name}", flush=True)
    return rate


def told_all(name: str, seconds: Sequence[float]) -> float:
    return told(name, len(seconds), sum(seconds), statistics.median(seconds) if seconds else None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=60, help="rows of each kind that are built")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, sample = random.Random(options.seed), []
    rows = kept(sources(options.rows, options.seed), options.sample, draw, sample)
    covered, seconds, reasons, rest = by_catalogue(rows)
    share = covered / options.rows
    fast = told("from the catalogue, those it does not cover included", options.rows, seconds)
    print(f"{share:10.1%} of the rows are covered; of the rest:")
    for reason, number in reasons.most_common(8):
        print(f"    {number:7,}  {reason}")
    slow = told_all("built, a sample of all rows", timed(built, sample))
    uncovered = draw.sample(rest, min(len(rest), options.sample))
    slow_rest = told_all("built, a sample of those not covered", timed(built, uncovered)) if uncovered else slow
    uncovered_names = {row.model for row in rest}
    covered_rows = [row for row in sample if row.model not in uncovered_names]
    told_all("whole audits of rows with config and card, covered ones", timed(audited, covered_rows))
    told_all("the same, a sample of all rows", timed(audited, sample))
    hours = (1e6 / fast + 1e6 * (1 - share) / slow_rest) / 3600
    print(f"{fast / slow:10,.0f} x  the catalogue to building, a row")
    print(f"{hours:10.2f} h  for a million such configs in one process; {1e6 / slow / 3600:,.1f} h if all were built")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
