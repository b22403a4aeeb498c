"""What repeats: parameters made in loops, gathered into rows that stand for all iterations of a kind.

A loop's iterations are of one kind if they made the same parameters with the same symbolic shapes. The conditions
on the loop's index that each iteration met tell which iterations are of which kind, for any length of the loop; where
they do not tell, or where a shape depends on the index, the loop is written out and its length becomes a condition.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.counts import as_it_was, counted
from hfcount.formulas.tracing.recorder import Loop, stale_index
from hfcount.formulas.tracing.repeated import ONE, Conditions, Repeated, at_index, conditions_of, stays
from hfcount.formulas.tracing.trace import TracedTensor


def gathered(tensors: Sequence[TracedTensor], conditions: Conditions) -> list[Repeated]:
    """`tensors` as rows, each loop one product where its iterations allow; `conditions` gets what that rests on."""
    rows = [(tensor, _row(tensor)) for tensor in tensors]
    return _numbered_together(_merged(_gather(rows, 0, conditions)))


def _row(tensor: TracedTensor) -> Repeated:
    running = {loop.index for loop, _ in tensor.loops}
    dims = zip(tensor.dims, tensor.shape, strict=True)
    return Repeated(
        name=tensor.name,
        aliases=tensor.aliases,
        # A size that still speaks of a loop that is over is the number that it was.
        dims=tuple(
            Polynomial.constant(size) if stale_index(" ".join(dim.symbols), running) else dim for dim, size in dims
        ),
        times=ONE,
        module_class=tensor.module_class,
        component=tensor.component,
        experts=tensor.experts,
        chosen=tensor.chosen,
        persistent=tensor.persistent,
    )


Tagged = tuple[TracedTensor, Repeated]


def _gather(rows: Sequence[Tagged], depth: int, conditions: Conditions) -> list[Repeated]:
    result: list[Repeated] = []
    loops: dict[int, tuple[Loop, list[Tagged]]] = {}
    for tensor, row in rows:
        if len(tensor.loops) <= depth:
            result.append(row)
            continue
        loop = tensor.loops[depth][0]
        if id(loop) not in loops:
            loops[id(loop)] = (loop, [])
            result.append(row)  # a place holder, so that rows keep the model's order
        loops[id(loop)][1].append((tensor, row))
    for loop, inside in loops.values():
        place = result.index(inside[0][1])
        result[place : place + 1] = _collapse(loop, inside, depth, conditions)
    return result


def _collapse(loop: Loop, rows: list[Tagged], depth: int, conditions: Conditions) -> list[Repeated]:
    """The rows of one loop."""
    if len(loop.paths) < loop.times:
        loop.paths += [[] for _ in range(loop.times - len(loop.paths))]
    best: tuple[list[list[Repeated]], Conditions] | None = None
    for naming in (*_by_place(rows, depth), *_NAMINGS):
        tried = Conditions()
        iterations = _iterations(loop, rows, depth, naming, tried)
        if best is None or len(_kinds(iterations)[1]) < len(_kinds(best[0])[1]):
            best = iterations, tried
        if len(_kinds(iterations)[1]) == 1:
            break
    assert best is not None
    iterations, inner = best
    kind_of, kinds = _kinds(iterations)
    depends = any(loop.mentioned_in(row.texts) for kind in kinds for row in kind) or any(
        loop.mentioned_in(text) for text in inner.guards
    )
    if not depends:
        own = Conditions()
        found = counted(loop, kind_of, kinds, own)
        if found is None:
            own = Conditions()
            found = as_it_was(loop, kind_of, kinds, own)
        for text in (*inner.guards, *own.guards):
            conditions.add(text)
        return found
    return _written_out(loop, rows, depth, conditions)


def _iterations(
    loop: Loop, rows: list[Tagged], depth: int, naming: Naming, conditions: Conditions
) -> list[list[Repeated]]:
    """For each iteration its rows, loops inside it gathered, its own number in names replaced by a star."""
    iterations: list[list[Tagged]] = [[] for _ in range(loop.times)]
    for tensor, row in rows:
        number = tensor.loops[depth][1]
        value = loop.first + loop.step * number
        starred = dataclasses.replace(
            row,
            name=naming(row.name, number, value),
            aliases=tuple(naming(alias, number, value) for alias in row.aliases),
        )
        iterations[number].append((tensor, starred))
    return [_gather(inside, depth + 1, conditions) for inside in iterations]


Naming = Callable[[str, int, int], str]


def _whole_part(offset: int) -> Naming:
    """Star the first part of a path that is the iteration's number and nothing else."""

    def naming(name: str, number: int, value: int) -> str:
        wanted = str(number + offset)
        parts = name.split(".")
        if wanted in parts:
            parts[parts.index(wanted)] = "*"
        return ".".join(parts)

    return naming


def _by_place(rows: list[Tagged], depth: int) -> list[Naming]:
    """Star the part, the deepest one, that is the iteration's number in every row of the loop; none where none is."""
    named = [(row.name.split("."), str(tensor.loops[depth][1])) for tensor, row in rows]
    places = range(min(len(parts) for parts, _ in named))
    fitting = [place for place in places if all(parts[place] == number for parts, number in named)]

    def naming(name: str, number: int, value: int) -> str:
        parts = name.split(".")
        if fitting[-1] < len(parts) and parts[fitting[-1]] == str(number):
            parts[fitting[-1]] = "*"
            return ".".join(parts)
        return _whole_part(0)(name, number, value)

    return [naming] if fitting else []


def _any_token(offset: int) -> Naming:
    """Star the first run of digits that is the iteration's number, inside a part too: block3."""

    def naming(name: str, number: int, value: int) -> str:
        return re.sub(rf"(?<!\d){number + offset}(?!\d)", "*", name, count=1)

    return naming


def _by_value(name: str, number: int, value: int) -> str:
    return _any_token(0)(name, value, value)


_NAMINGS: tuple[Naming, ...] = (
    _whole_part(0),
    _any_token(0),
    _by_value,
    _whole_part(1),
    _any_token(1),
    _whole_part(-1),
)


def _kinds(iterations: list[list[Repeated]]) -> tuple[list[int], list[list[Repeated]]]:
    """Which kind each iteration is of, and the rows of each kind."""
    seen: dict[tuple[object, ...], int] = {}
    kinds: list[list[Repeated]] = []
    kind_of = []
    for rows in iterations:
        key = tuple(row.key for row in rows)
        if key not in seen:
            seen[key] = len(kinds)
            kinds.append(rows)
        kind_of.append(seen[key])
    return kind_of, kinds


def _written_out(loop: Loop, rows: list[Tagged], depth: int, conditions: Conditions) -> list[Repeated]:
    """Every iteration for itself, the index replaced by its number; the loop's length becomes a condition."""
    stays(loop, conditions)
    result = []
    for number in range(loop.times):
        value = loop.first + loop.step * number
        inside = [each for each in rows if each[0].loops[depth][1] == number]
        own = Conditions()
        gathered_rows = _gather(inside, depth + 1, own)
        for text in (*(at_index(each, loop.index, value) for each in own.guards), *conditions_of(loop, number)):
            conditions.add(text)
        result += [_row_at(row, loop.index, value) for row in gathered_rows]
    return result


def _row_at(row: Repeated, index: str, value: int) -> Repeated:
    def put(poly: Polynomial) -> Polynomial:
        terms: dict[tuple[tuple[str, int], ...], int] = {}
        for monomial, factor in poly.terms.items():
            rest = []
            for symbol, power in monomial:
                if symbol == index:
                    factor *= value**power
                else:
                    rest.append((at_index(symbol, index, value), power))
            key = tuple(sorted(rest))
            terms[key] = terms.get(key, 0) + factor
        return _constants_folded(Polynomial(terms))

    return dataclasses.replace(
        row,
        dims=tuple(put(dim) for dim in row.dims),
        times=put(row.times),
        experts=put(row.experts),
        chosen=put(row.chosen),
    )


def _constants_folded(poly: Polynomial) -> Polynomial:
    """Symbols that have become plain arithmetic, (2**3), as their values."""
    result = Polynomial.constant(0)
    for monomial, factor in poly.terms.items():
        term = Polynomial.constant(factor)
        for symbol, power in monomial:
            plain = re.fullmatch(r"[\d\s()+*/%-]+", symbol) is not None
            term = term * (Polynomial.constant(int(eval(symbol))) if plain else Polynomial.symbol(symbol)) ** power
        result = result + term
    return result


def _merged(rows: list[Repeated]) -> list[Repeated]:
    """Rows of the same name and shape as one, their numbers added: kinds of layers that share a part."""
    found: dict[tuple[object, ...], Repeated] = {}
    for row in rows:
        key = (row.name, row.aliases, row.dims, row.component, row.experts, row.chosen, row.module_class)
        known = found.get(key)
        found[key] = row if known is None else dataclasses.replace(known, times=known.times + row.times)
    return list(found.values())


_FEW = 3


def _numbered_together(rows: list[Repeated]) -> list[Repeated]:
    """More than a few rows, each there once, that differ in the numbers in their names alone, as one.

    They come from loops over what the trace could not follow, an `enumerate` of a plain list.
    """
    alike: dict[tuple[object, ...], list[Repeated]] = {}
    for row in rows:
        name = _starred(row.name)
        key = (name, tuple(map(_starred, row.aliases)), row.dims, row.component, row.experts, row.chosen)
        alike.setdefault(key if row.times == ONE and name != row.name else (id(row),), []).append(row)
    group_of = {id(row): group for group in alike.values() for row in group}
    result = []
    for row in rows:
        its = group_of[id(row)]
        if len(its) <= _FEW:
            result.append(row)
        elif its[0] is row:
            name, aliases = _starred(row.name), tuple(map(_starred, row.aliases))
            times = Polynomial.symbol(str(len(its)))
            result.append(dataclasses.replace(row, name=name, aliases=aliases, times=times))
    return result


def _starred(name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in name.split("."))
