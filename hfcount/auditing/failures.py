"""What becomes of a model that could not be audited: one finding that says why, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable

from hfcount.auditing.finding import Finding
from hfcount.auditing.targets import Target
from hfcount.environment import cannot_import
from hfcount.errors import HfcountError, SourceError, one_line
from hfcount.sources.headers.header import HeaderError

AuditOne = Callable[[Target], "tuple[Finding, ...]"]
"""The audit of one model. It is sent to other processes, so it is a function of a module or a partial of one."""

# The kind of an error finding, by the class of the error; the first that fits decides. A SourceError says it itself.
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (HeaderError, "header"),
    (HfcountError, "config"),
    (MemoryError, "memory"),
)


def failure(target: Target, reason: str, kind: str) -> Finding:
    """The finding for a `target` of which nothing could be audited; `reason` is one line."""
    return Finding(model=target.name, claim="", kind=kind, source=target.location, verdict="error", explanation=reason)


def audit_safely(audit_one: AuditOne, target: Target) -> tuple[Finding, ...]:
    """What `audit_one` finds, at least one finding; whatever it raises is an error finding.

    Of a model that claims nothing one finding says so: each model that was audited leaves a row.
    """
    if target.fault:
        return (failure(target, target.fault, "row"),)
    try:
        return tuple(audit_one(target)) or (_nothing_claimed(target),)
    except Exception as error:  # one model may not end the audit of a million
        return (failure(target, _reason(error), _kind(error)),)


def _reason(error: Exception) -> str:
    if not isinstance(error, HfcountError) and (reason := cannot_import(error)):
        return reason
    return str(error) if isinstance(error, HfcountError) else f"{type(error).__name__}: {one_line(error)}"


def _kind(error: Exception) -> str:
    if isinstance(error, SourceError):
        return error.kind
    if cannot_import(error):
        return "library"
    return next((kind for kinds, kind in _KINDS if isinstance(error, kinds)), "internal")


def _nothing_claimed(target: Target) -> Finding:
    return Finding(
        model=target.name,
        claim="",
        kind="none",
        source=target.location,
        verdict="unverifiable",
        explanation="nothing is claimed",
    )
