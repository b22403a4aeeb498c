"""Published figures of GPU memory and storage, held against what hfcount says: the table in docs/published_memory.md.

    python scripts/published_memory.py            # print the tables
    python scripts/published_memory.py --write    # write them into the page, between its markers, and the ratios' record

`scripts/facts/published_memory.json` has a row for every figure: as printed, with its source, the model, the arguments
of `hfcount.memory` that come nearest to its recipe, what the recipe does besides (`how`), and what was assumed because
the source does not say. No verdict stands in it: a row is

    within          if the peak of the simulated step is within 10 % of the figure, or keeps to its bound or range
    not simulated   else, if the recipe does what hfcount does not simulate: a chunked or cut loss, an optimizer in the
                    backward pass, activations or a model on the host
    open            else; `named` says what is suspected but not computed, or that it is unexplained
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hfcount.budgeting import Asked, Way
from hfcount.errors import BadInput
from hfcount.memory_answer import BUCKETS, Budget
from hfcount.quantization import Scheme, Stored
from hfcount.simulating import memory_of
from hfcount.sources import resolve
from hfcount.workbench import Workbench

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "scripts" / "facts" / "published_memory.json"
PAGE = ROOT / "docs" / "published_memory.md"
RATIOS = ROOT / "scripts" / "facts" / "published_ratios.csv"
BETWEEN = re.compile(r"(<!-- published_memory: begin -->\n).*?(<!-- published_memory: end -->)", re.DOTALL)

TOLERANCE = 0.10
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "bits": 1}
NAMED = {
    "compile": "torch.compile fuses element-wise operations and keeps less than eager PyTorch; not simulated",
    "settings": "the source does not print what was run; its settings are assumed",
    "reserved": "the figure is the card's size: it also holds the CUDA context and what the allocator reserves",
    "rule": "a rule of thumb, rounded, for no particular run",
    "unexplained": "unexplained",
}


UNLIKE = {
    "loss": {"chunked": "chunked loss", "cut": "cut loss"},
    "fused": {True: "optimizer in the backward pass"},
    "offloaded": {"inputs": "layers' inputs on the host", "paged": "optimizer's state on the host", "model": "model on the host"},
}  # fmt: skip
"""What a recipe does that is not simulated, in words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """One row's answer.

    Attributes:
        row: of the data file.
        low, high: the published figure, in bytes or bits; the same unless it is a range.
        unit: what it is printed in.
        predicted: the peak, or the quantity that `measure` names.
        budget: what the peak consists of; None for a quantity of storage.
        arithmetic: how a quantity of storage comes about.
    """

    row: Mapping[str, Any]
    low: float
    high: float
    unit: str
    predicted: float
    budget: Budget | None = None
    arithmetic: str = ""

    @property
    def status(self) -> str:
        if self._fits(self.predicted):
            return "within"
        return "not simulated" if self.unlike else "open"

    @property
    def unlike(self) -> tuple[str, ...]:
        """What the recipe does that is not simulated."""
        found = ["this way to shard"] if self.budget is not None and self.budget.method == "closed-form" else []
        for name, value in self.row.get("how", {}).items():
            values = value if isinstance(value, list) else [value]
            found += [UNLIKE[name][each] for each in values if each in UNLIKE.get(name, {})]
            if name == "nominal":
                found.append("another number of parameters")
            if name == "omits":
                found.append(f"without {', '.join(values)}")
        return tuple(found)

    def _fits(self, value: float) -> bool:
        bound = self.row.get("bound")
        if bound == "below":
            return value <= self.high
        below, above = self.low * (1 - TOLERANCE), self.high * (1 + TOLERANCE)
        return below <= value <= above

    def ratio(self, value: float) -> float:
        """To the figure, or to the nearer end of its range."""
        return value / min(max(value, self.low), self.high) if self.low < self.high else value / self.low


def figure_of(row: Mapping[str, Any]) -> tuple[float, float, str]:
    """The published figure, low and high, and its unit: "16-24 GB", "12465 MB", "0.127 bits".

    A row's `unit` says that the source prints one unit and means another.
    """
    found = re.fullmatch(r"([\d.]+)(?:-([\d.]+))? (\w+)", row["figure"])
    assert found is not None, row["figure"]
    unit = row.get("unit", found[3])
    low = float(found[1]) * UNITS[unit]
    return low, float(found[2] or found[1]) * UNITS[unit], unit


def held(row: Mapping[str, Any]) -> Verdict:
    """The row against what hfcount says."""
    low, high, unit = figure_of(row)
    if "measure" in row:
        value, arithmetic = MEASURES[row["measure"]](row)
        return Verdict(row=row, low=low, high=high, unit=unit, predicted=value, arithmetic=arithmetic)
    budget = simulated(row)
    assert budget.total_bytes is not None
    return Verdict(row=row, low=low, high=high, unit=unit, predicted=budget.total_bytes, budget=budget)


@functools.cache
def bench_of(model: str, settings: tuple[str, ...]) -> Workbench:
    """The model with its overrides, built once."""
    return Workbench(resolve(model), settings)


def simulated(row: Mapping[str, Any]) -> Budget:
    """`hfcount.memory(model, **arguments)` for one regime and rank; gradients of earlier batches where they add up."""
    arguments = row["arguments"]
    fields = {each.name for each in dataclasses.fields(Way)}
    way = Way(**{name: value for name, value in arguments.items() if name in fields})
    if row.get("how", {}).get("accumulates"):
        way = dataclasses.replace(way, accumulation=2)
    targets = arguments.get("lora_targets", "default")
    targets = tuple(targets) if isinstance(targets, list) else targets
    settings = _settings(row)
    asked = Asked.of([arguments["regime"]], arguments.get("lora_r", ()), targets, settings)
    bench = bench_of(row["model"], settings)
    try:
        return memory_of(bench, way, asked).budgets[0]
    except BadInput:  # a way to shard that is refused
        return memory_of(bench, way, asked, method="closed-form").budgets[0]


def _settings(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in row.get("arguments", {}).get("settings", {}).items())


@functools.cache
def _stored(model: str, double: bool) -> Stored:
    return bench_of(model, ()).quantized(Scheme(double=double)).stored


def _constants(row: Mapping[str, Any], *, double: bool) -> tuple[float, str]:
    """Bits of quantization constants for each quantized weight."""
    found = _stored(row["model"], double)
    weights = 2 * found.packed
    size = found.absmax + found.nested
    return 8 * size / weights, f"8 · {size:,} bytes / {weights:,} weights"


def _constants_saved(row: Mapping[str, Any]) -> tuple[float, str]:
    single, double = (_constants(row, double=each)[0] for each in (False, True))
    return single - double, f"{single:.4f} - {double:.4f}"


def _constants_saved_in_all(row: Mapping[str, Any]) -> tuple[float, str]:
    single, double = (_stored(row["model"], each) for each in (False, True))
    before, after = (each.absmax + each.nested for each in (single, double))
    return before - after, f"{before:,} - {after:,} bytes"


def _weights(row: Mapping[str, Any]) -> tuple[float, str]:
    parameters = bench_of(row["model"], _settings(row)).parameters
    return 2 * parameters, f"2 · {parameters:,}"


def _adapters(row: Mapping[str, Any]) -> tuple[float, str]:
    import math

    shapes = bench_of(row["model"], _settings(row)).adapters(row["arguments"]["lora_r"], "default").shapes
    parameters = sum(math.prod(each) for each in shapes)
    return 2 * parameters, f"2 · {parameters:,}"


def _mxfp4(row: Mapping[str, Any]) -> tuple[float, str]:
    """Experts' matrices in 4 bits with a byte for every 32, the rest in bf16 (gpt-oss, arXiv 2508.10925, section 2.1)."""
    table = bench_of(row["model"], ()).table
    matrices = (table["expert"] > 0) & (table["shape"].map(len) == 3)
    packed, rest = int(table.loc[matrices, "numel"].sum()), int(table.loc[~matrices, "numel"].sum())
    return packed * 17 / 32 + 2 * rest, f"17/32 · {packed:,} + 2 · {rest:,}"


MEASURES: dict[str, Callable[[Mapping[str, Any]], tuple[float, str]]] = {
    "constants": functools.partial(_constants, double=False),
    "double constants": functools.partial(_constants, double=True),
    "constants saved": _constants_saved,
    "constants saved in all": _constants_saved_in_all,
    "weights in 16 bit": _weights,
    "adapters in 16 bit": _adapters,
    "checkpoint in MXFP4": _mxfp4,
}


@functools.cache
def verdicts() -> dict[str, list[Verdict]]:
    """Every row's verdict, by the title of its group."""
    return {group["name"]: [held(row) for row in group["rows"]] for group in facts()["groups"]}


@functools.cache
def facts() -> dict[str, Any]:
    """The data file."""
    found: dict[str, Any] = json.loads(FACTS.read_text(encoding="utf-8"))
    return found


def summary() -> str:
    """How many figures there are, how many within 10 %, not simulated, and open for which reason."""
    every = [each for group in verdicts().values() for each in group]
    count = collections.Counter(each.status for each in every)
    left = collections.Counter(each.row.get("named", "not named") for each in every if each.status == "open")
    named = ", ".join(f"{number} {name}" for name, number in left.most_common())
    return (
        f"{len(every)} figures: {count['within']} within 10 %, {count['not simulated']} of recipes that are not "
        f"simulated, {count['open']} open ({named})."
    )


def tables() -> str:
    """The summary, a table for every group, and what is not compared."""
    lines = [f"**{summary()}**"]
    for group in facts()["groups"]:
        lines += ["", f"### {group['name']}", "", group["about"], ""]
        found = verdicts()[group["name"]]
        lines += _storage(found) if "measure" in group["rows"][0] else _memory(found)
        notes = [f"{each.row['name']}: {each.row['assumed']}" for each in found if "assumed" in each.row]
        lines += ["", "Assumed besides:", "", *(f"- {note}" for note in notes)] if notes else []
    lines += ["", "### Not compared", ""]
    lines += [f"- {each['id']}, {each['claim']}: {each['why']}" for each in facts()["not_compared"]]
    return "\n".join(lines) + "\n"


def _storage(found: list[Verdict]) -> list[str]:
    lines = ["| model | | source | published | computed | ratio | |", "| --- | --- | --- | ---: | ---: | ---: | --- |"]
    return lines + [
        f"| {each.row['id']} | {each.row['name']} | {each.row['source']} | {each.row['figure']} | "
        f"{_number(each.predicted, each.unit)} {each.unit} | {each.ratio(each.predicted):.3f} | {each.arithmetic} |"
        for each in found
    ]


def _memory(found: list[Verdict]) -> list[str]:
    lines = [
        "| | model and recipe | published | at the peak | peak | ratio | |",
        "| --- | --- | ---: | --- | ---: | ---: | --- |",
    ]
    return lines + [_line(each) for each in found]


def _line(each: Verdict) -> str:
    budget = each.budget
    assert budget is not None
    sizes = {name: getattr(budget, f"{name}_bytes") for name in BUCKETS}
    held_then = " + ".join(f"{name} {_number(size, each.unit)}" for name, size in sizes.items() if size)
    where = budget.peak_phase or "no step"
    sign = {"below": "<", "above": ">"}.get(each.row.get("bound", ""), "")
    printed = f"{sign}{each.row['figure']}" + (f" ({each.unit} meant)" if "unit" in each.row else "")
    why = {"within": "", "not simulated": ", ".join(each.unlike), "open": NAMED.get(each.row.get("named", ""), "")}
    said = why[each.status]
    cells = (
        each.row["name"],
        f"{each.row['model'].rpartition('/')[2]}: {recipe_of(each.row['arguments'])}",
        printed,
        f"{where}: {held_then}",
        f"{_number(each.predicted, each.unit)} {each.unit}",
        f"{each.ratio(each.predicted):.2f}",
        f"{each.status}: {said}" if said else each.status,
    )
    return f"| {' | '.join(cells)} |"


def _number(size: float, unit: str) -> str:
    value = size / UNITS[unit]
    if unit == "bits":
        return f"{value:.4f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def recipe_of(arguments: Mapping[str, Any]) -> str:
    """The arguments in words: "qlora r=32 all-linear, 1 x 2,972, mixed-bf16, adamw-8bit, checkpointing"."""
    parts = [arguments["regime"]]
    if "lora_r" in arguments:
        targets = arguments.get("lora_targets", "default")
        parts.append(f"r={arguments['lora_r']} {targets if isinstance(targets, str) else ' '.join(targets)}")
    words = [" ".join(parts), f"{arguments['batch']} x {arguments['seq']:,}", arguments.get("precision", "mixed-bf16")]
    words += [arguments[name] for name in ("optimizer", "quantization", "attention") if name in arguments]
    words += ["double quantization"] * arguments.get("double_quant", False)
    words += ["checkpointing"] * arguments.get("gradient_checkpointing", False)
    words += ["no upcast"] * (arguments.get("kbit_upcast") is False)
    if "sharding" in arguments:
        words.append(f"{arguments['sharding']} over {arguments['devices']}")
    return ", ".join(words)


def renewed(page: str) -> str:
    """`page` with the tables between its markers as they are now."""
    return BETWEEN.sub(lambda found: f"{found[1]}{tables()}{found[2]}", page)


def ratios() -> str:
    """CSV: what each row came to, for the sentences of the page (doc_vocabulary.py); all rows take most of a minute."""
    lines = ["group,name,id,figure,status,named,ratio"]
    for group, found in verdicts().items():
        for each in found:
            ratio = f"{each.ratio(each.predicted):.4f}"
            row = each.row
            cells = (group, row["name"], row["id"], row["figure"], each.status, row.get("named", ""), ratio)
            lines.append(",".join(f'"{cell}"' if "," in cell else cell for cell in cells))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the tables and the record of ratios")
    if parser.parse_args().write:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        RATIOS.write_text(ratios(), encoding="utf-8")
    else:
        print(tables(), end="")
    print(summary())


if __name__ == "__main__":
    main()
