"""The labs' variants of Mini-GPT and nanochat, each counted on the model and by a closed form.

    python scripts/lab_variants.py [--markdown]

The models are the bundled cards with fields overridden, as `hfcount mini-gpt --set position_embedding=learned` does; the
closed form is hfcount's own, derived by hand. "Adds" is the difference to the card as it stands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

MINI, NANO = "mini-gpt", "nanochat-d20"

# (card, what changes, the fields)
VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (MINI, "as it stands", {}),
    (MINI, "learned positions: T·d", {"position_embedding": "learned"}),
    (MINI, "sinusoidal positions: a table, no parameters", {"position_embedding": "sinusoidal"}),
    (MINI, "MLP biases: f + d a layer", {"mlp_bias": True}),
    (MINI, "attention biases: 4d a layer", {"attention_bias": True, "attention_output_bias": True}),
    (MINI, "untied LM head: V·d", {"tie_word_embeddings": False}),
    (MINI, "half the width: d 32, f 128", {"hidden_size": 32, "intermediate_size": 128}),
    (NANO, "as it stands", {}),
    (NANO, "vocabulary 32,768", {"vocab_size": 32_768}),
    (NANO, "vocabulary 131,072", {"vocab_size": 131_072}),
    (NANO, "vocabulary 262,144", {"vocab_size": 262_144}),
    (NANO, "5 key-value heads: 2 queries to a head", {"num_key_value_heads": 5}),
    (NANO, "2 key-value heads (GQA)", {"num_key_value_heads": 2}),
    (NANO, "1 key-value head (MQA)", {"num_key_value_heads": 1}),
    (NANO, "MLP twice the width", {"intermediate_size": 2 * 1_280}),
    (NANO, "MLP eight times the width", {"intermediate_size": 8 * 1_280}),
    ("nanochat-d4", "depth 4", {}),
    ("nanochat-d8", "depth 8", {}),
    ("nanochat-d12", "depth 12", {}),
    (NANO, "depth 16", {"num_hidden_layers": 16, "hidden_size": 1_024, "num_attention_heads": 8,
                        "num_key_value_heads": 8, "intermediate_size": 4_096}),
    ("nanochat-d26", "depth 26", {}),
    ("nanochat-d32", "depth 32", {}),
)  # fmt: skip


def counted(card: str, fields: dict[str, Any]) -> tuple[int, int | None, int]:
    """(parameters of the model, by the closed form, of one layer's attention) for the card with `fields` overridden."""
    from hfcount import count

    result = count(f"card:{card}", settings=fields)
    attention = result.table[(result.table["component"] == "attention") & (result.table["layer"] == 0)]
    return result.sizes.total, result.form.value if result.form else None, int(attention["numel"].sum())


def rows() -> Iterator[tuple[str, str, int, int | None, int, int]]:
    """(card, change, parameters, by the closed form, what it adds to the card, one layer's attention)."""
    plain: dict[str, int] = {}
    for card, change, fields in VARIANTS:
        total, form, attention = counted(card, fields)
        plain.setdefault(card, total)
        yield card, change, total, form, total - plain[card], attention


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="a Markdown table")
    markdown = parser.parse_args().markdown
    separator, edge = (" | ", "|") if markdown else ("  ", "")
    line = [
        f"{'model':14}",
        f"{'variant':46}",
        f"{'parameters':>13}",
        f"{'closed form':>13}",
        f"{'adds':>13}",
        "attention a layer",
    ]
    print(f"{edge} {separator.join(line)} {edge}".strip())
    if markdown:
        print("| --- | --- | ---: | ---: | ---: | ---: |")
    equal = True
    for card, change, total, form, adds, attention in rows():
        equal &= form == total
        shown = "none" if form is None else f"{form:,}"
        cells = [f"{card:14}", f"{change:46}", f"{total:>13,}", f"{shown:>13}", f"{adds:>+13,}", f"{attention:>17,}"]
        print(f"{edge} {separator.join(cells)} {edge}".strip())
    mini = counted(MINI, {})[0]
    for dtype, size in (("fp32", 4), ("bf16", 2)):
        print(f"{MINI} in {dtype}: {mini:,} · {size} = {mini * size:,} bytes = {mini * size / 1024:.2f} KiB")
    print("every closed form equals its count" if equal else "a closed form differs from its count")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
