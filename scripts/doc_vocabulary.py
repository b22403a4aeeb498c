"""What an expression in a document may call: small functions that ask hfcount, or read what was measured and is kept.

Each says what it gives and shows a call. `VOCABULARY` is all of them by name; doc_figures.py evaluates the expressions.
"""

from __future__ import annotations

import csv
import functools
import importlib
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from wrong_figures import drawn  # here, since mkdocs has scripts/ on the path only while it loads its hooks

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def count(model: str, *settings: str, lora_r: int = 0, lora_targets: str = "default", fast: bool = False) -> Any:
    """`hfcount.count`, with settings as on the command line: count("mini-gpt", "num_hidden_layers=4")."""
    import hfcount

    return hfcount.count(model, settings=settings, lora_r=lora_r or (), lora_targets=lora_targets, fast=fast)


@functools.cache
def memory(model: str, *settings: str, regimes: str = "full", **way: Any) -> Any:
    """`hfcount.memory`, of the regimes named with commas."""
    import hfcount

    return hfcount.memory(model, settings=settings, regimes=regimes.split(","), **way)


def regime(found: Any, name: str) -> Any:
    """The budget that is called so: "full", "lora r=8"."""
    return next(each for each in found.budgets if each.name == name)


def formula(model: str) -> Any:
    """`hfcount.formula`."""
    import hfcount

    return hfcount.formula(model)


def component(model: str, name: str, *settings: str) -> int:
    """The parameters of one component, by its name in JSON: component("gpt2", "mlp")."""
    return next(each.parameters for each in count(model, *settings).components if each.component == name)


def convention(model: str, name: str) -> int:
    """The parameters by a convention: convention("gpt2", "with stored causal masks")."""
    return next(each.parameters for each in count(model).conventions if each.name == name)


def rows(model: str, part: str, *settings: str) -> int:
    """The parameters of all rows of the inventory whose name has `part` in it: rows("mini-gpt", "layers.0.")."""
    table = count(model, *settings).table
    return int(table.loc[table["name"].str.contains(part, regex=False), "numel"].sum())


def nf4(outputs: int, inputs: int, double: bool = False) -> Any:
    """The bytes that bitsandbytes stores for one matrix in NF4, term by term."""
    from hfcount.quantization import Scheme, stored

    return stored((outputs, inputs), Scheme(double=double))


def stored_in_nf4(model: str, double: bool = False) -> Any:
    """The bytes that bitsandbytes stores for all matrices that it converts, term by term: stored_in_nf4("llama-7b")."""
    from hfcount.quantization import Scheme
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    return Workbench(resolve(model), ()).quantized(Scheme(double=double)).stored


def figure(text: str) -> Any:
    """What a printed figure stands for: figure("117M").low and .high."""
    from hfcount.conventions import parse_figure

    return parse_figure(text)


def bytes_a_parameter(precision: str, optimizer: str = "adamw") -> int:
    """Of full fine-tuning by a recipe, weights, master copy, gradients and optimizer: bytes_a_parameter("fp32").

    Counted on GPT-2's budget, which takes the same bytes for each parameter.
    """
    budget = regime(memory("gpt2", precision=precision, optimizer=optimizer, method="closed-form"), "full")
    held = sum(getattr(budget, f"{name}_bytes") for name in ("weights", "master", "gradients", "optimizer"))
    each, rest = divmod(held, count("gpt2").sizes.total)
    if rest:
        raise TypeError(f"{precision} with {optimizer} takes no whole number of bytes a parameter")
    return int(each)


@functools.cache
def wrong_figures(digits: int = 0) -> int:
    """Of 1,000 wrong figures, those that an audit calls mismatches; 0 digits are figures to the unit."""
    return sum(each.weighed.verdict == "mismatch" for each in drawn(1000, digits=digits or None, seed=20))


def cards() -> int:
    """The bundled model cards."""
    from hfcount.sources.cards import card_names

    return len(card_names())


def functions() -> int:
    """The public functions of the package."""
    import hfcount

    return sum(name.islower() and not name.startswith("_") for name in hfcount.__all__)


def gpus() -> int:
    """The GPUs whose memory is known."""
    from hfcount.budget import gpus

    return len(gpus.gpus())


def constant(path: str) -> Any:
    """A named constant of the package, a fraction as a float: constant("formulas.tracing.search.DRAWS")."""
    module, _, name = path.rpartition(".")
    if not name.isupper():
        raise LookupError(f"{path} is no constant")
    value = getattr(importlib.import_module(f"hfcount.{module}"), name)
    return float(value) if isinstance(value, Fraction) else value


def lowest(project: str) -> str:
    """The lowest version that pyproject.toml takes: lowest("transformers"), lowest("python")."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pattern = r'requires-python = ">=([\d.]+)' if project == "python" else rf'"{re.escape(project)}>=([\d.]+)'
    found = re.search(pattern, text)
    if found is None:
        raise LookupError(f"pyproject.toml does not say what {project} it wants")
    return found[1]


@functools.cache
def report_bytes(model: str, *ranks: int) -> int:
    """The size of the HTML report that `hfcount MODEL --lora-r R,R --output FILE.html` writes: report_bytes("gpt2", 8)."""
    import hfcount
    from hfcount.reports.html import count_page

    page = count_page(hfcount.count(model, lora_r=ranks), hfcount.memory(model, lora_r=ranks))
    return len(page.encode())


def entries(path: str) -> int:
    """How many entries a JSON file of the repository has: entries("tests/conformance/hand_labelled.json")."""
    return len(json.loads((ROOT / path).read_text(encoding="utf-8")))


@functools.cache
def _measured() -> list[dict[str, Any]]:
    lines = (ROOT / "benchmarks" / "memory" / "cpu.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def measured_models() -> int:
    """The models whose training step was measured on the CPU (benchmarks/memory/cpu.jsonl)."""
    return len({line["cell"]["model"] for line in _measured()})


def measured_peak(model: str) -> int:
    """The largest peak in bytes that was measured of a model, over all its cells: measured_peak("llama-wide")."""
    return max(line["peak_bytes"] for line in _measured() if line["cell"]["model"] == model)


@functools.cache
def _published() -> list[dict[str, str]]:
    with (ROOT / "scripts" / "facts" / "published_ratios.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def published(column: str, pick: str, **where: str) -> float:
    """The "min" or "max" of a column of scripts/facts/published_ratios.csv, over the rows whose columns have these values.

    published("ratio", "max", named="reserved"); TypeError where there is no such row.
    """
    values = [float(row[column]) for row in _published() if all(row[key] == value for key, value in where.items())]
    if not values or pick not in ("min", "max"):
        raise TypeError(f"no {pick} of {column} where {where}")
    return min(values) if pick == "min" else max(values)


VOCABULARY: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        bytes_a_parameter,
        cards,
        component,
        constant,
        convention,
        count,
        entries,
        figure,
        formula,
        functions,
        gpus,
        lowest,
        measured_models,
        measured_peak,
        memory,
        nf4,
        published,
        regime,
        report_bytes,
        rows,
        stored_in_nf4,
        wrong_figures,
    )
}
