"""Write model_cards/ from the facts in scripts/facts/: a folder per model, as on the Hub, and an index.

    python scripts/build_cards.py           write them, and remove what no fact stands behind
    python scripts/build_cards.py --check   write nothing; exit 1 if what is on disk differs

A card is never edited by hand: change the fact and run this. The facts:

    configs.json      published configs, each with its source and whether it is a verbatim copy
    minigpt.json      the models of the counting labs, in the fields of MiniGPTConfig
    claims.json       published figures, as printed, with their sources
    lab_claims.json   figures of the labs, the wrong ones too
    aliases.json      short names that people type; the repo's name in lower case is always one more
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
FACTS = HERE / "facts"
CARDS = HERE.parent / "model_cards"
OWN = "hfcount/"  # the labs' models: this project's own configs

# What the Hub calls the task of an architecture class: the exact class first, then the ending of its name.
TASKS = {
    "BertModel": "feature-extraction",
    "BartModel": "feature-extraction",
    "BartForConditionalGeneration": "text2text-generation",
    "CLIPModel": "zero-shot-image-classification",
    "Gemma3ForConditionalGeneration": "image-text-to-text",
    "Llama4ForConditionalGeneration": "image-text-to-text",
    "T5ForConditionalGeneration": "text2text-generation",
    "ViTModel": "image-feature-extraction",
    "WhisperForConditionalGeneration": "automatic-speech-recognition",
}
TASK_ENDINGS = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForImageClassification": "image-classification",
}
CLAIM_FIELDS = ("claim", "value", "approx", "kind", "source")


def read_facts(name: str) -> Any:
    """A file of facts, parsed."""
    return json.loads((FACTS / f"{name}.json").read_text(encoding="utf-8"))


def build() -> dict[str, str]:
    """Every file of model_cards/: its path below that folder and its text."""
    claims: dict[str, list[dict[str, Any]]] = {}
    for entry in read_facts("claims") + read_facts("lab_claims"):
        claims.setdefault(entry["id"], []).append(entry)
    short_names: dict[str, list[str]] = {}
    for alias, model in read_facts("aliases").items():
        short_names.setdefault(model, []).append(alias)
    files: dict[str, str] = {}
    index: dict[str, str] = {}
    for fact in read_facts("configs") + read_facts("minigpt"):
        model = fact["id"]
        names = [model.split("/")[1].lower(), *short_names.pop(model, [])]
        for alias in names:
            if alias in index:
                raise ValueError(f"the short name {alias!r} stands for {index[alias]} and for {model}")
            index[alias] = model
        files[f"{model}/config.json"] = json.dumps(full_config(fact), indent=2, ensure_ascii=False) + "\n"
        files[f"{model}/README.md"] = readme(fact, names, claims.get(model, []))
    if short_names:
        raise ValueError(f"short names for models without a config: {sorted(short_names)}")
    files["index.json"] = json.dumps(dict(sorted(index.items())), indent=1) + "\n"
    return files


def added_fields(fact: Mapping[str, Any]) -> list[str]:
    """Keys that a copy of 2019 does not have and that AutoConfig needs."""
    return [key for key in ("model_type",) if key not in fact["config"]]


def full_config(fact: Mapping[str, Any]) -> dict[str, Any]:
    """config.json: the published keys in the published order, then what had to be added."""
    return {**fact["config"], **{key: fact[key] for key in added_fields(fact)}}


def pipeline_tag(architecture: str) -> str:
    """The Hub's task for an architecture class; raises ValueError for a class that the tables do not know."""
    if architecture in TASKS:
        return TASKS[architecture]
    for ending, task in TASK_ENDINGS.items():
        if architecture.endswith(ending):
            return task
    raise ValueError(f"no task known for {architecture}: add it to TASKS in {Path(__file__).name}")


def front_matter(fact: Mapping[str, Any], names: list[str], claims: list[dict[str, Any]]) -> dict[str, Any]:
    """The front matter of a card; a licence is given only for this project's own configs."""
    provenance: dict[str, Any] = {"kind": provenance_kind(fact), "source": fact["source"]}
    if added_fields(fact):
        provenance["added"] = added_fields(fact)
    return {
        **({"license": "apache-2.0"} if fact["id"].startswith(OWN) else {}),
        "library_name": "transformers",
        "pipeline_tag": pipeline_tag(fact["architectures"][0]),
        "tags": [fact["model_type"], "parameter-count"],
        "hfcount": {
            "aliases": names,
            "provenance": provenance,
            "claims": [claim_entry(claim) for claim in claims],
        },
    }


def provenance_kind(fact: Mapping[str, Any]) -> str:
    """verbatim or reconstructed: the first word of the fact's confidence."""
    kind = fact["confidence"].split()[0]
    if kind not in ("verbatim", "reconstructed"):
        raise ValueError(f"{fact['id']}: confidence {fact['confidence']!r} says neither verbatim nor reconstructed")
    return kind


def claim_entry(claim: Mapping[str, Any]) -> dict[str, Any]:
    """A claim as the front matter has it: what is null or named by the card itself is left out."""
    first = {key: claim[key] for key in CLAIM_FIELDS if claim.get(key) is not None}
    rest = {key: value for key, value in claim.items() if key not in (*CLAIM_FIELDS, "id") and value is not None}
    return {**first, **rest}


def readme(fact: Mapping[str, Any], names: list[str], claims: list[dict[str, Any]]) -> str:
    """The text of README.md: front matter and a short page."""
    front = yaml.safe_dump(front_matter(fact, names, claims), sort_keys=False, allow_unicode=True, width=sys.maxsize)
    return f"---\n{front}---\n\n" + "\n".join(page(fact, names, claims))


def page(fact: Mapping[str, Any], names: list[str], claims: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the page below the front matter."""
    yield f"# {fact['id']}\n"
    yield (
        "A model card for counting parameters: the model's configuration and what has been published about "
        "its size, without weights. Generated by `scripts/build_cards.py`.\n"
    )
    yield "## Where the configuration comes from\n"
    if provenance_kind(fact) == "verbatim":
        yield "`config.json` is a verbatim copy of the published file."
    else:
        yield "`config.json` is **reconstructed** from documented hyperparameters, not copied."
    if added_fields(fact):
        yield f"Added to the copy: {', '.join(f'`{key}`' for key in added_fields(fact))}."
    yield f"Source: {fact['source']}.\n"
    yield "## Published figures\n"
    yield from claim_table(claims)
    yield "## Count it\n"
    yield f"```console\n$ hfcount {names[0]}\n$ hfcount formula {names[0]}\n$ hfcount memory {names[0]}\n```"
    if names[1:]:
        yield f"\nAlso found as {', '.join(f'`{name}`' for name in names[1:])}."
    yield ""


def claim_table(claims: list[dict[str, Any]]) -> Iterator[str]:
    """The claims as a Markdown table: as printed, not checked here."""
    if not claims:
        yield "None recorded.\n"
        return
    yield "As printed, right or wrong; `hfcount audit` holds them against the count.\n"
    yield "| figure | of what | conditions | source |"
    yield "|---|---|---|---|"
    for claim in claims:
        entry = claim_entry(claim)
        rest = {key: value for key, value in entry.items() if key not in CLAIM_FIELDS}
        cells = (entry["claim"], entry["kind"], conditions(rest), entry["source"])
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def conditions(details: Mapping[str, Any]) -> str:
    """What a claim was made under, in one cell: `r=8, target_modules=q v`."""
    parts = []
    for key, value in details.items():
        if isinstance(value, Mapping):
            parts.append(conditions(value))
        elif isinstance(value, list):
            parts.append(f"{key}={' '.join(map(str, value))}")
        elif value is not None:
            parts.append(f"{key}={value}")
    return ", ".join(part for part in parts if part and not part.endswith("="))


def differences(files: Mapping[str, str], root: Path) -> list[str]:
    """A line for every file below root that is missing, stale or different from what the facts give."""
    on_disk = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    lines = [f"stale: {name}" for name in sorted(on_disk - files.keys())]
    for name, text in sorted(files.items()):
        if name not in on_disk:
            lines.append(f"missing: {name}")
        elif (root / name).read_bytes() != text.encode():
            lines.append(f"differs: {name}")
    return lines


def write(files: Mapping[str, str], root: Path) -> None:
    """Make root hold exactly these files: others are deleted, with the folders that they leave empty."""
    for path in sorted(root.rglob("*"), reverse=True):  # deepest first: a folder comes after what it holds
        if path.is_file() and path.relative_to(root).as_posix() not in files:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def main(arguments: list[str] | None = None) -> int:
    """Build or check the cards; 1 if a check finds a difference."""
    parser = argparse.ArgumentParser(description="Write model_cards/ from scripts/facts/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a difference")
    parser.add_argument("--root", type=Path, default=CARDS, help="the folder of the cards")
    options = parser.parse_args(arguments)
    files = build()
    if not options.check:
        write(files, options.root)
        return 0
    found = differences(files, options.root)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
