"""hfcount: how many parameters a model has and where, why that is the number, and what training would add.

    >>> import hfcount
    >>> hfcount.count("gpt2").sizes.total
    124439808

Importing hfcount loads neither torch nor transformers; the first call does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcount._version import __version__
from hfcount.errors import (
    BadInput,
    GatedError,
    HfcountError,
    NotFoundError,
    OfflineError,
    RateLimitedError,
    SourceError,
    UnknownModelType,
    UnsoundForm,
)

if TYPE_CHECKING:
    from hfcount.api import Count, compare, count, explain, formula
    from hfcount.auditing.audits import audit
    from hfcount.costing import memory
    from hfcount.solving import solve

_FROM_API = ("Count", "compare", "count", "explain", "formula")

__all__ = [
    "BadInput",
    "Count",
    "GatedError",
    "HfcountError",
    "NotFoundError",
    "OfflineError",
    "RateLimitedError",
    "SourceError",
    "UnknownModelType",
    "UnsoundForm",
    "__version__",
    "audit",
    "compare",
    "count",
    "explain",
    "formula",
    "memory",
    "solve",
]


def __getattr__(name: str) -> Any:
    """The public functions, imported when they are first asked for."""
    if name in _FROM_API:
        from hfcount import api

        return getattr(api, name)
    if name == "audit":
        from hfcount.auditing.audits import audit

        return audit
    if name == "solve":
        from hfcount.solving import solve

        return solve
    if name == "memory":
        from hfcount.costing import memory

        return memory
    raise AttributeError(f"module 'hfcount' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
