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


class HfcountError(Exception):
    """Base of all errors that hfcount raises on purpose; its text is one line that a user can act on."""

    exit_code = 2


class BadInput(HfcountError):
    """What was given cannot be used: a config, a field, a rank, a target, a path."""


class UnknownModelType(BadInput):
    """The config names an architecture that the installed transformers does not have."""


class SourceError(HfcountError):
    """A source of model descriptions cannot be reached."""

    exit_code = 3


class NotFoundError(SourceError):
    """No such repository, revision or file."""


class GatedError(SourceError):
    """The repository is gated or private: it wants a token, or a licence accepted on its page."""


class OfflineError(SourceError):
    """Offline mode is on, or the Hub cannot be reached."""


class RateLimitedError(SourceError):
    """The Hub answered that there were too many requests."""


class UnsoundForm(HfcountError):
    """A closed form does not equal the count it stands for."""

    exit_code = 1
