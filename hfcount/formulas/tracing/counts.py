"""How many iterations of a loop are of each kind, for any length of the loop, from the conditions that they met."""

from __future__ import annotations

import dataclasses
import re

from hfcount.formulas.expressions import field_paths
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.numbers import polynomial_of
from hfcount.formulas.tracing.recorder import Loop, negated
from hfcount.formulas.tracing.repeated import ONE, Conditions, Repeated, at_index, conditions_of, stays
from hfcount.formulas.tracing.writing import write

Path = tuple[tuple[str, bool], ...]


def counted(
    loop: Loop, kind_of: list[int], kinds: list[list[Repeated]], conditions: Conditions
) -> list[Repeated] | None:
    """The rows of all kinds, each as often as the kinds that have it; None where the conditions do not tell."""
    length = polynomial_of(loop.length)
    if not length.symbols:
        return None if len(kinds) > 1 else [dataclasses.replace(row, times=length * row.times) for row in kinds[0]]
    paths: dict[Path, int] = {}
    for path, kind in zip(loop.paths, kind_of, strict=True):
        key = tuple(dict.fromkeys(path))
        if paths.setdefault(key, kind) != kind:
            return None
    ways = _decided(paths, (), loop, conditions)
    if ways is None:
        return None
    counts: dict[frozenset[int], Polynomial] = {}
    rows: dict[tuple[object, ...], Repeated] = {}
    members: dict[tuple[object, ...], set[int]] = {}
    for number, its_rows in enumerate(kinds):
        for row in its_rows:
            rows.setdefault(row.key, row)
            members.setdefault(row.key, set()).add(number)
    for having in sorted(map(frozenset, members.values()), key=lambda each: sum(map(kind_of.count, each))):
        if having not in counts:
            rest = frozenset(range(len(kinds))) - having
            known = counts.get(rest)
            counts[having] = (
                length - known if known is not None else _count(loop, length, having, paths, ways, conditions)
            )
    return [dataclasses.replace(row, times=counts[frozenset(members[key])] * row.times) for key, row in rows.items()]


def _decided(
    paths: dict[Path, int], prefix: Path, loop: Loop, conditions: Conditions
) -> list[tuple[Path, int]] | None:
    """The ways to each kind, conditions that make no difference left out; None where the paths contradict.

    Where only one outcome of a condition was seen, that it comes out so becomes a condition of the form.
    """
    if len(set(paths.values())) == 1 and all(not path for path in paths):
        return [(prefix, next(iter(paths.values())))]
    heads = {path[0][0] for path in paths if path}
    if len(heads) != 1 or any(not path for path in paths):
        return None
    (head,) = heads
    branches: dict[bool, list[tuple[Path, int]]] = {}
    for outcome in (True, False):
        inside = {path[1:]: kind for path, kind in paths.items() if path[0][1] is outcome}
        if inside:
            found = _decided(inside, (*prefix, (head, outcome)), loop, conditions)
            if found is None:
                return None
            branches[outcome] = found
    if len(branches) == 1:
        ((outcome, found),) = branches.items()
        text = _always(head if outcome else negated(head), prefix, loop)
        if text is not None:
            conditions.add(text)
        return [(tuple(each for each in path if each[0] != head), kind) for path, kind in found]
    kinds = {kind for found in branches.values() for _, kind in found}
    if len(kinds) == 1:
        return [(prefix, kinds.pop())]
    return branches[True] + branches[False]


def _always(text: str, prefix: Path, loop: Loop) -> str | None:
    """That the condition `text` holds at every index that `prefix` leaves; None where that is so by itself."""
    known = [re.fullmatch(rf"{loop.index} == (\d+)", each) for each, outcome in prefix if outcome]
    at = next((int(found.group(1)) for found in known if found), None)
    if at is not None:
        text = at_index(text, loop.index, at)
        return text if field_paths(text) else None
    where = "".join(f" if {each if outcome else negated(each)}" for each, outcome in prefix)
    return f"all({text} for {loop.index} in {loop.over}{where})"


def _count(
    loop: Loop,
    length: Polynomial,
    having: frozenset[int],
    paths: dict[Path, int],
    ways: list[tuple[Path, int]],
    conditions: Conditions,
) -> Polynomial:
    """How many iterations are of one of the kinds `having`: written shortly where that can be, else counted."""
    if all(kind in having for kind in paths.values()):
        return length
    alternatives = _single(paths, having) or [path for path, kind in ways if kind in having]
    if len(alternatives) == 1 and len(alternatives[0]) == 1 and loop.first == 0 and loop.step == 1:
        text, outcome = alternatives[0][0]
        known = _short(text if outcome else negated(text), loop.index, write(length), conditions)
        if known is not None:
            return known
    written = [" and ".join(each if outcome else negated(each) for each, outcome in way) for way in alternatives]
    condition = written[0] if len(written) == 1 else " or ".join(f"({each})" for each in written)
    return Polynomial.symbol(f"sum(1 for {loop.index} in {loop.over} if {condition})")


def _single(paths: dict[Path, int], having: frozenset[int]) -> list[Path] | None:
    """The one condition that alone tells, on every way that was gone, whether an iteration is of these kinds."""
    shared = set.intersection(*({text for text, _ in path} for path in paths))
    for text in sorted(shared, key=len):
        for outcome in (True, False):
            if all((dict(path)[text] is outcome) == (kind in having) for path, kind in paths.items()):
                return [((text, outcome),)]
    return None


_ATOM = r"(\w[\w.]*)"


def _short(condition: str, index: str, size: str, conditions: Conditions) -> Polynomial | None:
    """A short expression for how many of `size` indices satisfy the condition.

    i < a: a, where a is at most L. i >= a: L - a. (i + 1) % p == 0: L//p, and the rest of them for !=. i % p == 0 as
    well, rounded up.
    """
    one = re.fullmatch(rf"{index} == (\d+)", condition)
    if one:
        conditions.add(f"{size} > {one.group(1)}")
        return ONE
    below = re.fullmatch(rf"{index} < {_ATOM}", condition)
    above = re.fullmatch(rf"{index} >= {_ATOM}", condition)
    listed = re.fullmatch(rf"{index} in range\((.+), {re.escape(size)}, (.+)\)", condition)
    if listed:
        conditions.add(f"{listed.group(1)} >= 0")
        return Polynomial.symbol(condition.removeprefix(f"{index} in ").join(("len(", ")")))
    every = re.fullmatch(rf"\(\({index} \+ 1\) % {_ATOM}\) (==|!=) 0", condition)
    zeroth = re.fullmatch(rf"\({index} % {_ATOM}\) (==|!=) 0", condition)
    whole = Polynomial.symbol(size) if re.fullmatch(_ATOM, size) else None
    if whole is None:
        return None
    if below or above:
        most = (below or above).group(1)  # type: ignore[union-attr]
        conditions.add(f"{size} >= {most}" if most.isdigit() else f"0 <= {most} <= {size}")
        first = Polynomial.constant(int(most)) if most.isdigit() else Polynomial.symbol(most)
        return first if below else whole - first
    found = every or zeroth
    if found:
        step = found.group(1)
        text = f"({size}//{step})" if every else f"(({size} + {step} - 1)//{step})"
        count = Polynomial.symbol(text)
        return count if found.group(2) == "==" else whole - count
    return None


def as_it_was(loop: Loop, kind_of: list[int], kinds: list[list[Repeated]], conditions: Conditions) -> list[Repeated]:
    """The rows of all kinds, each as often as it was there; that all iterations go as they did becomes a condition."""
    length = stays(loop, conditions)
    for number in range(loop.times):
        for text in conditions_of(loop, number):
            conditions.add(text)
    times: dict[tuple[object, ...], int] = {}
    rows: dict[tuple[object, ...], Repeated] = {}
    for number, its_rows in enumerate(kinds):
        for row in its_rows:
            rows.setdefault(row.key, row)
            times[row.key] = times.get(row.key, 0) + kind_of.count(number)

    def count(number: int) -> Polynomial:
        if number == loop.times:
            return length
        return Polynomial.symbol(str(number)) if number > 1 else ONE  # a symbol, so that kinds stay products

    return [dataclasses.replace(row, times=count(times[key]) * row.times) for key, row in rows.items()]
