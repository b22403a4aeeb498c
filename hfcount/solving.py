"""`solve`: from a model and a question to whole numbers that were counted."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hfcount.api import as_settings, count, formula
from hfcount.conventions import parse_figure
from hfcount.errors import BadInput
from hfcount.fast import NotCovered
from hfcount.fast.fields import check_fields
from hfcount.formulas.form import Form
from hfcount.formulas.solve import (
    Candidate,
    Solution,
    equation_in,
    equation_text,
    ranks_beside,
    roots,
    sizes_beside,
    with_field,
)
from hfcount.lora.options import MAX_RANK


def solve(
    model: str,
    *,
    trainable: str | None = None,
    parameters: str | None = None,
    over: str | None = None,
    lora_targets: str | Sequence[str] = "default",
    settings: Mapping[str, Any] | Sequence[str] = (),
    **how: Any,
) -> Solution:
    """The inverse questions: which rank, which size.

    With `trainable` ("1%", "4M"): the ranks at which LoRA on `lora_targets` trains just less and just more than that.
    With `parameters` ("1B") and `over` ("n_layer"): the values of that config field whose totals are just below and
    just above. The answers are counted with the model itself, unless `fast` takes the catalogue's word. `how` is as in
    `count`. Raises BadInput, and SourceError.

    >>> solve("gpt2", parameters="1B", over="n_layer", fast=True).below.value
    135
    """
    if (trainable is None) == (parameters is None) or (parameters is None) != (over is None):
        raise BadInput("give --trainable 1%, or --parameters 1B with --over FIELD")
    if trainable is not None:
        return solve_rank(model, trainable, lora_targets, settings=settings, **how)
    assert parameters is not None
    assert over is not None
    return solve_size(model, parameters, over, settings=as_settings(settings), **how)


def solve_rank(model: str, wanted: str, targets: str | Sequence[str], **how: Any) -> Solution:
    """The ranks at which LoRA trains just less and just more than `wanted`, a share ("1%") or a number ("4M")."""
    share = _share(wanted)
    known = count(model, lora_r=(1, 2), lora_targets=targets, **how)
    first, second = known.lora
    if first.trainable is None or second.trainable is None:
        raise BadInput(f"{known.model}: {first.reason}")
    total = known.sizes.total
    # A share is of all parameters, adapters included, as PEFT prints it: t/(P + t) = s gives t = P·s/(1 - s).
    target = parse_figure(wanted).value if share is None else int(total * share / (1 - share))
    low, high, exact = ranks_beside(first.trainable, second.trainable, target)
    ranks = [rank for rank in (low, high) if 1 <= rank <= MAX_RANK]
    rows = count(model, lora_r=ranks, lora_targets=targets, **how).lora if ranks else ()
    found = {
        row.r: Candidate(
            value=row.r, count=row.trainable or 0, percent=row.trainable_percent, verified=known.built
        )
        for row in rows
    }  # fmt: skip
    slope, constant = second.trainable - first.trainable, 2 * first.trainable - second.trainable
    return Solution(
        model=known.model,
        model_class=known.model_class,
        unknown="r",
        wanted=wanted,
        target=target,
        equation=f"{slope}*r + {constant}" if constant else f"{slope}*r",
        exact=exact,
        below=found.get(low),
        above=found.get(high),
        notes=(f"LoRA on {', '.join(first.targets)}", *known.notes),
    )


def _share(wanted: str) -> Fraction | None:
    """ "1%" as 1/100; None for a number; BadInput for what is no share of a whole."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", wanted)
    if match is None:
        return None
    share = Fraction(match[1]) / 100
    if not 0 < share < 1:
        raise BadInput(f"--trainable {wanted}: a share is more than 0% and less than 100%")
    return share


def solve_size(model: str, wanted: str, over: str, *, settings: Sequence[str] = (), **how: Any) -> Solution:
    """The values of the config field `over` whose totals are just below and just above `wanted` ("1B")."""
    target = parse_figure(wanted).value
    answer = formula(model, settings=settings, **how)
    if answer.form is None:
        raise BadInput(f"{answer.model} has no verified closed form to solve: {answer.reason}")
    form, own = answer.form, answer.form.renamed.get(over, over)
    alone = bool(how.get("fast")) and answer.detour is None
    accept = (
        functools.partial(_allowed, form, answer.raw, own)
        if alone
        else functools.partial(_counted, model, over, settings, how)
    )
    below, above = sizes_beside(form, answer.raw, over, target, accept)
    equation = equation_in(form, answer.raw, own)
    return Solution(
        model=answer.model,
        model_class=answer.model_class,
        unknown=over,
        wanted=wanted,
        target=target,
        equation=equation_text(equation),
        exact=roots(equation, target) if equation is not None else None,
        below=below,
        above=above,
        notes=answer.notes,
    )


def _allowed(form: Form, raw: Mapping[str, Any], field: str, found: Candidate) -> Candidate | None:
    """The candidate, unless its heads do not divide its width."""
    try:
        check_fields(form, with_field(form, raw, field, found.value))
    except NotCovered:
        return None
    return found


def _counted(
    model: str, over: str, settings: Sequence[str], how: Mapping[str, Any], found: Candidate
) -> Candidate | None:
    """The candidate after the model itself was counted at it; None where it cannot be built so."""
    options = {key: value for key, value in how.items() if key != "fast"}
    try:
        real = count(model, settings=[*settings, f"{over}={found.value}"], **options).sizes.total
    except BadInput:
        return None
    return Candidate(value=found.value, count=real, verified=True)
