"""The records that come with the package say what a step that is run now says."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import load_script

import hfcount
from hfcount import records
from hfcount.records import packaged_answers, packaged_path
from hfcount.sources import resolve
from hfcount.sources.cards import card_names

FOLDER = Path(hfcount.__file__).parent / "records_data"
EVERY = 60
"""A card of so many is built again; `python scripts/build_records.py --check` builds all."""


SAMPLE = [pytest.param(each, marks=pytest.mark.slow) for each in sorted(card_names())[::EVERY]]


@pytest.mark.parametrize("card", ["hfcount/mini-gpt-lora-lab", *SAMPLE])
def test_a_packaged_record_is_what_a_step_says(card: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PACKAGED", FOLDER)
    _, answers = load_script("build_records").recorded(card)
    assert packaged_answers(resolve(f"card:{card}")) == answers


def test_every_card_has_a_record() -> None:
    """A card whose default recipe has no step at all says so when it is asked."""
    files = {path.name for path in FOLDER.iterdir()}
    assert {packaged_path(resolve(f"card:{each}")).name for each in card_names()} == files
