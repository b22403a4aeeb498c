"""From what a trace saw to a form: sizes that divide cancel, symbols get names, conditions lose what is always so."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hfcount.formulas.expressions import field_paths
from hfcount.formulas.form import Form, Row
from hfcount.formulas.notation import named
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.loops import gathered
from hfcount.formulas.tracing.repeated import Conditions, Repeated
from hfcount.formulas.tracing.trace import Traced
from hfcount.formulas.tracing.writing import write

Quotients = Mapping[str, tuple[Polynomial, Polynomial]]


def assembled(traced: Traced, raw: Mapping[str, Any], *, with_buffers: bool = True) -> Form:
    """The form of what `traced` saw for the completed fields `raw`, not verified yet."""
    conditions = Conditions()
    quotients = traced.recorder.quotients
    exact: dict[str, None] = {}
    rows = [_cancelled(row, quotients, exact) for row in gathered(traced.parameters, conditions)]
    ignored = Conditions()
    buffers = [_cancelled(row, quotients, exact) for row in gathered(traced.buffers, ignored)] if with_buffers else []
    head = (
        tuple(cancelled(dim, quotients, exact) for dim in traced.tied_head) if traced.tied_head is not None else None
    )
    rows, buffers = [_layers_named(row) for row in rows], [_layers_named(row) for row in buffers]
    everything = [*_polys(rows), *_polys(buffers), *(head or ())]
    atoms = list(dict.fromkeys(symbol for poly in everything for symbol in poly.symbols))
    ordered = [each for poly in _polys(rows) for each in _ordered(poly)]
    names = named(list(dict.fromkeys([*ordered, *atoms])))
    guards = [*_exact(exact, quotients), *traced.guards, *conditions.guards]
    if buffers:
        guards += [each for each in ignored.guards if each not in guards]
    guards = _tidied(guards, quotients)
    symbols = {name: atom[1:-1] if _wrapped(atom) else atom for atom, name in names.items()}
    return Form(
        model_type=str(raw["model_type"]),
        model_class=type(traced.model).__name__,
        symbols=symbols,
        guards=tuple(guards),
        defaults={},
        rows=tuple(_row(row, names) for row in rows),
        buffers=tuple(_row(row, names) for row in buffers) if with_buffers else None,
        tied_head=tuple(_text(dim, names) for dim in head) if head is not None else None,
    )


def _polys(rows: Iterable[Repeated]) -> list[Polynomial]:
    return [poly for row in rows for poly in (row.times, *row.dims, row.experts, row.chosen)]


def _ordered(poly: Polynomial) -> list[str]:
    return [symbol for monomial in poly.terms for symbol, _ in monomial]


def cancelled(poly: Polynomial, quotients: Quotients, exact: dict[str, None]) -> Polynomial:
    """h·(d//h) as d, wherever the division left no remainder; `exact` gets the divisions that this rests on."""
    changed = True
    while changed:
        changed = False
        for monomial, factor in list(poly.terms.items()):
            for symbol, power in monomial:
                if symbol in quotients and (put := _without(dict(monomial), symbol, power, quotients)) is not None:
                    poly = poly - Polynomial({monomial: factor}) + put * factor
                    exact.setdefault(symbol)
                    changed = True
                    break
            if changed:
                break
    return poly


def _without(powers: dict[str, int], symbol: str, power: int, quotients: Quotients) -> Polynomial | None:
    """The monomial with one `symbol`·divisor replaced by the dividend; None where the divisor is no factor of it."""
    dividend, divisor = quotients[symbol]
    if len(divisor.terms) != 1:
        return None
    ((needed, factor),) = divisor.terms.items()
    if factor != 1 or not needed or any(powers.get(name, 0) < count for name, count in needed):
        return None
    powers[symbol] -= 1
    for name, count in needed:
        powers[name] -= count
    rest = tuple(sorted((name, count) for name, count in powers.items() if count))
    return Polynomial({rest: 1}) * dividend


def _cancelled(row: Repeated, quotients: Quotients, exact: dict[str, None]) -> Repeated:
    return dataclasses.replace(
        row,
        dims=tuple(cancelled(dim, quotients, exact) for dim in row.dims),
        times=cancelled(row.times, quotients, exact),
        experts=cancelled(row.experts, quotients, exact),
        chosen=cancelled(row.chosen, quotients, exact),
    )


def _layers_named(row: Repeated) -> Repeated:
    """A number of layers that is a difference becomes a symbol of its own: L_e for L - L_d."""
    times = row.times
    if len(times.terms) > 1 and all(len(monomial) <= 1 for monomial in times.terms):
        return dataclasses.replace(row, times=Polynomial.symbol(f"({write(times)})"))
    return row


def _exact(exact: Iterable[str], quotients: Quotients) -> list[str]:
    """That each division that cancelled leaves no remainder."""
    pairs = (quotients[text] for text in exact)
    return [f"({write(left, parenthesised=True)} % {write(right, parenthesised=True)}) == 0" for left, right in pairs]


def _tidied(guards: list[str], quotients: Quotients) -> list[str]:
    """Each condition once, as a person writes it, without those that say nothing or less than another."""
    result: dict[str, None] = {}
    for guard in guards:
        text = guard
        for quotient, (dividend, divisor) in quotients.items():
            text = text.replace(f"{write(divisor)}*{quotient}", write(dividend, parenthesised=True))
            text = text.replace(f"{quotient}*{write(divisor)}", write(dividend, parenthesised=True))
        text = re.sub(r"^\(([^()]*)\) (==|!=|<|<=|>|>=) ", r"\1 \2 ", text)
        left, equal, right = text.partition(" == ")
        same = (equal and left.strip("()") == right.strip("()")) or re.fullmatch(r"\((.+) % \1\) == 0", text)
        if not same and field_paths(text):
            result.setdefault(text)
    return essential([text for text in result if not _said_by_another(text, result)])


_FIXES = re.compile(r"([\w.\[\]]+) (?:==|is) ((?!ABSENT)[^=]+)")


def essential(guards: Iterable[str]) -> list[str]:
    """The conditions without those that are about fields which another condition gives one value."""
    guards = list(dict.fromkeys(guards))
    fixing = {each: match[1] for each in guards if (match := _FIXES.fullmatch(each)) and _is_literal(match[2])}
    fixed = set(fixing.values())

    def said_by_another(guard: str) -> bool:
        if guard in fixing:
            return "[" in fixing[guard] and set(field_paths(guard)) <= fixed
        return set(field_paths(guard)) <= fixed or guard.split(" ")[0] in fixed

    return [each for each in guards if not said_by_another(each)]


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _said_by_another(text: str, guards: Iterable[str]) -> bool:
    """Whether x > 1 makes `text`, x > 0 or x != 0, superfluous; and "not (x)" the same said as "x is False"."""
    size, _, bound = text.rpartition(" > ")
    if text.endswith(" != 0"):
        size, bound = text.removesuffix(" != 0"), "-1"
    if size and re.fullmatch(r"-?\d+", bound):
        others = (each.removeprefix(f"{size} > ") for each in guards if each.startswith(f"{size} > "))
        return any(other.isdigit() and int(other) > int(bound) for other in others)
    field, _, value = text.partition(" is ")
    return (value == "False" and f"not ({field})" in guards) or (value == "True" and field in guards)


def _wrapped(text: str) -> bool:
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return place == len(text) - 1 and text.startswith("(")
    return False


def _text(poly: Polynomial, names: Mapping[str, str]) -> str:
    renamed = {
        tuple(sorted((names[symbol], power) for symbol, power in monomial)): factor
        for monomial, factor in poly.terms.items()
    }
    return write(Polynomial(renamed))


def _row(row: Repeated, names: Mapping[str, str]) -> Row:
    return Row(
        name=row.name,
        module_class=row.module_class,
        component=row.component,
        shape=tuple(_text(dim, names) for dim in row.dims),
        times=_text(row.times, names),
        experts=_text(row.experts, names),
        chosen=_text(row.chosen, names),
        aliases=row.aliases,
        persistent=row.persistent,
    )


def defaults_read(raw: Mapping[str, Any], texts: list[str]) -> dict[str, Any]:
    """What `raw` says of the fields that the expressions read; raw fields here are the class's defaults or published.

    A published value never stands in for a field that another config leaves out: see `picked`.
    """
    result: dict[str, Any] = {}
    for text in texts:
        for path in field_paths(text):
            value: Any = raw
            *scopes, last = path.split(".")
            inside = result
            for scope in scopes:
                value = value.get(scope, {}) if isinstance(value, Mapping) else {}
                if not isinstance(value, Mapping):
                    break
                inside = inside.setdefault(scope, {})
            known = isinstance(value, Mapping) and last in value and not isinstance(value[last], Mapping)
            if known or last == "num_labels":
                inside[last] = value[last] if known else None
    return result


def picked(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What `given` has of the fields of `wanted`, configs inside it too."""
    found: dict[str, Any] = {}
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            inner = given.get(key)
            found[key] = picked(value, inner) if isinstance(inner, Mapping) else {}
        elif key in given:
            found[key] = given[key]
    return found
