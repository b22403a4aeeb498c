"""The bundled model cards: model_cards/OWNER/NAME/ with config.json and README.md, as a Hub repo has them.

They need no network and are found by id (openai-community/gpt2) or by a short name (gpt2, llama-7b).
`model_cards/index.json` maps every short name to its id, so finding one card does not parse all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import hfcount
from hfcount.errors import BadInput
from hfcount.sources.claims import claims_in, front_matter, hfcount_block
from hfcount.sources.config_json import read_config_file
from hfcount.sources.source import Source


def card_names() -> list[str]:
    """The ids of all bundled cards, OWNER/NAME, sorted."""
    return sorted(set(_index().values()))


def aliases() -> dict[str, str]:
    """Every short name, lower-case, and the id that it stands for."""
    return dict(_index())


def find_card(name: str) -> str | None:
    """The id of the card that `name` means (an id or a short name, in any case), or None."""
    return _names().get(name.strip().lower())


def near_names(name: str) -> str:
    """The end of a message: "; bundled cards with near names: gpt2-medium"; "" where none is near, or it is one."""
    near = get_close_matches(name.strip().lower(), [*aliases(), *card_names()], n=3, cutoff=0.75)
    return f"; bundled cards with near names: {', '.join(near)}" if near and name not in card_names() else ""


def card_folder(name: str) -> Path:
    """The folder of a card; raises BadInput with the nearest names where there is none."""
    model = find_card(name)
    if model is None:
        raise BadInput(_unknown(name))
    return _root() / model


def load_card(name: str) -> Source:
    """A bundled card as a Source: its raw config.json, its claims, and where its config comes from.

    `location` is relative to the model cards, so that reports read the same on every machine.
    """
    folder = card_folder(name)
    model = folder.relative_to(_root()).as_posix()
    location = f"model_cards/{model}"
    front = front_matter((folder / "README.md").read_text(encoding="utf-8"), f"{location}/README.md")
    return Source(
        model=model,
        kind="card",
        location=location,
        config=read_config_file(folder / "config.json"),
        claims=claims_in(front, f"{location}/README.md"),
        notes=_notes(hfcount_block(front)),
    )


def _notes(block: Mapping[str, Any]) -> tuple[str, ...]:
    """A line on where the config comes from: what is reconstructed must say so wherever it is shown."""
    provenance = block.get("provenance")
    if not provenance:
        return ()
    how = "copied verbatim from" if provenance["kind"] == "verbatim" else "reconstructed from"
    added = f"; added here: {', '.join(provenance['added'])}" if provenance.get("added") else ""
    return (f"config {how}: {provenance['source']}{added}",)


def _unknown(name: str) -> str:
    near = get_close_matches(name.strip().lower(), list(_names()), n=4, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else "nothing bundled has a similar name"
    return f"no bundled model card is called {name!r} ({hint})"


@lru_cache(maxsize=1)
def _root() -> Path:
    """The folder of the cards: inside the package in a wheel, beside it in a checkout."""
    package = Path(hfcount.__file__).parent
    for root in (package / "model_cards", package.parent / "model_cards"):
        if (root / "index.json").is_file():
            return root
    raise BadInput(f"the bundled model cards are missing beside {package}: install hfcount again")


@lru_cache(maxsize=1)
def _index() -> dict[str, str]:
    return json.loads((_root() / "index.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """All that finds a card, lower-case: the short names and the ids."""
    return {**_index(), **{model.lower(): model for model in _index().values()}}
