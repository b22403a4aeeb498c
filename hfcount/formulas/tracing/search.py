"""Finding a form and proving it: trace, hold it against reality, pin what was not followed, and try again.

A form is given only after it said of every parameter what the real class says, at its own config and at random
configs that meet its conditions. Where it is wrong somewhere, the fields that made the difference become conditions
(the constructor did something with them that left no trace), so that what remains is right or nothing is given.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import random
from collections.abc import Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any

from hfcount.errors import BadInput, one_line
from hfcount.formulas.config_fields import with_config_fields
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.assemble import assembled, essential, only_defaults
from hfcount.formulas.tracing.draws import Place, changed_places, drawn, with_places
from hfcount.formulas.tracing.plant import RUN_TIME, completed, raw_value
from hfcount.formulas.tracing.reality import Reality, buffers_differ, built, difference, reality_of
from hfcount.formulas.tracing.trace import trace
from hfcount.formulas.tracing.writing import equals, literal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DRAWS = 20
_ROUNDS = 12
_ATTEMPTS = 12
"""How many configs are drawn at most for each that can be built."""


class NoForm(Exception):
    """No form could be verified; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """What drawing configs found: how many could be built and agreed, and the first that did not agree."""

    agreed: int
    failed: str | None = None
    culprit: Mapping[str, Any] | None = None
    buffers_wrong: bool = False


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
    canonical = _canonical(raw, config_class)
    subject = Subject(raw=canonical, config_class=config_class, model_class=model_class)
    real = subject.reality(canonical)
    reasons = []
    for exact_types, whole in ((False, True), (True, True), (True, False)):
        base = _base(subject, real) if whole else dict(canonical)
        try:
            traced = trace(base, config_class, model_class, exact_types=exact_types)
            form = _framed(assembled(traced, base), base, subject)
            form = with_config_fields(dataclasses.replace(form, example=dict(example or {"config": dict(raw)})))
            wrong = difference(form, base, real)
            if wrong is not None:
                raise NoForm(f"at its own config: {wrong}")
            return _proven(form, base, subject, real, draws=draws, seed=seed)
        except NoForm as error:
            reasons.append(str(error))
        except Exception as error:  # a constructor that does not take numbers that remember
            reasons.append(f"{type(error).__name__}: {one_line(error)}")
    raise NoForm(reasons[0])


def _canonical(raw: Mapping[str, Any], config_class: Any) -> dict[str, Any]:
    """`raw` with the names that the class itself uses, and nothing that only a run needs."""
    names = _aliases(config_class)
    result = {names.get(key, key): value for key, value in raw.items() if names.get(key) not in raw}
    result.setdefault("model_type", config_class.model_type)
    return {key: value for key, value in result.items() if key not in ("quantization_config", "torch_dtype", "dtype")}


def _aliases(config_class: Any) -> dict[str, str]:
    """The class's other names of fields -> the fields; a name that is a field itself stays what it is."""
    fields = {field.name for field in dataclasses.fields(config_class)}
    return {alias: name for alias, name in getattr(config_class, "attribute_map", {}).items() if alias not in fields}


def _base(subject: Subject, real: Reality) -> dict[str, Any]:
    """The fields with the class's defaults filled in, if that changes nothing; else as they are."""
    try:
        config = subject.config_class.from_dict(_copy(subject.raw))
        filled = completed(subject.raw, config)
        if subject.reality(filled) == real:
            return filled
    except Exception:  # whatever the class makes of its own defaults, the fields as published are right
        pass
    return _copy(subject.raw)


def _copy(raw: Mapping[str, Any]) -> dict[str, Any]:
    import copy

    return copy.deepcopy(dict(raw))


def _framed(form: Form, base: Mapping[str, Any], subject: Subject) -> Form:
    """The form with the class's defaults, its other names of fields, and what else the class would look at."""
    names = _aliases(subject.config_class)
    config = subject.config_class.from_dict(_copy(subject.raw))
    noticed = [name for name in _noticed(config) if not isinstance(raw_value(base, name), _Present)]
    present = [name for name in _noticed(config) if isinstance(raw_value(base, name), (bool, str, list, dict))]
    frozen = [f"{name} == {literal(raw_value(base, name))}" for name in present]
    try:
        defaults: Mapping[str, Any] = completed({"model_type": base["model_type"]}, subject.config_class())
    except Exception:
        defaults = {}
    if "num_labels" in form.defaults or any("num_labels" in text for text in form.symbols.values()):
        defaults = {**defaults, "num_labels": subject.config_class().num_labels}
    return dataclasses.replace(
        only_defaults(form, defaults),
        renamed=names,
        noticed=tuple(noticed),
        guards=(*form.guards, *(each for each in frozen if each not in form.guards)),
        versions={package: importlib.metadata.version(package) for package in ("transformers",)},
    )


_Present = (bool, int, float, str, list, tuple, dict, type(None))


def _noticed(config: Any, prefix: str = "") -> list[str]:
    """Dotted names, no fields of the class, that its own code asks of what it is given: older names, mostly."""
    import dataclasses as declared

    fields = {field.name for field in declared.fields(config)} | set(getattr(config, "attribute_map", {}))
    found: dict[str, None] = {}
    for cls in type(config).__mro__:
        if not cls.__module__.startswith(("transformers.models.", "hfcount.minigpt")):
            continue
        for name in ("__post_init__", "__init__"):
            code = getattr(vars(cls).get(name), "__code__", None)
            for text in _strings(code) if code is not None else ():
                if text.isidentifier() and len(text) > 2 and text not in fields and text not in RUN_TIME:
                    found.setdefault(f"{prefix}{text}")
    for name, value in vars(config).items():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            found.update(dict.fromkeys(_noticed(value, f"{prefix}{name}.")))
    return list(found)


def _strings(code: CodeType) -> list[str]:
    """The strings that stand in a function's code as they are, those of its comprehensions too."""
    found = [each for each in code.co_consts if isinstance(each, str) and each != code.co_consts[0]]
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found += _strings(each)
    return found


def _proven(form: Form, base: Mapping[str, Any], subject: Subject, real: Reality, *, draws: int, seed: int) -> Form:
    """The form after `draws` agreements, with the conditions that this took; NoForm where they do not come."""
    if not form.covers(base):
        raise NoForm(f"its own config does not meet its condition {form.broken_guards(base)[0]}")
    if buffers_differ(form, base, real):
        form = dataclasses.replace(form, buffers=None)
    last = ""
    for turn in range(_ROUNDS):
        check = checked(form, base, subject, draws=draws, seed=seed + turn)
        if check.buffers_wrong:
            form = dataclasses.replace(form, buffers=None)
        if check.failed is None:
            if check.agreed < draws:
                raise NoForm(f"only {check.agreed} of {draws} drawn configs could be built")
            return dataclasses.replace(form, verified=check.agreed, guards=tuple(essential(form.guards)))
        assert check.culprit is not None
        last = check.failed
        form = _pinned(form, base, check.culprit, subject)
    raise NoForm(last)


def checked(form: Form, base: Mapping[str, Any], subject: Subject, *, draws: int, seed: int) -> Check:
    """Hold the form against the real class at `draws` random configs, or until one differs."""
    chance = random.Random(f"{form.model_class} {seed}")
    agreed = attempts = refused = 0
    seen: set[str] = set()
    buffers_wrong = False
    while agreed < draws and attempts < draws * _ATTEMPTS:
        attempts += 1
        share = 1.0 if refused <= attempts // 2 else chance.choice((0.1, 0.25, 0.5))
        raw = drawn(form, base, chance, share=share)
        if repr(raw) in seen:
            continue
        seen.add(repr(raw))
        try:
            real = subject.reality(raw)
        except BadInput:
            refused += 1
            continue
        wrong = difference(form, raw, real)
        if wrong is not None:
            return Check(agreed=agreed, failed=wrong, culprit=raw, buffers_wrong=buffers_wrong)
        buffers_wrong = buffers_wrong or buffers_differ(form, raw, real)
        agreed += 1
    return Check(agreed=agreed, buffers_wrong=buffers_wrong)


def _pinned(form: Form, base: Mapping[str, Any], culprit: Mapping[str, Any], subject: Subject) -> Form:
    """The form with a condition for the fewest fields whose change it does not follow."""
    places = _fewest(form, base, culprit, changed_places(base, culprit), subject)
    pins = []
    for place in places:
        path, value = ".".join(str(part) for part in place), raw_value(base, ".".join(str(part) for part in place))
        pins.append(equals(path, value))
    new = [pin for pin in pins if pin not in form.guards]
    if not new:
        raise NoForm("it differs from the real class in a way that no field explains")
    return dataclasses.replace(form, guards=(*form.guards, *new))


def _fewest(
    form: Form, base: Mapping[str, Any], culprit: Mapping[str, Any], places: list[Place], subject: Subject
) -> list[Place]:
    """A smallest set of changed places that still makes the form wrong: each alone first, then by leaving out."""

    def wrong(some: list[Place]) -> bool:
        raw = with_places(base, culprit, some)
        if not form.covers(raw):
            return False
        try:
            return difference(form, raw, subject.reality(raw)) is not None
        except BadInput:
            return False

    alone = [place for place in places if wrong([place])]
    if alone:
        return alone
    kept = list(places)
    for place in places:
        fewer = [each for each in kept if each != place]
        if wrong(fewer):
            kept = fewer
    return kept


def check_more(form: Form, subject: Subject, *, draws: int, seed: int) -> Check:
    """Hold a verified form against `draws` more random configs, drawn around the subject's own."""
    canonical = _canonical(subject.raw, subject.config_class)
    base = _base(dataclasses.replace(subject, raw=canonical), subject.reality(canonical))
    return checked(form, base if form.covers(base) else canonical, subject, draws=draws, seed=seed)


def difference_at(form: Form, raw: Mapping[str, Any], subject: Subject) -> str | None:
    """What the form says otherwise than the real class at the plain fields `raw`; None where they agree."""
    return difference(form, raw, subject.reality(raw))
