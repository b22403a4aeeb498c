"""What the page's events answer to input that is no state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

gradio = pytest.importorskip("gradio")


def test_input_that_is_no_state_is_said_once_and_asked_of_no_worker() -> None:
    from hfcount.app.answering import Answering
    from hfcount.app.state import NAMES, State

    answering = Answering(cast(Any, None))  # whoever asks the worker fails
    values = [getattr(State(), name) if name != "batch" else 0 for name in NAMES]
    request = cast(Any, SimpleNamespace(session_hash="one"))
    assert any("batch = 0" in str(each) for each in answering.at_once(request, *values))
    (left,) = answering.exactly(request, *values)  # an answer that leaves all as it is, and not none at all
    assert all(each == gradio.skip() for each in left)


def test_an_exact_answer_leaves_the_message_to_what_was_typed_since() -> None:
    """The message is of the newest input; an answer that was on its way when it came must not wipe it."""
    from hfcount.app.answering import SHOWN, Answering
    from hfcount.app.state import NAMES, State

    class Workers:
        def ask(self, _: str, function: Any, *arguments: Any) -> Any:
            return function(*arguments)

    answering = Answering(cast(Any, Workers()))
    values = [getattr(State(model="mini-gpt-lora-lab"), name) for name in NAMES]
    request = cast(Any, SimpleNamespace(session_hash="one"))
    answering.at_once(request, *values)
    for each in answering.exactly(request, *values):
        assert each[SHOWN.index("message")] == gradio.skip()


def test_a_field_that_is_picked_becomes_a_line_once() -> None:
    from hfcount.app.answering import chosen_field

    assert chosen_field("n_layer=12", "") == ["n_layer=12", None]
    assert chosen_field("n_layer=12", "n_embd=64\n") == ["n_embd=64\nn_layer=12", None]
    assert chosen_field("n_layer=12", " n_layer = 24") == [" n_layer = 24", None]
    assert chosen_field(None, "n_layer=24") == [gradio.skip(), gradio.skip()]


def test_without_a_config_there_are_no_fields() -> None:
    from hfcount.app.answering import known_fields
    from hfcount.app.state import NAMES, State

    values = {name: getattr(State(), name) for name in NAMES}
    assert ("n_layer = 12", "n_layer=12") in known_fields(*values.values())["choices"]
    assert known_fields(*{**values, "config": "{"}.values())["choices"] == []
