"""Conditions that a form lacks, found by changing every field alone: what its class does with a field left no trace.

Where a form and its class say different things of a config that differs in one field, conditions on that field keep
the wrong answers out, and as few right ones as can be. A field that a config works out itself, and that an extra key
in config.json replaces, keeps the value that its class works out.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.formulas.expressions import evaluate, holds, namespace
from hfcount.formulas.form import Form
from hfcount.formulas.given import filled_in
from hfcount.formulas.tracing.annotations import kinds_of
from hfcount.formulas.tracing.draws import drawn, without
from hfcount.formulas.tracing.framing import IS_GIVEN, finished
from hfcount.formulas.tracing.numbers import text_of
from hfcount.formulas.tracing.pins import NoForm
from hfcount.formulas.tracing.plant import completed, planted, raw_value, watched_reads
from hfcount.formulas.tracing.recorder import recording
from hfcount.formulas.tracing.single_fields import bases, held, is_given, more_sizes, variants
from hfcount.formulas.tracing.writing import equals, literal

if TYPE_CHECKING:
    from hfcount.formulas.tracing.search import Subject

_ROUNDS = 10
_MOST = 2
"""How many values a field is tried with where most is known already: in a config that only leaves fields out."""

_DRAWS = 18
"""How many random configs an expression is held against, before a field that the config works out may be given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Known:
    """What conditions are weighed by: the bases, the configs that a form is right about, and the names of both.

    `suspects` are the fields whose change a form was wrong about: where one is to fit another, both are among them.
    """

    subject: Subject
    bases: Sequence[Mapping[str, Any]]
    usual: Sequence[dict[str, Any]]
    right: Sequence[dict[str, Any]]
    right_configs: Sequence[Mapping[str, Any]]
    suspects: frozenset[str]


def conditioned(form: Form, subject: Subject, *, thorough: bool = True) -> Form:
    """Return the form with its class's kinds and with the conditions that its fields, changed one by one, call for.

    With `thorough`, each field is tried with all values, and in a config as given too. Raises NoForm where a wrong
    answer is left that no condition keeps out, or where the conditions keep out the config that it was traced from.
    """
    was_covered = form.covers(subject.raw)
    form = dataclasses.replace(form, kinds=kinds_of(_config(subject, subject.raw)))
    tried = list(itertools.islice(bases(form, subject), 2 if thorough else 1))
    if not tried:
        raise NoForm("none of its configs with few layers could be built")
    bounds = (None, None) if thorough else (_MOST, _MOST)
    changes = (variants(base, subject, most=most) for base, most in zip(tried, bounds, strict=False))
    answers = [held(form, variant, subject) for variant in itertools.chain.from_iterable(changes)]
    for path in dict.fromkeys(each.variant.path for each in answers if each.is_wrong):
        answers += [held(form, variant, subject) for variant in more_sizes(tried[0], path)]
    tried_changes = len(answers)
    right = [each.variant.raw for each in answers if each.said is not None and not each.is_wrong]
    known = _Known(
        subject=subject,
        bases=tried,
        usual=[_names(form, base, tried[0]) for base in tried],
        right=[_names(form, raw, tried[0]) for raw in right],
        right_configs=right,
        suspects=frozenset(each.variant.path for each in answers if each.is_wrong),
    )
    wrong: dict[str, list[Mapping[str, Any]]] = {}
    for _ in range(_ROUNDS):
        answers = [each for each in answers if each.is_wrong and form.covers(each.variant.raw)]
        if not answers and was_covered and not form.covers(subject.raw):
            broken = form.broken_guards(subject.raw)[0]
            raise NoForm(f"what keeps wrong answers out keeps its own config out: {broken}")
        if not answers:
            return dataclasses.replace(form, single_changes=tried_changes)
        wrong = {}
        for each in answers:
            wrong.setdefault(each.variant.path, []).append(each.variant.raw)
        own = [path for path in wrong if path not in form.renamed]
        for path in sorted(own or wrong, key=lambda path: -path.count(".")):  # what is inside a config first
            if left := [raw for raw in wrong[path] if form.covers(raw)]:
                form = _with_condition(form, path, left, known)
    raise NoForm(f"{next(iter(wrong))} makes a difference that no condition on it tells")


def with_conditions(form: Form, guards: Iterable[str], subject: Subject) -> Form:
    """Return the form with those guards of another class of the same config that its own config meets."""
    base = completed(subject.raw, _config(subject, subject.raw))
    for guard in guards:
        if guard in form.guards:
            continue
        tried = finished(dataclasses.replace(form, guards=(*form.guards, guard)), base, subject.config_class)
        if tried.covers(subject.raw) or not form.covers(subject.raw):
            form = tried
    return form


def _config(subject: Subject, raw: Mapping[str, Any]) -> Any:
    return subject.config_class.from_dict(copy.deepcopy(dict(raw)))


def _with_condition(form: Form, path: str, wrong: Sequence[Mapping[str, Any]], known: _Known) -> Form:
    """The form with one condition more on `path`."""
    base, config_class = known.bases[0], known.subject.config_class
    if path in form.renamed:
        guard = _best(form, form.renamed[path], wrong, known)
        if guard is None or guard in form.guards:
            # another name that its class does not read as the field that it stands for
            renamed = {alias: name for alias, name in form.renamed.items() if alias != path}
            return dataclasses.replace(form, renamed=renamed, noticed=(*form.noticed, path))
        return finished(dataclasses.replace(form, guards=(*form.guards, guard)), base, config_class)
    if path in form.kinds or is_given(known.subject.raw, path) or _is_declared(_config(known.subject, base), path):
        guard = _best(form, path, wrong, known)
    else:
        guard = _as_worked_out(form, path, base, known.subject)
        if guard is None and path not in form.noticed:
            return dataclasses.replace(form, noticed=(*form.noticed, path))
    if guard is None and not all(is_given(raw, path) for raw in wrong):
        form = dataclasses.replace(form, defaults=without(form.defaults, path))
        guard = f"{path}{IS_GIVEN}"
    if guard is None or guard in form.guards:
        raise NoForm(f"{path} makes a difference that no condition on it tells")
    return finished(dataclasses.replace(form, guards=(*form.guards, guard)), base, config_class)


def _is_declared(config: Any, path: str) -> bool:
    holder: Any = config
    *scopes, last = path.split(".")
    for scope in scopes:
        holder = getattr(holder, scope, None)
    return dataclasses.is_dataclass(holder) and last in {field.name for field in dataclasses.fields(holder)}


def _as_worked_out(form: Form, path: str, base: Mapping[str, Any], subject: Subject) -> str | None:
    """That an undeclared field is left out or has the value that its class works out; None where that is not known."""
    drawn_ones = [base, *_drawn(form, base)]
    values = [(namespace(filled_in(form.fields(raw), base)), _kept(subject, raw, path)) for raw in drawn_ones]
    values = [(names, value) for names, value in values if value is not _NOT_KEPT]
    if not values:
        return None
    for text in (*_traced(path, base, subject), *_products(base, values[0][1]), literal(values[0][1])):
        if text != path and all(_is(text, names, value) for names, value in values):
            return f"{path} is ABSENT or {path} {'is' if text in ('True', 'False', 'None') else '=='} {text}"
    return None


_NOT_KEPT = object()


def _drawn(form: Form, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for seed in range(_DRAWS):
        yield drawn(form, base, random.Random(seed), share=(1.0, 0.5, 0.2)[seed % 3])


def _kept(subject: Subject, raw: Mapping[str, Any], path: str) -> Any:
    """What a config object keeps at a dotted path, as JSON would have it."""
    try:
        value: Any = _config(subject, raw)
        for part in path.split("."):
            value = vars(value)[part]
    except Exception:  # no config, or nothing that it keeps
        return _NOT_KEPT
    return list(value) if isinstance(value, tuple) else value


def _is(text: str, names: dict[str, Any], value: Any) -> bool:
    try:
        found = evaluate(text, names)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return False
    return type(found) is type(value) and bool(found == value)


def _traced(path: str, base: Mapping[str, Any], subject: Subject) -> Iterator[str]:
    """The expression that the config class works a number out by, where it takes numbers that remember."""
    with recording(), watched_reads():
        try:
            value: Any = subject.config_class.from_dict(planted(base))
            for part in path.split("."):
                value = vars(value)[part]
        except Exception:  # nothing that the config keeps, or a class that does not take them
            return
    if isinstance(value, int) and type(value) is not bool:
        yield text_of(value, parenthesised=False)


def _products(base: Mapping[str, Any], value: Any) -> Iterator[str]:
    """A field, or a product or quotient of two, that is `value` at the base."""
    if type(value) is not int:
        return
    fields = {path: raw_value(base, path) for path in _of_kind(base, int)}
    yield from (path for path, size in fields.items() if size == value)
    for (one, size), (other, beside) in itertools.permutations(fields.items(), 2):
        if size * beside == value:
            yield f"{one}*{other}"
        if size // beside == value:
            yield f"{one}//{other}"


def _best(form: Form, path: str, wrong: Sequence[Mapping[str, Any]], known: _Known) -> str | None:
    """Return the likeliest condition that keeps wrong answers out and no right one, else the best on balance.

    Of conditions that are as likely, the one that keeps most wrong answers out. It holds at each base. None where
    there is none.
    """
    base = known.bases[0]
    if is_given(base, path) and isinstance(value := raw_value(base, path), Mapping):
        return _key_wanted(path, value, wrong, known)
    bad = [_names(form, raw, base) for raw in wrong]
    nullable = "null" in form.kinds.get(path, "null").split("|")
    found, most = None, 0
    for group in _candidates(path, known, nullable=nullable):
        lossless, kept_out = None, 0
        for text in dict.fromkeys(group):
            out = sum(not holds(text, names) for names in bad)
            if not out or not all(holds(text, names) for names in known.usual):
                continue
            lost = sum(not holds(text, names) for names in known.right)
            if not lost and out > kept_out:
                lossless, kept_out = text, out
            if out - lost > most or found is None:
                found, most = text, out - lost
        if lossless is not None:
            return lossless
    return found


def _key_wanted(path: str, value: Mapping[str, Any], wrong: Sequence[Mapping[str, Any]], known: _Known) -> str | None:
    """Return that a mapping has a key of the base that no wrong config has; one that each right one has goes first."""
    keys = [key for key in value if key.isidentifier()]
    missing = [key for key in keys if not any(is_given(raw, f"{path}.{key}") for raw in wrong)]
    missing.sort(key=lambda key: not all(is_given(raw, f"{path}.{key}") for raw in known.right_configs))
    return f"{path}.{missing[0]}{IS_GIVEN}" if missing else None


def _names(form: Form, raw: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config for conditions: as the form reads it, over all that the completed base has."""
    return namespace(filled_in(form.fields(raw), base))


def _candidates(path: str, known: _Known, *, nullable: bool) -> Iterator[Iterator[str]]:
    """Yield groups of conditions that classes make on a field, the likeliest first; that it keeps its value last."""
    base, near = known.bases[0], path.rpartition(".")[0]
    value = raw_value(base, path) if is_given(base, path) else None
    beside = [each for each in _of_kind(base, int) if each != path]
    beside.sort(key=lambda each: (not each.startswith(near), each not in known.suspects))
    lists = [each for each in _of_kind(base, list) if each != path]
    yield from _of_a_size(path, value, beside, lists, nullable=nullable)
    if is_given(base, path):
        yield iter([equals(path, value)])
    yield iter([f"{path} is ABSENT or {equals(path, value)}"])


def _of_a_size(
    path: str, value: Any, beside: Sequence[str], lists: Sequence[str], *, nullable: bool
) -> Iterator[Iterator[str]]:
    either = f"{path} is None or " if nullable else ""
    if nullable:
        yield iter([f"{path} is not None"])
    if isinstance(value, (bool, str)):
        return
    yield (f"{either}{path} {test}" for test in ("> 0", ">= 0"))
    if isinstance(value, list):
        yield from _of_a_list(path, value, beside, lists)
        return
    yield (text for each in lists for text in _with_a_list(path, each))
    if not isinstance(value, float):
        yield (f"{either}{text}" for each in beside for text in (f"{each} % {path} == 0", f"{path} % {each} == 0"))
    yield (f"{either}{text}" for text in (f"0 <= {path} <= 1", f"0 < {path} < 1"))
    yield (f"{either}{path} {sign} {each}" for each in beside for sign in ("<", "<=", ">", ">=", "=="))
    yield (f"{either}{path} {test}" for test in ("> 1", "% 1 == 0", *(f"% {by} == 0" for by in (2, 4, 8, 16, 32))))


def _of_a_list(path: str, value: list[Any], beside: Sequence[str], lists: Sequence[str]) -> Iterator[Iterator[str]]:
    yield iter((f"len({path}) > 0", f"all(each > 0 for each in {path})", f"all(each >= 0 for each in {path})"))
    yield (f"len({path}) == {each}" for each in (*beside, *(f"len({each})" for each in lists)))
    yield (f"all({each} % one == 0 for one in {path})" for each in beside)
    yield (f"all(one % {each} == 0 for one in {path})" for each in beside)
    for one, other in (pair for each in lists for pair in ((path, each), (each, path))):
        yield iter([f"all({one}[i] % {other}[i] == 0 for i in range(len({path})))"])
    yield iter((f"len({path}) == {len(value)}", f"all(each % 1 == 0 for each in {path})"))


def _with_a_list(path: str, each: str) -> Iterator[str]:
    yield from (f"len({each}) == {path}", f"len({each}) >= {path}")
    yield from (f"all({path} % one == 0 for one in {each})", f"all(one % {path} == 0 for one in {each})")
    yield f"all(({path} * 2**i) % {each}[i] == 0 for i in range(len({each})))"


def _of_kind(base: Mapping[str, Any], kind: type, prefix: str = "") -> Iterator[str]:
    """The dotted fields that hold a positive integer, or a list."""
    for name, value in base.items():
        if not name.isidentifier():
            continue
        if type(value) is kind and not (isinstance(value, int) and value < 1):
            yield f"{prefix}{name}"
        elif isinstance(value, Mapping) and name.endswith("config"):
            yield from _of_kind(value, kind, f"{prefix}{name}.")
