"""Peaks of bundled cards, written to a file or held against one that another release of transformers wrote.

    python scripts/peaks.py --write benchmarks/memory/peaks.json [--cards 30]
    python scripts/peaks.py --check benchmarks/memory/peaks.json

A card is taken of every so many, so that all families occur. Each has full fine-tuning, LoRA and QLoRA of rank 8, with
gradient checkpointing and without, in one row of 512 tokens at most.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

COUNT, SEQ = 30, 512


def peaks(card: str) -> dict[str, list[int | None]]:
    """The peaks of each regime, without checkpointing and with it; none where it has no step."""
    from hfcount import memory
    from hfcount.budgeting import usual_seq
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    seq = min(SEQ, usual_seq(Workbench(resolve(f"card:{card}"), ())))
    found = memory(f"card:{card}", lora_r=8, seq=seq)
    return {each.name: [each.peak_plain_bytes, each.peak_checkpointing_bytes] for each in found.budgets}


def cards(count: int) -> list[str]:
    """So many cards, spread over all of them."""
    from hfcount.sources.cards import card_names

    names = sorted(card_names())
    return names[:: max(1, len(names) // count)][:count]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--check", type=Path, metavar="FILE")
    parser.add_argument("--cards", type=int, default=COUNT)
    arguments = parser.parse_args()
    import transformers

    recorded = json.loads(arguments.check.read_text(encoding="utf-8")) if arguments.check else None
    names = list(recorded["peaks"])[: arguments.cards] if recorded else cards(arguments.cards)
    found, differing = {}, 0
    for name in names:
        found[name] = peaks(name)
        equal = recorded is None or found[name] == recorded["peaks"][name]
        differing += not equal
        print(f"{name:45} {'' if recorded is None else 'equal' if equal else 'DIFFERS'} {found[name]}", flush=True)
    if recorded:
        other = recorded["transformers"]
        print(f"{differing} of {len(names)} differ: transformers {transformers.__version__} against {other}")
    if arguments.write:
        body = {"transformers": transformers.__version__, "seq": SEQ, "peaks": found}
        arguments.write.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
