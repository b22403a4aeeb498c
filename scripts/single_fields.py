"""Hold every packaged form against its class with each field changed alone, and print what is wrong.

Each field of each type, those of configs inside too, is doubled, one more, 1, 2, 0, negative, null, of a wrong kind and
left out, in a config with all fields filled in and in one as published. A form passes where it gives the class's
parameters, shape by shape, or refuses. Exit code 1 where a number is wrong.

    python scripts/single_fields.py                    # about an hour and a half on two cores
    python scripts/single_fields.py --types gpt2,llama
    python scripts/single_fields.py --share 0.05       # every twentieth variant
    python scripts/single_fields.py --keep benchmarks/formulas/single_fields.jsonl   # go on where that stands
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import random
import time
import warnings
from pathlib import Path
from typing import NamedTuple


class Result(NamedTuple):
    """What the forms of one type gave: variants answered rightly, refused, and the wrong ones in words."""

    model_type: str
    right: int
    refused: int
    wrong: list[str]
    seconds: float


def swept(job: tuple[str, float]) -> Result:
    """Return what the packaged forms of a type say of a share of the variants."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from hfcount.formulas import catalogue
    from hfcount.formulas.tracing.search import subject_of
    from hfcount.formulas.tracing.single_fields import bases, held, variants, write_no_configs

    write_no_configs()
    model_type, share = job
    chance, start = random.Random(0), time.perf_counter()
    right, refused, wrong = 0, 0, list[str]()
    for form in catalogue.forms(model_type):
        subject = subject_of(form)
        for variant in itertools.chain.from_iterable(variants(base, subject) for base in bases(form, subject)):
            if chance.random() >= share:
                continue
            found = held(form, variant, subject)
            right += found.said is not None and not found.is_wrong
            refused += found.said is None
            if found.is_wrong:
                built = f"{found.built:,}" if found.built is not None else f"none ({found.reason[:80]})"
                value = repr(variant.value)[:60]
                wrong.append(f"{form.model_class}: {variant.path} = {value}: says {found.said:,}, is {built}")
    return Result(model_type, right, refused, wrong, time.perf_counter() - start)


def read(kept: Path | None) -> list[Result]:
    """Return the results that stand in a file; none without it."""
    if kept is None or not kept.exists():
        return []
    return [Result(**json.loads(line)) for line in kept.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Print a row for each type, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", metavar="LIST", help="model types, separated by commas (default: all)")
    parser.add_argument("--share", type=float, default=1.0, help="how much of the variants is tried (default: 1.0)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON lines of results, to go on from")
    arguments = parser.parse_args()
    from hfcount.formulas import catalogue

    types = arguments.types.split(",") if arguments.types else list(catalogue.model_types())
    results = read(arguments.keep)
    done = {each.model_type for each in results}
    jobs = [(each, arguments.share) for each in types if each not in done]
    with multiprocessing.Pool(arguments.jobs, maxtasksperchild=25) as pool:
        for result in pool.imap_unordered(swept, jobs):
            results.append(result)
            if arguments.keep is not None:
                with arguments.keep.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(result._asdict()) + "\n")
            print(f"{result.model_type:28s} {result.right:6,} right {result.refused:6,} refused "
                  f"{len(result.wrong):4,} wrong {result.seconds:6.0f} s", flush=True)  # fmt: skip
            for each in result.wrong:
                print(f"  WRONG {each}", flush=True)
    right, refused, wrong = (sum(map(int, each)) for each in zip(
        *((each.right, each.refused, len(each.wrong)) for each in results), strict=True))  # fmt: skip
    print(f"{len(results):,} types: {right:,} right, {refused:,} refused, {wrong:,} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
