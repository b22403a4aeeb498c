"""Conditions for what a trace did not follow: the fewest fields whose change makes a form wrong keep their values."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hfcount.deadline import Overdue
from hfcount.errors import BadInput
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.draws import Place, changed_places, left_out, with_places, without
from hfcount.formulas.tracing.framing import take_out
from hfcount.formulas.tracing.plant import raw_value
from hfcount.formulas.tracing.reality import Reality, buffers_differ, difference
from hfcount.formulas.tracing.writing import equals

Fields = Mapping[str, Any]


class NoForm(Exception):
    """No form could be verified; the text says why."""


def pinned(form: Form, base: Fields, culprit: Fields, reality: Callable[[Fields], Reality]) -> Form:
    """The form with a condition for the fewest fields whose change it does not follow, from `base` to `culprit`.

    Where it is wrong because a field is left out, it loses its default of that field, and with it such configs.
    Raises NoForm where no field explains it.
    """

    def wrong(raw: Fields) -> bool:
        return _comes_out(raw, form, reality, lambda real: difference(form, raw, real) is not None)

    missing = [path for path in left_out(base, culprit) if wrong(without(base, path))]
    if missing:
        defaults = copy.deepcopy(dict(form.defaults))
        for path in missing:
            take_out(defaults, path)
        return dataclasses.replace(form, defaults=defaults)
    new = [pin for pin in _pins(base, culprit, wrong) if pin not in form.guards]
    if not new:
        raise NoForm("it differs from the real class in a way that no field explains")
    return dataclasses.replace(form, guards=(*form.guards, *new))


def buffers_pinned(form: Form, base: Fields, culprit: Fields, reality: Callable[[Fields], Reality]) -> Form:
    """The form with a condition on its buffers alone; without buffers where no field explains what is wrong."""

    def wrong(raw: Fields) -> bool:
        return _comes_out(raw, form, reality, lambda real: buffers_differ(form, raw, real))

    if any(wrong(without(base, path)) for path in left_out(base, culprit)):
        return dataclasses.replace(form, buffers=None)
    new = [pin for pin in _pins(base, culprit, wrong) if pin not in form.buffer_guards]
    if not new:
        return dataclasses.replace(form, buffers=None)
    return dataclasses.replace(form, buffer_guards=(*form.buffer_guards, *new))


def _comes_out(
    raw: Fields, form: Form, reality: Callable[[Fields], Reality], differs: Callable[[Reality], bool]
) -> bool:
    """Whether the form covers a config and differs there from what the class builds."""
    if not form.covers(raw):
        return False
    try:
        return differs(reality(raw))
    except Overdue:
        raise
    except BadInput:
        return False


def _pins(base: Fields, culprit: Fields, wrong: Callable[[Fields], bool]) -> list[str]:
    """That the fewest changed fields have the values of `base`."""
    paths = [".".join(map(str, place)) for place in _fewest(base, culprit, changed_places(base, culprit), wrong)]
    return [equals(path, raw_value(base, path)) for path in paths]


def _fewest(base: Fields, culprit: Fields, places: list[Place], wrong: Callable[[Fields], bool]) -> list[Place]:
    """A smallest set of changed places that still makes the form wrong: each alone first, then by leaving out."""
    alone = [place for place in places if wrong(with_places(base, culprit, [place]))]
    if alone:
        return alone
    kept = list(places)
    for place in places:
        fewer = [each for each in kept if each != place]
        if wrong(with_places(base, culprit, fewer)):
            kept = fewer
    return kept if wrong(with_places(base, culprit, kept)) else []
