"""`solve`: from a model and a question to whole numbers that were counted."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hfcount.api import as_settings, count, formula
from hfcount.conventions import parse_figure
from hfcount.errors import BadInput, UnsoundForm
from hfcount.fast import NotCovered
from hfcount.fast.fields import check_fields
from hfcount.formula_answer import FormulaAnswer
from hfcount.formulas.solve import (
    Candidate,
    Solution,
    equation_in,
    equation_text,
    roots,
    sizes_beside,
    with_field,
)
from hfcount.limits import check_sizes, check_total
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
    number = parse_figure(wanted).value if share is None else 0  # a bad figure is refused before anything is built
    known = count(model, lora_r=(1, 2), lora_targets=targets, **how)
    first, second = known.lora
    if first.trainable is None or second.trainable is None or first.all is None:
        raise BadInput(f"{known.model}: {first.reason}")
    # A share is of all parameters, adapters included, as PEFT prints it: t/(P + t) = s gives t = P·s/(1 - s).
    target = number if share is None else int((first.all - first.trainable) * share / (1 - share))
    slope, constant = second.trainable - first.trainable, 2 * first.trainable - second.trainable
    # Both matrices of an adapter have r·(in + out) numbers; the constant is what is trained in full.
    low = (target - constant) // slope
    high = max(1, low + 1)
    ranks = [rank for rank in (low, high) if 1 <= rank <= MAX_RANK]
    rows = count(model, lora_r=ranks, lora_targets=targets, **how).lora if ranks else ()
    found = {
        row.r: Candidate(value=row.r, count=row.trainable, percent=row.trainable_percent, verified=known.built)
        for row in rows
        if row.trainable is not None
    }
    none = f"r = {MAX_RANK:,}, the most that hfcount counts, trains {slope * MAX_RANK + constant:,}"
    return Solution(
        model=known.model,
        model_class=known.model_class,
        unknown="r",
        wanted=wanted,
        target=target,
        equation=f"{slope}*r + {constant}" if constant else f"{slope}*r",
        exact=(target - constant) / slope if target >= constant else None,
        below=found.get(low),
        above=found.get(high),
        notes=(f"LoRA on {', '.join(first.targets)}", *(() if ranks else (none,)), *known.notes),
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
        functools.partial(_allowed, answer, own) if alone else functools.partial(_counted, model, over, settings, how)
    )
    found = sizes_beside(form, answer.raw, over, target, accept)
    equation = equation_in(form, answer.raw, own)
    return Solution(
        model=answer.model,
        model_class=answer.model_class,
        unknown=over,
        wanted=wanted,
        target=target,
        equation=equation_text(equation),
        exact=roots(equation, target) if equation is not None else None,
        below=found.below,
        above=found.above,
        notes=(*((found.remark,) if found.remark else ()), *answer.notes),
    )


def _allowed(answer: FormulaAnswer, field: str, found: Candidate) -> Candidate | str:
    """The candidate, or why it cannot be: its heads do not divide its width, or it is larger than hfcount builds."""
    assert answer.form is not None
    changed = with_field(answer.form, answer.raw, field, found.value)
    try:
        check_fields(answer.form, changed)
        check_sizes(changed, where=answer.model)
        check_total(found.count, where=answer.model)
    except (NotCovered, BadInput) as reason:
        return str(reason)
    return found


def _counted(
    model: str, over: str, settings: Sequence[str], how: Mapping[str, Any], found: Candidate
) -> Candidate | str:
    """The candidate after the model itself was counted at it, or why it cannot be built so.

    UnsoundForm where the form says otherwise.
    """
    options = {key: value for key, value in how.items() if key != "fast"}
    try:
        real = count(model, settings=[*settings, f"{over}={found.value}"], **options).sizes.total
    except BadInput as reason:
        return str(reason)
    if real != found.count:
        raise UnsoundForm(
            f"{model}: with {over} = {found.value:,} the form gives {found.count:,}, the model has {real:,}: "
            "a fault, please report it"
        )
    return dataclasses.replace(found, verified=True)
