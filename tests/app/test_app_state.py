"""What the page takes, and what it says to the rest."""

from __future__ import annotations

import re

import pytest

from hfcount.app.state import MAX_CONFIG_BYTES, NAMES, State, state_of
from hfcount.errors import BadInput


def test_the_page_as_it_opens_is_a_state() -> None:
    state = State()
    assert state_of([getattr(state, name) for name in NAMES]) == state
    assert [each.r for each in state.adapters()] == [4, 8, 16]


def test_boxes_that_were_emptied_are_the_defaults() -> None:
    state = State(batch=None, seq=None, gpus=None, figure=None, ranks="")  # type: ignore[arg-type]
    assert (state.batch, state.seq, state.gpus, state.figure, state.adapters()) == (1, None, (), "", [])


def test_names_become_the_ones_of_the_lists() -> None:
    state = State(gpus=("h200", "RTX 4090", "rtx-4090"), batch=4.0, seq=512.0)  # type: ignore[arg-type]
    assert state.gpus == ("H200", "RTX-4090")
    assert (state.batch, type(state.batch), state.seq) == (4, int, 512)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "/etc"}, "neither a bundled card nor a Hub id"),
        ({"model": "../../secrets"}, "paste its config.json"),
        ({"model": "~/model"}, "neither a bundled card"),
        ({"model": ""}, "neither a bundled card"),
        ({"config": "x" * (MAX_CONFIG_BYTES + 1)}, "longer than 1,048,576 bytes"),
        ({"config": "é" * (MAX_CONFIG_BYTES // 2 + 1)}, "longer than 1,048,576 bytes"),
        ({"settings": "n_layer"}, "'n_layer': write it as KEY=VALUE"),
        ({"settings": "=3"}, "write it as KEY=VALUE"),
        ({"settings": "n_layer="}, "write it as KEY=VALUE"),
        ({"settings": "\n".join(["n_layer=2"] * 65)}, "65 lines; the page takes at most 64"),
        ({"ranks": "eight"}, "'eight' is none"),
        ({"ranks": "0"}, "positive integer, 1 or more"),
        ({"ranks": "1,2,3,4,5,6,7,8,9"}, "at most 8"),
        ({"ranks": "9" * 30}, "is none"),
        ({"batch": 0}, "batch = 0"),
        ({"batch": -1}, "batch = -1"),
        ({"batch": 1.5}, "give a whole number"),
        ({"batch": float("nan")}, "give a whole number"),
        ({"batch": 2**21}, "from 1 to 1,048,576"),
        ({"seq": -5}, "seq = -5"),
        ({"precision": "fp7"}, "fp7"),
        ({"optimizer": "lion"}, "lion"),
        ({"gpus": ("abacus",)}, "'abacus' is not known"),
        ({"figure": "1" * 5000}, "longer than"),
    ],
)
def test_what_cannot_be_meant_is_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)) as caught:
        State(**fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
