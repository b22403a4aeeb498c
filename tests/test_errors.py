"""The tree of errors: exit codes, one line each, and the noise of libraries put plainly."""

from __future__ import annotations

import pickle
import re

import pytest
from transformers import LlamaConfig
from watchdog import seconds_of_work

from hfcount import errors
from hfcount.errors import MAX_TEXT, one_line

# As the interface fixes them: 2 for what was given, 3 for what cannot be reached, 1 for a check that failed.
EXIT_CODES = {
    "HfcountError": 2,
    "BadInput": 2,
    "UnknownModelType": 2,
    "SourceError": 3,
    "NotFoundError": 3,
    "GatedError": 3,
    "OfflineError": 3,
    "RateLimitedError": 3,
    "UnsoundForm": 1,
}


def test_exit_codes() -> None:
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.HfcountError)
    }
    assert found == EXIT_CODES


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+(?:Error|Input|Type|Form))(?: +(\d) |$)", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code or 2) for name, code in drawn} == EXIT_CODES


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("a \x1b[31mred\x1b[0m word", r"a \x1b[31mred\x1b[0m word"),
        ("half a \ud800 sign", r"half a \ud800 sign"),
        ("null\0", r"null\x00"),
        ("Größe · 模型 ×", "Größe · 模型 ×"),
    ],
)
def test_every_text_is_one_printable_line(text: str, shown: str) -> None:
    assert str(errors.BadInput(text)) == shown
    str(errors.BadInput(text)).encode()


def test_a_text_that_a_config_made_endless_is_cut() -> None:
    text = str(errors.BadInput(f"the place: {'x' * 10**6} is wrong"))
    assert len(text) < errors.MAX_LINE + 10
    assert text.startswith("the place: xxx")
    assert text.endswith("xxx is wrong")


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("num_hidden_layers", None, "num_hidden_layers must be int, not null"),
        ("num_hidden_layers", "64", 'num_hidden_layers must be int, not "64"'),
        ("num_hidden_layers", True, "num_hidden_layers must be int, not true"),
        ("head_dim", 1.5, "head_dim must be int or null, not 1.5"),
        ("num_key_value_heads", [2], "num_key_value_heads must be int or null, not [2]"),
        ("tie_word_embeddings", "x" * 100, 'tie_word_embeddings must be bool, not "' + "x" * 56 + "..."),
    ],
)
def test_what_a_config_class_says_is_put_plainly(field: str, value: object, shown: str) -> None:
    with pytest.raises(Exception, match=field) as caught:
        LlamaConfig(**{field: value})
    assert errors.one_line(caught.value) == shown


def test_the_names_of_a_validator_are_left_out() -> None:
    with pytest.raises(Exception, match="multiple") as caught:
        LlamaConfig(hidden_size=64, num_attention_heads=7)
    assert "\n" in str(caught.value), "else there is nothing to mend"
    assert errors.one_line(caught.value).startswith("The hidden size (64) is not a multiple")


def test_an_exception_without_words() -> None:
    assert errors.one_line(NotImplementedError()) == "NotImplementedError"
    assert errors.one_line(KeyError("quick_gelu2")) == "'quick_gelu2' is not known to it"


def test_a_long_message_is_cut() -> None:
    assert len(errors.one_line(ValueError("word " * 200))) == errors.MAX_TEXT


def test_a_worker_can_send_its_error_to_its_parent() -> None:
    for kind in (errors.BadInput, errors.GatedError):
        again = pickle.loads(pickle.dumps(kind("a text\nin two")))
        assert (type(again), str(again)) == (kind, r"a text\nin two")


def test_a_long_message_of_a_validator_is_cut_before_it_is_read() -> None:
    """A config's text stands in it: made of the pattern's own words it took the pattern hours."""
    value = ", got (value: " * 20_000
    with seconds_of_work(20):
        text = one_line(ValueError(f"Field 'head_dim' expected <class 'int'>, got str (value: {value!r}"))
    assert text.startswith("Field 'head_dim' expected")
    assert len(text) == MAX_TEXT
