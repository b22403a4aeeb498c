"""Write the records of the bundled cards: what `hfcount memory CARD` answers from without building the model.

Each has full fine-tuning, LoRA and QLoRA by the default recipe, with gradient checkpointing and without, for a single
row and for several.

    python scripts/build_records.py                       # all cards: an hour or two on one core
    python scripts/build_records.py --cards gpt2,llama-7b
    python scripts/build_records.py --check               # hold what is written against a step that is run now
    python scripts/build_records.py --missing             # only cards whose record is of other versions, or lacks
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

SECONDS = 300.0
"""A few recurrent models run for longer, since each token of theirs is a step; what was found by then is written."""

ROWS = (1, 2)
"""A single row has a form of its own, and all numbers of rows from two on another."""


def recorded(card: str) -> tuple[Path, dict[str, object]]:
    """Return the file of a card, and the answers that belong there."""
    from hfcount.budgeting import REGIMES, Asked, Way
    from hfcount.records import Record, packaged_path
    from hfcount.simulating import memory_of
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    source = resolve(f"card:{card}")
    record = Record()
    bench = Workbench(source, (), record=record)
    for rows in ROWS:
        memory_of(bench, Way(batch=rows), Asked.of(REGIMES[:3], (), "default", ()), seconds=SECONDS)
    return packaged_path(source), record.answers


def main() -> int:
    """Write or check the records, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", metavar="LIST", help="cards, separated by commas (default: all)")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing; exit code 1 if one differs")
    parser.add_argument("--missing", action="store_true", help="only cards that have no record of these versions")
    arguments = parser.parse_args()
    from hfcount.records import Record, packaged_answers, write
    from hfcount.sources import resolve
    from hfcount.sources.cards import card_names

    differing = 0
    for card in arguments.cards.split(",") if arguments.cards else sorted(card_names()):
        before = packaged_answers(resolve(f"card:{card}"))
        if arguments.missing and before:
            continue
        begin = time.perf_counter()
        try:
            path, answers = recorded(card)
        except Exception as error:
            print(f"{card:55s} none: {error}", flush=True)
            continue
        said = ""
        if arguments.check:
            equal = answers == before
            differing += not equal
            said = "equal" if equal else "DIFFERS"
        else:
            write(path, card, Record(answers))
        print(f"{card:55s} {said or path.name} {time.perf_counter() - begin:6.1f} s", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
