"""Everything that hfcount raises for its users, and the exit code of each.

HfcountError
├── BadInput              2  what was typed or read is wrong: the message says what, where and what to do
│   └── UnknownModelType  2  a config whose architecture the installed transformers does not have
├── SourceError           3  a source cannot be reached; each subclass is one reason
│   ├── NotFoundError     3  no such repo, revision or file
│   ├── GatedError        3  the repo asks for a licence to be accepted, or a token
│   ├── OfflineError      3  offline mode, or no network
│   └── RateLimitedError  3  too many requests
└── UnsoundForm           1  a closed form that does not equal the count
"""

from __future__ import annotations

import ast
import json
import re

from hfcount.visible import visible

MAX_LINE = 2000
MAX_TEXT = 300
MAX_VALIDATION = 1000
"""Signs of a validator's message that is read for its field: a longer one holds a value that fills the line anyhow."""


class HfcountError(Exception):
    """Base of all errors that hfcount raises on purpose; its text is one line that a user can act on.

    What a config or a name brings into the text (line breaks, terminal codes, half characters) is escaped.
    """

    exit_code = 2

    def __init__(self, text: str) -> None:
        half = MAX_LINE // 2
        shown = text if len(text) <= MAX_LINE else f"{text[:half]} ... {text[-half:]}"
        super().__init__(visible(shown))


class BadInput(HfcountError):
    """What was given cannot be used: a config, a field, a rank, a target, a path."""


class UnknownModelType(BadInput):
    """The config names an architecture that the installed transformers does not have."""


class SourceError(HfcountError):
    """A source of model descriptions cannot be reached; `kind` says why in a word or two, finer than the class."""

    exit_code = 3
    kind = "server"

    def __init__(self, text: str, *, kind: str | None = None) -> None:
        super().__init__(text)
        self.kind = kind or type(self).kind


PASSING_KINDS = ("offline", "timeout", "cut", "rate limit", "server", "token", "library")
"""Kinds of an error that say nothing of the model: the source gave no answer, and may give one another time; or a
library cannot be imported here ("library").

The others ("gated", "disabled", "refused", "private or missing") are the source's own answer about it.
"""


class NotFoundError(SourceError):
    """No such repository, revision or file."""

    kind = "private or missing"


class GatedError(SourceError):
    """The repository is gated or private: it wants a token, or a licence accepted on its page."""

    kind = "gated"


class OfflineError(SourceError):
    """Offline mode is on, or the Hub cannot be reached."""

    kind = "offline"


class RateLimitedError(SourceError):
    """The Hub answered that there were too many requests."""

    kind = "rate limit"


class UnsoundForm(HfcountError):
    """A closed form does not equal the count it stands for."""

    exit_code = 1


def shown(value: object) -> str:
    """Return a value of a config as JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: BaseException) -> str:
    """The message of a library's exception on one line, at most MAX_TEXT signs, without its wrapping.

    The validators of config classes name a Python type for each one that did not fit; that is put as
    "head_dim must be int or null, not 1.5".
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Class validation error", "Validation error"))] or lines
    text = " ".join(kept) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"{text} is not known to it"
    for prefix in ("ValueError: ", "TypeError: "):
        text = text.removeprefix(prefix)
    field = (_ANY_OF.match(text) or _ONE_OF.match(text)) if len(text) <= MAX_VALIDATION else None
    if field is not None:
        text = f"{field['name']} must be {_type_names(field['types'])}, not {_as_json(field['value'])}"
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


_ONE_OF = re.compile(r"Field '(?P<name>[^']+)' expected (?P<types>.+?), got .*?\(value: (?P<value>.*)\)$")
_ANY_OF = re.compile(
    r"Field '(?P<name>[^']+)' with value (?P<value>.*?) doesn't match any type in \((?P<types>.*?)\)\. "
)


def _type_names(types: str) -> str:
    """ "(<class 'int'>, <class 'NoneType'>)" as "int or null"."""
    names = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", types).replace("NoneType", "null")
    return " or ".join(re.split(r", (?![^\[]*\])", names))


def _as_json(value: str) -> str:
    """The repr of a value as config.json has it: None is null."""
    try:
        text = json.dumps(ast.literal_eval(value))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        text = value
    return text if len(text) <= 60 else f"{text[:57]}..."
