"""Trace, verify and write the catalogue of closed forms, and print how much of transformers it covers.

    python scripts/build_catalogue.py [--types gpt2,llama] [--task causal] [--jobs 2] [--dry-run]

For every model type of the installed transformers and each of its model classes in the auto mappings: the form of the
default config (or of the minimal working one in scripts/facts/minimal_configs.json), then of each bundled card that
no form found so far covers. Each is held against the real class at its own config and at 20 random ones before it is
kept. What could not be built or verified is recorded with its reason (scripts/covered.py); docs/coverage.md holds
the tables. With --types only the files and lines of these types are written.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import logging
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import covered

ROOT = Path(__file__).resolve().parent.parent
MINIMAL = ROOT / "scripts" / "facts" / "minimal_configs.json"

TASKS = {
    "causal LM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked LM": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "sequence to sequence": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "sequence classification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "image classification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "image-text": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "speech": "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "audio classification": "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    "base model": "MODEL_MAPPING_NAMES",
}
REST = "other"
"""The task of the types that none of these mappings names: depth, pose, segmentation, retrieval."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """One config and class to find a form for; `tasks` are the mappings that name the pair, none for a card.

    `minimal`: with fields besides the defaults; `hopeless`: why no fields would help.
    """

    model_type: str
    model_class: str
    raw: Mapping[str, Any]
    example: Mapping[str, Any]
    tasks: tuple[str, ...] = ()
    minimal: bool = False
    hopeless: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a target: "traced", "covered" (by a form found before), "no form", "not built"."""

    target: Target
    status: str
    seconds: float = 0.0
    reason: str = ""


def targets() -> dict[str, list[Target]]:
    """model type -> what to find forms for, defaults first."""
    from transformers.models.auto import modeling_auto

    minimal = json.loads(MINIMAL.read_text()) if MINIMAL.exists() else {}
    tasks: dict[tuple[str, str], list[str]] = {}
    for task, mapping in TASKS.items():
        for pair in _pairs(getattr(modeling_auto, mapping)):
            tasks.setdefault(pair, []).append(task)
    known = {model_type for model_type, _ in tasks}
    for name, mapping in vars(modeling_auto).items():
        if name.startswith("MODEL_") and name.endswith("MAPPING_NAMES"):
            for pair in _pairs(mapping):
                if pair[0] not in known:
                    tasks.setdefault(pair, []).append(REST)
    found: dict[str, list[Target]] = {}
    for (model_type, name), its_tasks in tasks.items():
        fields, why = _minimal_fields(minimal.get(model_type), name)
        raw = {**fields, "model_type": model_type, "architectures": [name]}
        found.setdefault(model_type, []).append(
            Target(
                model_type=model_type,
                model_class=name,
                raw=raw,
                example={"config": raw},
                tasks=tuple(its_tasks),
                minimal=bool(fields),
                hopeless=why if not fields else "",
            )
        )
    for target in _cards():
        found.setdefault(target.model_type, []).append(target)
    return found


def _pairs(mapping: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """(model type, class) for each class that an auto mapping names."""
    for model_type, names in mapping.items():
        for name in names if isinstance(names, (tuple, list)) else (names,):
            yield model_type, name


def _minimal_fields(entries: Any, model_class: str) -> tuple[dict[str, Any], str]:
    """(the fields that a class needs besides its defaults to be built, why); none, with why, where nothing helps."""
    for entry in entries or ():
        if entry["model_class"] in (None, model_class):
            return dict(entry["fields"] or {}), entry["why"]
    return {}, ""


def _cards() -> Iterable[Target]:
    from hfcount.classes import model_class_for
    from hfcount.configs import load_config
    from hfcount.sources import resolve
    from hfcount.sources.cards import card_names

    for name in card_names():
        loaded = load_config(resolve(f"card:{name}"))
        model_class, _ = model_class_for(loaded.config, loaded.raw, where=name)
        yield Target(
            model_type=str(loaded.raw.get("model_type") or loaded.config.model_type),
            model_class=model_class.__name__,
            raw=dict(loaded.raw),
            example={"card": name},
        )


def work(group: tuple[str, list[Target]]) -> tuple[str, list[dict[str, Any]], list[Outcome]]:
    """The forms of one model type, as entries, and what became of each target."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from hfcount.formulas.catalogue import entry_of

    model_type, wanted = group
    forms: list[Any] = []
    outcomes = []
    for target in wanted:
        start = time.perf_counter()
        status, reason, form = _found(target, forms)
        if form is not None:
            forms.append(form)
        outcomes.append(Outcome(target=target, status=status, reason=reason, seconds=time.perf_counter() - start))
        print(f"{model_type:28s} {target.model_class:44s} {status:9s} {reason[:90]}", file=sys.stderr, flush=True)
    return model_type, [entry_of(form) for form in forms], outcomes


def _found(target: Target, forms: list[Any]) -> tuple[str, str, Any]:
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)
    from hfcount.classes import model_class_named
    from hfcount.errors import BadInput
    from hfcount.formulas.tracing.search import NoForm, Subject, difference_at, find_form

    model_class = model_class_named(target.model_class)
    if model_class is None:
        return "not built", "no class of this name that can run", None
    known = target.model_type in CONFIG_MAPPING  # which has no `get` of its own
    config_class = CONFIG_MAPPING[target.model_type] if known else model_class.config_class
    try:
        subject = Subject(raw=target.raw, config_class=config_class, model_class=model_class)
        for form in forms:
            if form.model_class == target.model_class and form.covers(target.raw):
                wrong = difference_at(form, target.raw, subject)
                if wrong is None:
                    return "covered", "", None
                return "WRONG", wrong, None
        form = find_form(target.raw, config_class, model_class, example=target.example)
        form = _conditioned(form, subject)
        return "traced", "", _with_lora(form, subject)
    except BadInput as error:
        return "not built", target.hopeless or str(error), None
    except NoForm as error:
        return "no form", str(error), None


def _with_lora(form: Any, subject: Any) -> Any:
    """The form with what PEFT attaches to its class."""
    from hfcount.fast.recorded import recorded_targets

    try:
        return dataclasses.replace(form, lora=recorded_targets(form, subject))
    except Exception as error:  # PEFT and odd classes: the form is as good without
        print(f"{form.model_type}: LoRA not recorded: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return form


def lora_anew(path: Path) -> tuple[str, dict[tuple[str, str], str]]:
    """Record anew what PEFT attaches to the forms in a file; a line on what is known, and no class without a form."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from hfcount.formulas import catalogue
    from hfcount.formulas.tracing.framing import misplaced
    from hfcount.formulas.tracing.search import subject_of

    forms, sets = [], 0
    for form in catalogue.read(path):
        subject = subject_of(form)
        noticed = dict.fromkeys((*form.noticed, *misplaced(form, subject.raw, subject.config_class)))
        forms.append(_with_lora(dataclasses.replace(form, noticed=tuple(noticed), lora={}), subject))
        sets += len(forms[-1].lora.get("sets", ()))
    catalogue.write_forms(path, forms, default=catalogue.default_class(path.stem))
    return f"{path.stem:28s} {len(forms)} forms, {sets} of {4 * len(forms)} sets of targets known", {}


def conditions_anew(path: Path) -> tuple[str, dict[tuple[str, str], str]]:
    """Hold the forms in a file against every field changed alone, and keep those that pass.

    Return a line on them, and (model type, class) -> the reason for classes that have no form any more.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from hfcount.formulas import catalogue
    from hfcount.formulas.tracing.conditions import with_conditions
    from hfcount.formulas.tracing.search import subject_of

    forms, lost, gained, start = [], dict[str, str](), list[str](), time.perf_counter()
    for form in catalogue.read(path):
        try:
            subject, before = subject_of(form), form.guards
            form = _conditioned(with_conditions(form, gained, subject), subject)
            gained = gained or [guard for guard in form.guards if guard not in before]
            forms.append(form)
        except Exception as error:  # NoForm, and whatever odd classes raise: what did not pass is not shipped
            lost[form.model_class] = f"{type(error).__name__}: {str(error)[:200]}"
    catalogue.write_forms(path, forms, default=catalogue.default_class(path.stem))
    line = f"{path.stem:28s} {len(forms)} forms, {time.perf_counter() - start:.0f} s"
    left = {form.model_class for form in forms}
    gone = {(path.stem, name): reason for name, reason in lost.items() if name not in left}
    return "\n".join([line, *(f"  LOST {name}: {reason}" for name, reason in lost.items())]), gone


def _conditioned(form: Any, subject: Any) -> Any:
    """The form with the conditions that single fields call for."""
    from hfcount.formulas.tracing.conditions import conditioned
    from hfcount.formulas.tracing.single_fields import write_no_configs

    write_no_configs()
    return conditioned(form, subject)


def default_classes() -> dict[str, str]:
    """model type -> the class that a config of it is built as where it names none (hfcount/classes.py)."""
    from transformers.models.auto import modeling_auto

    found: dict[str, str] = {"minigpt": "MiniGPTForCausalLM"}
    for mapping in (
        "CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "MASKED_LM",
        "IMAGE_CLASSIFICATION", "AUDIO_CLASSIFICATION", "CTC", "PRETRAINING", "",
    ):  # fmt: skip
        name = f"MODEL_FOR_{mapping}_MAPPING_NAMES" if mapping else "MODEL_MAPPING_NAMES"
        for model_type, classes in getattr(modeling_auto, name).items():
            first = classes[0] if isinstance(classes, (tuple, list)) else classes
            found.setdefault(model_type, first)
    return found


def tried(outcome: Outcome) -> covered.Tried:
    """A line of the coverage record."""
    target = outcome.target
    card = target.example.get("card")
    return covered.Tried(
        model_type=target.model_type,
        model_class=target.model_class,
        tasks="; ".join(target.tasks) or covered.CARD,
        config=card or ("minimal" if target.minimal else "default"),
        status=outcome.status,
        seconds=outcome.seconds,
        reason=outcome.reason,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default="", help="only these model types, separated by commas")
    parser.add_argument("--task", choices=sorted((*TASKS, REST)), help="only the pairs of one task")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no file")
    parser.add_argument("--lora", action="store_true", help="only record anew what PEFT attaches; trace nothing")
    parser.add_argument(
        "--conditions", action="store_true", help="only hold forms that were not yet against single changed fields"
    )
    arguments = parser.parse_args()
    if arguments.lora or arguments.conditions:
        _gone_over(arguments.types, arguments.jobs, lora_anew if arguments.lora else conditions_anew)
        return
    groups = targets()
    if arguments.types:
        groups = {each: groups[each] for each in arguments.types.split(",")}
    if arguments.task:
        groups = {
            model_type: [each for each in its if arguments.task in each.tasks] for model_type, its in groups.items()
        }
    groups = {model_type: its for model_type, its in groups.items() if its}
    outcomes: list[Outcome] = []
    counts: collections.Counter[str] = collections.Counter()
    defaults = default_classes()
    with multiprocessing.Pool(arguments.jobs, maxtasksperchild=25) as pool:
        for model_type, entries, found in pool.imap_unordered(work, sorted(groups.items())):
            outcomes += found
            counts.update(each.status for each in found)
            if entries and not arguments.dry_run:
                _write(model_type, entries, defaults.get(model_type))
    record = [tried(each) for each in outcomes]
    print(covered.tables(record))
    print(dict(counts))
    if not arguments.dry_run and not arguments.task:
        whole = covered.merged(covered.load(), record)
        covered.save(whole)
        covered.PAGE.write_text(covered.page(whole), encoding="utf-8")


def _gone_over(types: str, jobs: int, anew: Any) -> None:
    """Go over the packaged forms once more, and take out of the record the classes that lose theirs."""
    from hfcount.formulas.catalogue import PACKAGED

    names = types.split(",") if types else sorted(each.stem for each in PACKAGED.glob("*.json"))
    gone: dict[tuple[str, str], str] = {}
    with multiprocessing.Pool(jobs, maxtasksperchild=25) as pool:
        for line, lost in pool.imap_unordered(anew, [PACKAGED / f"{name}.json" for name in names]):
            print(line, flush=True)
            gone |= lost
    if gone:
        _record_gone(gone)


def _record_gone(gone: Mapping[tuple[str, str], str]) -> None:
    record = [
        dataclasses.replace(each, status="no form", reason=gone[each.model_type, each.model_class])
        if each.formed and (each.model_type, each.model_class) in gone
        else each
        for each in covered.load()
    ]
    covered.save(record)
    covered.PAGE.write_text(covered.page(record), encoding="utf-8")


def _write(model_type: str, entries: list[dict[str, Any]], default: str | None) -> None:
    from hfcount.formulas.catalogue import PACKAGED, form_of, write_forms

    write_forms(PACKAGED / f"{model_type}.json", [form_of(entry) for entry in entries], default=default)


if __name__ == "__main__":
    main()
