"""Simulate a training step of every class in transformers' auto mappings, and compare with the real step where small.

    python scripts/simulated_types.py                       # all tasks, then the section in docs/simulation.md
    python scripts/simulated_types.py --tasks "causal LM"   # one task; what was recorded of others stays
    python scripts/simulated_types.py --page                # only write the section anew from the record

Each class is built small (small_configs.py) and its step run twice: without memory, and really, on the CPU. Equal
means that in each phase the highest moment has the same bytes in every bucket. Where the small config does not fit,
one with few layers or the default is simulated alone. The record is scripts/facts/simulated.csv, a line a class.
"""

from __future__ import annotations

import argparse
import collections
import csv
import dataclasses
import gc
import importlib.metadata
import json
import logging
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from small_configs import ROOT, raw_config, shallow, small

RECORD = ROOT / "scripts" / "facts" / "simulated.csv"
PAGE = ROOT / "docs" / "simulation.md"
TITLE = "## What can be simulated"
SECONDS = 60.0
SMALL_PARAMETERS = 30_000_000

SHRINKING: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]] | None] = {
    "small": small,
    "shallow": shallow,
    "default": None,
}
"""What is done to a default config, first what makes least of it."""

TASKS = {
    "causal LM": "CAUSAL_LM",
    "masked LM": "MASKED_LM",
    "sequence to sequence": "SEQ_TO_SEQ_CAUSAL_LM",
    "image-text": "IMAGE_TEXT_TO_TEXT",
    "image classification": "IMAGE_CLASSIFICATION",
    "semantic segmentation": "SEMANTIC_SEGMENTATION",
    "depth estimation": "DEPTH_ESTIMATION",
    "masked images": "MASKED_IMAGE_MODELING",
    "video classification": "VIDEO_CLASSIFICATION",
    "speech": "SPEECH_SEQ_2_SEQ",
    "CTC": "CTC",
    "audio classification": "AUDIO_CLASSIFICATION",
    "audio frames": "AUDIO_FRAME_CLASSIFICATION",
    "multiple choice": "MULTIPLE_CHOICE",
    "question answering": "QUESTION_ANSWERING",
    "sequence classification": "SEQUENCE_CLASSIFICATION",
    "token classification": "TOKEN_CLASSIFICATION",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tried:
    """A class and what became of its step.

    Attributes:
        config: "small", "shallow" (few layers of the default widths) or "default".
        status: "simulated", "not simulated", or "not built": the class refuses its config.
        real: of a small one "equal", "differs" with both peaks, or "fails" with the reason; "" where it was not run.
        reason: why it is not simulated.
    """

    task: str
    model_type: str
    model_class: str
    config: str
    status: str
    real: str = ""
    reason: str = ""


def classes_of(task: str) -> Iterator[tuple[str, str]]:
    """(model type, class) for each that the task's auto mapping names."""
    from transformers.models.auto import modeling_auto

    for model_type, names in getattr(modeling_auto, f"MODEL_FOR_{TASKS[task]}_MAPPING_NAMES").items():
        for name in names if isinstance(names, (tuple, list)) else (names,):
            yield model_type, name


def bench_of(raw: dict[str, Any], config: str) -> Any:
    """The class on the bench. Raises BadInput where it cannot be built."""
    from hfcount.configs import load_config
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    name = raw["architectures"][0]
    folder = Path(tempfile.mkdtemp(prefix="hfcount-"))
    (folder / "config.json").write_text(json.dumps(raw))
    shrink = SHRINKING[config]
    if shrink is not None:
        whole = load_config(resolve(str(folder))).config.to_dict()
        fields = {**shrink(whole), "architectures": [name], "model_type": raw["model_type"]}
        (folder / "config.json").write_text(json.dumps(fields, default=str))
    bench = Workbench(resolve(str(folder)), [], class_name=name)
    bench.model  # noqa: B018  (built here, so that what cannot be is refused here)
    return bench


def tried(task: str, model_type: str, name: str) -> Tried:
    """What becomes of a class: small where it can be, else shallow, else as it is by default."""
    found = None
    for config in SHRINKING:
        found = tried_with(task, model_type, name, config)
        if found.status == "simulated":
            break
    assert found is not None
    return found


def tried_with(task: str, model_type: str, name: str, config: str) -> Tried:
    made = {"task": task, "model_type": model_type, "model_class": name, "config": config}
    try:
        bench = bench_of(raw_config(model_type, name), config)
    except Exception as error:
        return Tried(**made, status="not built", reason=short(error))
    is_small = config == "small"
    if is_small and bench.parameters > SMALL_PARAMETERS:
        return Tried(**made, status="not simulated", reason="not small")
    run = _run(task, bench, is_small=is_small)
    try:
        found = _simulated(bench, run, whole=is_small)
    except Exception as error:
        return Tried(**made, status="not simulated", reason=short(error))
    return Tried(**made, status="simulated", real=_against_real(bench, run, found) if is_small else "")


def _run(task: str, bench: Any, *, is_small: bool) -> Any:
    from hfcount.simulation.media import usual_length
    from hfcount.simulation.plan import Run

    sound = usual_length(bench.model)
    if sound is not None:
        return Run(batch=1, seq=sound)
    most = bench.positions or 2048
    if task == "image-text":  # room for an image's tokens
        return Run(batch=1, seq=min(most, 400 if is_small else 2048))
    images = task in ("image classification", "semantic segmentation")
    return Run(batch=2 if images else 1, seq=min(most, 16 if is_small else 128))  # two, for norms over a batch


def _wished() -> Any:
    from hfcount.budget.recipes import recipe
    from hfcount.simulation.plan import Wished

    return Wished(precision=recipe("fp32").full)


def _simulated(bench: Any, run: Any, *, whole: bool) -> Any:
    from hfcount.simulation.simulate import simulate

    return simulate(bench, _wished(), run, whole=whole, seconds=SECONDS)


def _against_real(bench: Any, run: Any, found: Any) -> str:
    """How the real step on the CPU compares."""
    import torch

    from hfcount.simulation.simulate import measured
    from hfcount.simulation.step import run_step
    from hfcount.simulation.subject import materialize, skeleton_of

    torch.manual_seed(0)
    try:
        subject = skeleton_of(bench, _wished())
        materialize(subject)
        real = measured(run_step(subject, run, seconds=SECONDS))
    except Exception as error:
        return f"fails: {short(error)}"
    if {phase: each.buckets for phase, each in real.phases.items()} == {
        phase: each.buckets for phase, each in found.phases.items()
    }:
        return "equal"
    return f"differs: {found.peak.bytes} simulated, {real.peak.bytes} real"


def short(error: BaseException) -> str:
    """Why, on one line of at most 200 signs."""
    from hfcount.simulation.steps import why

    text = re.sub(r"hfcount-\w+: ", "", why(error))
    text = re.sub(r"^cannot be built as \w+: ", "", text.replace("the step cannot be simulated: ", ""))
    return text if len(text) <= 200 else f"{text[:197]}..."


def load() -> list[Tried]:
    """The record; empty where there is none."""
    if not RECORD.exists():
        return []
    with RECORD.open(newline="", encoding="utf-8") as lines:
        return [Tried(**row) for row in csv.DictReader(lines)]


def save(rows: Iterable[Tried]) -> None:
    """Write the record, sorted."""
    order = list(TASKS)
    ordered = sorted(rows, key=lambda each: (order.index(each.task), each.model_type, each.model_class))
    with RECORD.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [field.name for field in dataclasses.fields(Tried)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(each) for each in ordered)


def counts(rows: Sequence[Tried]) -> list[str]:
    """A Markdown table: a line for each task."""
    lines = ["| task | classes | can be built | simulated | run really too | equal |", "| --- " + "| ---: " * 5 + "|"]
    groups = [(task, [each for each in rows if each.task == task]) for task in TASKS]
    for title, mine in (*groups, ("all", list(rows))):
        if mine:
            built = [each for each in mine if each.status != "not built"]
            simulated = [each for each in mine if each.status == "simulated"]
            ran = [each for each in simulated if each.real and not each.real.startswith("fails")]
            equal = sum(each.real == "equal" for each in ran)
            lines.append(f"| {title} | {len(mine)} | {len(built)} | {len(simulated)} | {len(ran)} | {equal} |")
    return lines


def reasons(rows: Sequence[Tried]) -> list[str]:
    """A Markdown table of what does not simulate, or differs from the real step, and why."""
    grouped: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for each in rows:
        odd = each.reason if each.status == "not simulated" else each.real if each.real not in ("", "equal") else ""
        if odd:
            grouped[each.model_type, odd.replace("|", "\\|")].append(each.model_class)
    lines = ["| type | classes | reason |", "| --- | --- | --- |"]
    for (model_type, reason), names in sorted(grouped.items()):
        lines.append(f"| `{model_type}` | {', '.join(dict.fromkeys(names))} | {reason} |")
    return lines


def section(rows: Sequence[Tried]) -> str:
    """The section of docs/simulation.md."""
    version = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    text = _TEXT.format(title=TITLE, **version)
    return "\n".join([text, *counts(rows), "", _WHY, "", *reasons(rows), ""])


_TEXT = """{title}

`python scripts/simulated_types.py` runs a training step of every class that the auto mappings of transformers name
for these tasks (torch {torch}, transformers {transformers}): fp32, AdamW, one row (two images, for norms over a batch). A class is built small, and its
step is run without memory and then really, on the CPU; equal means that at the highest moment of each phase every
bucket holds the same bytes. Where the small config does not fit the class, one with few layers of the default widths, or
the default itself, is simulated alone.
Every line of the record is in `scripts/facts/simulated.csv`.
"""

_WHY = """What is not simulated, or is not the same, and why. A default config whose parts do not fit each other stops
the real step with the same words; such a model is simulated with a config that fits, as published ones do."""


def write_page(rows: Sequence[Tried]) -> None:
    """Write the section into the page; the other sections stay."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Simulated training steps\n"
    before, found, after = page.partition(TITLE)
    rest = after.partition("\n## ")[2]
    parts = [before.rstrip() + "\n", section(rows), *([f"## {rest}"] if found and rest else [])]
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="only these, separated by commas")
    parser.add_argument("--types", default="", help="only these model types, separated by commas")
    parser.add_argument("--odd", action="store_true", help="only what was not simulated, or not run really as well")
    parser.add_argument("--page", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    rows = {(each.task, each.model_class, each.model_type): each for each in load()}
    if not arguments.page:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        for task in arguments.tasks.split(","):
            for model_type, name in classes_of(task):
                known = rows.get((task, name, model_type))
                if arguments.odd and known is not None and known.real == "equal":
                    continue
                if arguments.types and model_type not in arguments.types.split(","):
                    continue
                start = time.perf_counter()
                found = tried(task, model_type, name)
                rows[task, name, model_type] = found
                taken = f"{time.perf_counter() - start:5.1f} s"
                print(taken, *dataclasses.astuple(found), sep="  ", file=sys.stderr, flush=True)
                gc.collect()
                gc.freeze()  # what is loaded stays, so later collections need not look at it
            save(rows.values())
    write_page(list(rows.values()))


if __name__ == "__main__":
    main()
