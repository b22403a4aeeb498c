"""A link brings back what it was made of, whatever that was."""

from __future__ import annotations

import base64
import json
import re
import zlib
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcount.app.link import MAX_LINK, from_query, to_query
from hfcount.app.state import MAX_CONFIG_BYTES, State
from hfcount.errors import BadInput
from hfcount.sources.cards import card_folder, card_names

_VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20).filter(
    lambda text: text.strip() == text
)


@st.composite
def states(draw: st.DrawFn) -> State:
    lines = draw(st.lists(_VALUES, max_size=3))
    return State(
        model=draw(st.sampled_from(card_names())),
        settings="\n".join(f"key_{index}={line}" for index, line in enumerate(lines)),
        ranks=draw(st.sampled_from(["", "8", "4, 8, 16", "1;2"])),
        targets=draw(st.sampled_from(["default", "all-linear", "q_proj,v_proj"])),
        batch=draw(st.integers(1, 2**20)),
        seq=draw(st.none() | st.integers(1, 2**22)),
        precision=draw(st.sampled_from(["fp32", "mixed-bf16"])),
        checkpointing=draw(st.booleans()),
        double_quant=draw(st.booleans()),
        gpus=tuple(draw(st.lists(st.sampled_from(["T4", "H200"]), unique=True))),
        figure=draw(st.sampled_from(["", "117M", "6.7 B"])),
    )


@given(states())
def test_a_link_brings_the_state_back(state: State) -> None:
    query = to_query(state)
    assert query is not None
    assert query.isascii()
    assert from_query(query) == state


def test_a_link_says_what_differs_in_the_words_of_the_command_line() -> None:
    state = State(model="gpt2", settings="n_layer=24\nn_embd=1024", ranks="8", gpus=("T4",), checkpointing=True)
    query = to_query(state)
    assert query is not None
    assert parse_qs(query[1:]) == {
        "model": ["gpt2"], "set": ["n_layer=24", "n_embd=1024"], "r": ["8"], "gpu": ["T4"], "checkpointing": ["1"],
    }  # fmt: skip
    assert to_query(State()) == "?"


def test_every_bundled_config_fits_into_a_link() -> None:
    """Those with long lists of labels or layers are the ones that may not."""
    for name in card_names()[::12]:
        text = (card_folder(name) / "config.json").read_text(encoding="utf-8")
        query = to_query(State(config=text))
        assert query is not None, f"{name}: {len(text)} signs do not fit"
        assert json.loads(from_query(query).config) == json.loads(text)


def test_a_config_that_is_too_long_gives_no_link() -> None:
    labels = {str(index): f"{index * 7919 % 10007}" for index in range(5000)}
    state = State(config=json.dumps({"model_type": "bert", "id2label": labels}))
    assert to_query(state) is None


def test_parameters_of_others_are_left_alone() -> None:
    assert from_query("?__theme=dark&utm_source=x&model=gpt2") == State(model="gpt2")


def _packed(text: str) -> str:
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?batch=many", "batch = 'many' in the link"),
        ("?batch=²", "give a whole number"),
        ("?seq=-1", "seq = '-1' in the link"),
        ("?config=!!!!", "cannot be read"),
        ("?config=AAAA", "cannot be read"),
        (f"?config={_packed('{}')[:-6]}", "cut off"),
        (f"?config={_packed('x' * (MAX_CONFIG_BYTES + 1))}", "cannot be read"),  # a small link that unpacks to much
        ("?model=/etc/passwd", "neither a bundled card"),
        ("?" + "&".join(f"a{index}=1" for index in range(300)), "too many parameters"),
    ],
)
def test_a_bad_link_is_named(query: str, said: str) -> None:
    assert len(query) < MAX_LINK
    with pytest.raises(BadInput, match=re.escape(said)):
        from_query(query)
