"""What the catalogue covers of transformers: a record of every config and class tried, and the table in the docs.

    python scripts/covered.py      # write docs/coverage.md anew from scripts/facts/coverage.csv

`scripts/build_catalogue.py` writes the record; a run over a few types replaces their lines alone.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "scripts" / "facts" / "coverage.csv"
PAGE = ROOT / "docs" / "coverage.md"

FORMED = ("traced", "covered")
CARD = "card"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tried:
    """One config and class that a form was sought for.

    Attributes:
        model_type, model_class: what was built.
        tasks: the auto mappings that name the pair; "card" for a bundled card's own config.
        config: "default", "minimal" (the least that works, scripts/facts/minimal_configs.json), or the card's name.
        status: "traced", "covered" (by a form found before it), "no form", "not built" or "WRONG".
        seconds: building, tracing, verifying and recording what LoRA attaches, together, two at a time.
        reason: why there is no form.
    """

    model_type: str
    model_class: str
    tasks: str
    config: str
    status: str
    seconds: float
    reason: str = ""

    @property
    def formed(self) -> bool:
        return self.status in FORMED

    @property
    def was_built(self) -> bool:
        return self.status != "not built"


def load() -> list[Tried]:
    """The record as it stands; empty where there is none."""
    if not RECORD.exists():
        return []
    with RECORD.open(newline="", encoding="utf-8") as lines:
        return [Tried(**{**row, "seconds": float(row["seconds"])}) for row in csv.DictReader(lines)]  # type: ignore[arg-type]


def save(tried: Iterable[Tried]) -> None:
    """Write the record, sorted."""
    rows = sorted(tried, key=lambda each: (each.model_type, each.tasks == CARD, each.model_class, each.config))
    with RECORD.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [field.name for field in dataclasses.fields(Tried)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**dataclasses.asdict(each), "seconds": f"{each.seconds:.2f}"} for each in rows)


def merged(old: Iterable[Tried], new: Sequence[Tried]) -> list[Tried]:
    """`new`, and of `old` what is about other types."""
    again = {each.model_type for each in new}
    return [*(each for each in old if each.model_type not in again), *new]


def tables(tried: Sequence[Tried]) -> str:
    """Markdown: types, then pairs of type and class by task, then what has no form and why."""
    return "\n".join([*_types(tried), "", *_tasks(tried), "", *_missing(tried)]) + "\n"


def _types(tried: Sequence[Tried]) -> list[str]:
    by_type: dict[str, list[Tried]] = collections.defaultdict(list)
    for each in tried:
        if each.tasks != CARD:
            by_type[each.model_type].append(each)
    causal = {name: its for name, its in by_type.items() if any("causal LM" in each.tasks for each in its)}
    causal = {name: [each for each in its if "causal LM" in each.tasks] for name, its in causal.items()}
    lines = [
        "| | types | built from their defaults | with a minimal config | verified form | of those built |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for title, groups in (("all types with a model class", by_type), ("causal language models", causal)):
        default = [its for its in groups.values() if any(each.was_built and each.config == "default" for each in its)]
        built = [its for its in groups.values() if any(each.was_built for each in its)]
        formed = [its for its in built if all(each.formed for each in its if each.was_built)]
        share = f"{len(formed) / len(built):.1%}" if built else ""
        lines.append(
            f"| {title} | {len(groups)} | {len(default)} | {len(built) - len(default)} | {len(formed)} | {share} |"
        )
    return lines


def _tasks(tried: Sequence[Tried]) -> list[str]:
    lines = [
        "| task | classes | built | verified form | share | median s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    tasks = list(dict.fromkeys(task for each in tried for task in each.tasks.split("; ") if task != CARD))
    for task in [*sorted(tasks), CARD]:
        mine = [each for each in tried if task in each.tasks.split("; ")]
        built = [each for each in mine if each.was_built]
        formed = [each for each in built if each.formed]
        seconds = sorted(each.seconds for each in built) or [0.0]
        title = "bundled cards" if task == CARD else task
        share = f"{len(formed) / len(built):.1%}" if built else ""
        lines.append(
            f"| {title} | {len(mine)} | {len(built)} | {len(formed)} | {share} | {seconds[len(seconds) // 2]:.2f} |"
        )
    return lines


def _missing(tried: Sequence[Tried]) -> list[str]:
    missing: dict[tuple[str, str, str], list[str]] = collections.defaultdict(list)
    for each in tried:
        if not each.formed:
            missing[(each.status, each.model_type, _short(each.reason))].append(each.model_class)
    lines = ["| type | classes | | reason |", "| --- | --- | --- | --- |"]
    for (status, model_type, reason), classes in sorted(missing.items()):
        lines.append(f"| `{model_type}` | {', '.join(dict.fromkeys(classes))} | {status} | {reason} |")
    return lines


def _short(reason: str) -> str:
    text = reason.split("\n")[0].replace("|", "\\|").replace("[", "\\[")
    for sign in (": cannot be built as ",):
        if sign in text:
            text = text.partition(sign)[2].partition(": ")[2]
    return text if len(text) <= 160 else f"{text[:157]}..."


def page(tried: Sequence[Tried]) -> str:
    """The page docs/coverage.md."""
    version = importlib.metadata.version("transformers")
    return _PAGE.format(version=version, forms=sum(each.status == "traced" for each in tried), tables=tables(tried))


_PAGE = """# What the catalogue covers

`python scripts/build_catalogue.py` seeks a closed form for every model type of the installed transformers and each of
its classes in the auto mappings, and for every bundled card; this page is what it found with transformers {version}:
{forms:,} forms. A form is kept only after it said of every parameter what the real class says, at its own config and
at 20 random ones, and what it builds, or nothing, with each field changed alone. A class is built from its default config, or, where that cannot be built, from the smallest one
that can (`scripts/facts/minimal_configs.json`, with the reason). Names in transformers' list of config types that
have no model class of their own (155 of 804) are no types here. Every line of the record is in
`scripts/facts/coverage.csv`.

{tables}"""


def main() -> None:
    PAGE.write_text(page(load()), encoding="utf-8")


if __name__ == "__main__":
    main()
