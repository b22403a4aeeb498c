"""What the checkpoint's files hold, and what is published of them, held against the class.

Three figures are easily taken for each other: stored elements (what the shapes in the files multiply to, which the
Hub's sidebar shows), the parameters that they stand for, and the parameters of the class. Their differences are named
and add up (`Joined`).
"""

from __future__ import annotations

import dataclasses

from hfcount.auditing.claimed.gather import HUB_TOTAL, INDEX_BYTES, INDEX_TOTAL
from hfcount.auditing.finding import Finding, Verdict
from hfcount.auditing.stating import found, unverifiable
from hfcount.auditing.stored import Joined, Term, join, join_by_names
from hfcount.auditing.truth import Truth, Uncounted, source_of
from hfcount.errors import BadInput
from hfcount.sources.headers.checkpoint import Checkpoint
from hfcount.sources.source import Claim

ELEMENTS = "stored elements"
OF_FILES = (HUB_TOTAL, INDEX_TOTAL, INDEX_BYTES)


def joined(truth: Truth) -> Joined | str:
    """The checkpoint joined with its class, or why it cannot be."""
    checkpoint, count = truth.described.checkpoint, truth.answer
    assert checkpoint is not None
    if isinstance(count, Uncounted):
        return count.reason
    return _by_form(checkpoint, truth) or _by_class(checkpoint, truth)


def _by_form(checkpoint: Checkpoint, truth: Truth) -> Joined | None:
    """The join where the catalogue's closed form tells it: a file that is its class to the letter needs no torch."""
    from hfcount.fast import NotCovered, fast_count

    source = source_of(truth.described)
    if source is None or checkpoint.packing:
        return None
    try:
        return join_by_names(checkpoint, fast_count(source, detailed=True).parts)
    except NotCovered:
        return None


def _by_class(checkpoint: Checkpoint, truth: Truth) -> Joined | str:
    from hfcount.configs import load_config
    from hfcount.skeleton import build_skeleton

    source = source_of(truth.described)
    assert source is not None
    try:
        return join(checkpoint, build_skeleton(load_config(source), seconds=truth.seconds).model)
    except BadInput as error:
        return str(error)


def judge_elements(truth: Truth, found_joined: Joined | str) -> Finding:
    """The finding on the files themselves: their elements are the class's parameters, or every difference is named."""
    checkpoint = truth.described.checkpoint
    assert checkpoint is not None
    claim = Claim(
        claim=f"{checkpoint.stored_elements:,}",
        value=checkpoint.stored_elements,
        kind=ELEMENTS,
        source=f"headers of {_files(checkpoint)}",
    )
    if isinstance(found_joined, str):
        held = f"they stand for {checkpoint.parameters:,} parameters{_packed(checkpoint)}"
        return unverifiable(truth.described.model, claim, f"{found_joined}; {held}")
    return _of_joined(claim, checkpoint.stored_elements, truth, found_joined)


def judge_of_files(claim: Claim, truth: Truth, found_joined: Joined | str) -> Finding:
    """What the Hub or an index file says of a checkpoint that was read."""
    checkpoint = truth.described.checkpoint
    assert checkpoint is not None
    assert claim.value is not None
    model, value = truth.described.model, claim.value
    if claim.kind == INDEX_BYTES:
        same: Verdict = "ok" if value == checkpoint.nbytes else "mismatch"
        said = f"the tensors of {_files(checkpoint)} have {checkpoint.nbytes:,} bytes"
        return found(model, claim, same, said, expected=checkpoint.nbytes, claimed=value)
    if isinstance(found_joined, str):
        holds = value in (checkpoint.stored_elements, checkpoint.parameters)
        said = f"the headers have {checkpoint.stored_elements:,} elements for {checkpoint.parameters:,} parameters"
        expected = checkpoint.stored_elements
        return found(model, claim, "ok" if holds else "mismatch", said, expected=expected, claimed=value)
    if value == found_joined.total:
        return found(model, claim, "ok", "the parameters of the class", expected=value, claimed=value)
    if value in (checkpoint.stored_elements, checkpoint.parameters):
        return _of_joined(claim, value, truth, found_joined)
    said = f"the headers have {checkpoint.stored_elements:,} elements, the class {found_joined.total:,} parameters"
    return found(model, claim, "mismatch", said, expected=found_joined.total, claimed=value)


def _of_joined(claim: Claim, value: int, truth: Truth, result: Joined) -> Finding:
    """`value` is what the file's shapes multiply to, or what they stand for: its way to the class's count."""
    terms = [*result.terms]
    if value == result.stored_elements:
        terms = [*result.stored_terms]
    verdict: Verdict = "mismatch"
    if all(term.explains for term in terms):
        verdict = "explained" if any(term.elements for term in terms) else "ok"
    if not result.exact and verdict == "ok":
        verdict = "unverifiable"
    names = "; ".join(term.name for term in terms if term.elements or not term.explains)
    finding = found(
        truth.described.model, claim, verdict, _account(result, terms, value), expected=result.total, claimed=value
    )
    return dataclasses.replace(finding, convention=names if verdict == "explained" else None)


def _account(result: Joined, terms: list[Term], value: int) -> str:
    """ "class 124,439,808 + 12,582,912 buffers stored (...) = 137,022,720"."""
    shown = [term for term in terms if term.elements or not term.explains]
    if not shown:
        return f"every name and shape of the class, {result.total:,} parameters"
    steps = " ".join(
        f"{'+' if term.elements >= 0 else '-'} {abs(term.elements):,} {term.name}"
        f"{f' ({term.note})' if term.note else ''}"
        for term in shown
    )
    doubts = f"; {'; '.join(result.notes)}" if result.notes else ""
    return f"class {result.total:,} {steps} = {value:,}{doubts}"


def _files(checkpoint: Checkpoint) -> str:
    files = checkpoint.header.files
    if len(files) <= 1:
        return files[0] if files else "the checkpoint"
    return f"{files[0]} and {len(files) - 1} more"


def _packed(checkpoint: Checkpoint) -> str:
    return f" ({checkpoint.packing})" if checkpoint.packing else ""
