"""hfcount: how many parameters a model has and where, why that is the number, and what training would add.

    >>> import hfcount
    >>> hfcount.count("gpt2").sizes.total
    124439808

Importing hfcount loads neither torch nor transformers; the first call does.
"""

from __future__ import annotations

import importlib
import logging
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
    from hfcount.api import Compared, Count, Explained, compare, count, explain, formula
    from hfcount.auditing.audits import Audit, audit
    from hfcount.costing import memory
    from hfcount.formula_answer import FormulaAnswer
    from hfcount.formulas.solve import Solution
    from hfcount.live import LiveReport, callback, report
    from hfcount.lora import LoraCount
    from hfcount.memory_answer import Memory
    from hfcount.solving import solve

_HOMES = {
    "Audit": "auditing.audits",
    "Compared": "api",
    "Count": "api",
    "Explained": "api",
    "FormulaAnswer": "formula_answer",
    "LiveReport": "live",
    "LoraCount": "lora",
    "Memory": "memory_answer",
    "Solution": "formulas.solve",
    "audit": "auditing.audits",
    "callback": "live",
    "compare": "api",
    "count": "api",
    "explain": "api",
    "formula": "api",
    "memory": "costing",
    "report": "live",
    "solve": "solving",
}
"""Where each public function and answer is at home; it is imported when it is first asked for."""

__all__ = [
    "Audit",
    "BadInput",
    "Compared",
    "Count",
    "Explained",
    "FormulaAnswer",
    "GatedError",
    "HfcountError",
    "LiveReport",
    "LoraCount",
    "Memory",
    "NotFoundError",
    "OfflineError",
    "RateLimitedError",
    "Solution",
    "SourceError",
    "UnknownModelType",
    "UnsoundForm",
    "__version__",
    "audit",
    "callback",
    "compare",
    "count",
    "explain",
    "formula",
    "memory",
    "report",
    "solve",
]

# A library says nothing unless it is asked to: logging.basicConfig(level="INFO") or HFCOUNT_LOG=info.
logging.getLogger("hfcount").addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # a type checker would take it for a promise that every name is there

    def __getattr__(name: str) -> Any:
        """A public function or answer, imported now."""
        if name not in _HOMES:
            raise AttributeError(f"module 'hfcount' has no attribute {name!r}")
        return getattr(importlib.import_module(f"hfcount.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
