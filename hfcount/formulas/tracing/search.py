"""Finding a form and proving it: trace, hold it against reality, pin what was not followed, and try again.

A form is given only after it said of every parameter what the real class says, at its own config and at random
configs that meet its conditions. Where it is wrong somewhere, the fields that made the difference become conditions
(the constructor did something with them that left no trace), so that what remains is right or nothing is given.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.classes import model_class_named
from hfcount.deadline import Overdue
from hfcount.errors import BadInput, one_line
from hfcount.formulas.config_fields import example_of, with_config_fields
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.assemble import assembled
from hfcount.formulas.tracing.draws import drawn, one_by_one, shortened
from hfcount.formulas.tracing.framing import canonical, finished, framed
from hfcount.formulas.tracing.pins import NoForm, buffers_pinned, pinned
from hfcount.formulas.tracing.plant import completed
from hfcount.formulas.tracing.reality import Reality, buffers_differ, built, difference, reality_of
from hfcount.formulas.tracing.trace import trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

DRAWS = 20
_ROUNDS = 16
_ATTEMPTS = 12
"""How many configs are drawn at most for each that can be built."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """What drawing configs found: how many could be built and agreed, and the first that did not agree.

    `failed` says in what it differs, `culprit` is that config; `buffers_wrong` one that differs in buffers alone.
    """

    agreed: int
    failed: str | None = None
    culprit: Mapping[str, Any] | None = None
    buffers_wrong: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What a form is sought for: plain raw fields and the classes they go through."""

    raw: Mapping[str, Any]
    config_class: Any
    model_class: type[PreTrainedModel]

    def reality(self, raw: Mapping[str, Any]) -> Reality:
        """What the real class has for the fields `raw`; BadInput where they make no model."""
        return reality_of(built(raw, self.config_class, self.model_class))

    def model(self) -> PreTrainedModel:
        """A fresh skeleton of the subject's own config."""
        return built(self.raw, self.config_class, self.model_class)

    def with_fields(self, raw: Mapping[str, Any]) -> Subject:
        """The same classes with other fields."""
        return dataclasses.replace(self, raw=raw)


def subject_of(form: Form) -> Subject:
    """Return the classes of a form and the config that it was traced from; BadInput where they are not installed."""
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)

    model_class = model_class_named(form.model_class)
    if model_class is None:
        raise BadInput(f"{form.model_class}: the installed transformers has no such class")
    known = form.model_type in CONFIG_MAPPING  # which has no `get` of its own
    config_class = CONFIG_MAPPING[form.model_type] if known else model_class.config_class
    return Subject(raw=example_of(form), config_class=config_class, model_class=model_class)


def find_form(
    raw: Mapping[str, Any],
    config_class: Any,
    model_class: type[PreTrainedModel],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    example: Mapping[str, Any] | None = None,
) -> Form:
    """A verified form for the config.json `raw`; NoForm where none could be verified, BadInput where nothing builds.

    `draws` is how many random configs it is held against besides its own.
    """
    plain = canonical(raw, config_class)
    subject = Subject(raw=plain, config_class=config_class, model_class=model_class)
    real = subject.reality(plain)
    reasons = []
    for exact_types, whole in ((False, True), (True, True), (True, False)):
        base = _base(subject, real) if whole else dict(plain)
        try:
            traced = trace(base, config_class, model_class, exact_types=exact_types)
            form = framed(assembled(traced, base), base, subject.raw, config_class)
            form = finished(form, base, config_class)
            form = with_config_fields(dataclasses.replace(form, example=dict(example or {"config": dict(raw)})))
            wrong = difference(form, base, real)
            if wrong is not None:
                raise NoForm(f"at its own config: {wrong}")
            form = _proven(form, base, subject, real, draws=draws, seed=seed)
            if form.covers(plain) and (wrong := difference(form, plain, real)) is not None:
                raise NoForm(f"at its own config as it was given: {wrong}")
            return form
        except NoForm as error:
            reasons.append(str(error))
        except Overdue:
            raise
        except Exception as error:  # a constructor that does not take numbers that remember
            reasons.append(f"{type(error).__name__}: {one_line(error)}")
    raise NoForm(reasons[0])


def _base(subject: Subject, real: Reality) -> dict[str, Any]:
    """The fields with the class's defaults filled in, if that changes nothing; else as they are."""
    try:
        config = subject.config_class.from_dict(_copy(subject.raw))
        filled = completed(subject.raw, config)
        if subject.reality(filled) == real:
            return filled
    except Overdue:
        raise
    except Exception:  # whatever the class makes of its own defaults, the fields as published are right
        pass
    return _copy(subject.raw)


def _copy(raw: Mapping[str, Any]) -> dict[str, Any]:
    import copy

    return copy.deepcopy(dict(raw))


def _proven(form: Form, base: Mapping[str, Any], subject: Subject, real: Reality, *, draws: int, seed: int) -> Form:
    """The form after `draws` agreements, with the conditions that this took; NoForm where they do not come."""
    if not form.covers(base):
        raise NoForm(f"its own config does not meet its condition {form.broken_guards(base)[0]}")
    if buffers_differ(form, base, real):
        form = dataclasses.replace(form, buffers=None)
    last, singly = "", True
    for turn in range(_ROUNDS):
        check = checked_singly(form, base, subject, seed=seed) if singly else Check(agreed=0)
        if check.failed is None and check.buffers_wrong is None:
            singly = False
            check = checked(form, base, subject, draws=draws, seed=seed + turn)
        if check.buffers_wrong is not None:
            form = buffers_pinned(form, base, check.buffers_wrong, subject.reality)
            continue
        if check.failed is None:
            if check.agreed < draws:
                raise NoForm(f"only {check.agreed} of {draws} drawn configs could be built")
            return finished(dataclasses.replace(form, verified=check.agreed), base, subject.config_class)
        assert check.culprit is not None
        last = check.failed
        form = pinned(form, base, check.culprit, subject.reality)
    raise NoForm(last)


def checked(form: Form, base: Mapping[str, Any], subject: Subject, *, draws: int, seed: int) -> Check:
    """Hold the form against the real class at `draws` random configs, or until one differs."""
    chance = random.Random(f"{form.model_class} {seed}")
    agreed = attempts = refused = 0
    seen: set[str] = set()
    while agreed < draws and attempts < draws * _ATTEMPTS:
        attempts += 1
        logger.info("holding the form of %s against config %d of %d", form.model_class, agreed + 1, draws)
        share = 1.0 if refused <= attempts // 2 else chance.choice((0.1, 0.25, 0.5))
        raw = shortened(drawn(form, base, chance, share=share), form, chance)
        if repr(raw) in seen:
            continue
        seen.add(repr(raw))
        found = _held(form, raw, subject, agreed)
        if found is None:
            refused += 1
        elif found.agreed == agreed:
            return found
        else:
            agreed = found.agreed
    return Check(agreed=agreed)


def checked_singly(form: Form, base: Mapping[str, Any], subject: Subject, *, seed: int) -> Check:
    """Hold the form against the real class at configs that change one field that it reads, each in turn."""
    agreed = 0
    for raw in one_by_one(form, base, random.Random(f"{form.model_class} {seed}")):
        found = _held(form, raw, subject, agreed)
        if found is not None and found.agreed == agreed:
            return found
        agreed += found is not None
    return Check(agreed=agreed)


def _held(form: Form, raw: Mapping[str, Any], subject: Subject, agreed: int) -> Check | None:
    """The form against the real class at one config: one more agrees, or what differs; None where nothing builds."""
    try:
        real = subject.reality(raw)
    except Overdue:
        raise
    except BadInput:
        return None
    wrong = difference(form, raw, real)
    if wrong is not None:
        return Check(agreed=agreed, failed=wrong, culprit=raw)
    if buffers_differ(form, raw, real):
        return Check(agreed=agreed, buffers_wrong=raw)
    return Check(agreed=agreed + 1)


def check_more(form: Form, subject: Subject, *, draws: int, seed: int) -> Check:
    """Hold a verified form against `draws` more random configs, drawn around the subject's own."""
    plain = canonical(subject.raw, subject.config_class)
    base = _base(subject.with_fields(plain), subject.reality(plain))
    return checked(form, base if form.covers(base) else plain, subject, draws=draws, seed=seed)


def difference_at(form: Form, raw: Mapping[str, Any], subject: Subject) -> str | None:
    """What the form says otherwise than the real class at the plain fields `raw`; None where they agree."""
    return difference(form, raw, subject.reality(raw))
