"""Twenty architectures labelled by hand, tensor by tensor, from what each tensor does in its modelling file.

hand_labelled.json maps a card to its components, each with patterns of parameter names. Every parameter must fit the
patterns of exactly one component, and that is the component it must have.
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import pytest

from hfcount.api import count

LABELS = json.loads((Path(__file__).parent / "hand_labelled.json").read_text(encoding="utf-8"))


def labels_of(model: str, name: str) -> list[str]:
    patterns = LABELS[model].items()
    return [part for part, names in patterns if any(fnmatch.fnmatchcase(name, each) for each in names)]


def test_there_are_twenty() -> None:
    assert len(LABELS) == 20


@pytest.mark.parametrize("model", LABELS)
def test_every_tensor_is_where_the_hand_put_it(model: str) -> None:
    table = count(f"card:{model}").table
    wrong = []
    for name, component in zip(table["name"], table["component"], strict=True):
        by_hand = labels_of(model, name)
        assert len(by_hand) == 1, f"{name} fits {by_hand}: the labels are not disjoint or not whole"
        if by_hand != [component]:
            wrong.append(f"{name}: {component}, by hand {by_hand[0]}")
    assert not wrong, f"{len(wrong)} of {len(table)}: {wrong[:5]}"
    assert set(table["component"]) == set(LABELS[model]), "a label that no tensor has"
