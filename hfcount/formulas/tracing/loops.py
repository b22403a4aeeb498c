"""What repeats: parameters made in loops, gathered into rows that stand for all iterations of a kind.

A loop's iterations are of one kind if they made the same parameters with the same symbolic shapes. The conditions
on the loop's index that each iteration met tell which iterations are of which kind, for any length of the loop; where
they do not tell, or where a shape depends on the index, the loop is written out and its length becomes a condition.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from hfcount.formulas.expressions import field_paths
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.numbers import polynomial_of
from hfcount.formulas.tracing.recorder import Loop, index_pattern, negated, stale_index
from hfcount.formulas.tracing.trace import Dims, TracedTensor
from hfcount.formulas.tracing.writing import write

ONE = Polynomial.constant(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repeated:
    """Parameters of one shape and place: `times` of them, named with `*` for what varies."""

    name: str
    aliases: tuple[str, ...]
    dims: Dims
    times: Polynomial
    module_class: str
    component: str
    experts: Polynomial
    chosen: Polynomial
    persistent: bool

    @property
    def key(self) -> tuple[object, ...]:
        return (self.name, self.aliases, self.dims, self.times, self.component, self.experts, self.chosen)

    @property
    def texts(self) -> str:
        """All symbols that the row's sizes have, for a search."""
        polys = (*self.dims, self.times, self.experts, self.chosen)
        return " ".join(symbol for poly in polys for symbol in sorted(poly.symbols))


@dataclasses.dataclass
class Conditions:
    """The conditions that gathering adds, in order."""

    guards: dict[str, None] = dataclasses.field(default_factory=dict)

    def add(self, text: str) -> None:
        self.guards.setdefault(text)


def gathered(tensors: Sequence[TracedTensor], conditions: Conditions) -> list[Repeated]:
    """`tensors` as rows, each loop one product where its iterations allow; `conditions` gets what that rests on."""
    rows = [(tensor, _row(tensor)) for tensor in tensors]
    return _merged(_gather(rows, 0, conditions))


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
    for naming in _NAMINGS:
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
        counted = _counted(loop, kind_of, kinds, own)
        if counted is not None:
            for text in (*inner.guards, *own.guards):
                conditions.add(text)
            return counted
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


Path = tuple[tuple[str, bool], ...]


def _counted(
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


def _written_out(loop: Loop, rows: list[Tagged], depth: int, conditions: Conditions) -> list[Repeated]:
    """Every iteration for itself, the index replaced by its number; the loop's length becomes a condition."""
    length = polynomial_of(loop.length)
    if length.symbols:
        conditions.add(f"{write(length)} == {loop.times}")
    result = []
    for number in range(loop.times):
        value = loop.first + loop.step * number
        inside = [each for each in rows if each[0].loops[depth][1] == number]
        own = Conditions()
        gathered_rows = _gather(inside, depth + 1, own)
        for text, outcome in dict.fromkeys(loop.paths[number]):
            own.add(text if outcome else negated(text))
        for text in own.guards:
            conditions.add(at_index(text, loop.index, value))
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


def at_index(text: str, index: str, value: int) -> str:
    """The expression with the loop's index at `value`; what stands in brackets is worked out.

    >>> at_index("dims[i - 1] + dims[i]", "i", 3)
    'dims[2] + dims[3]'
    """
    put = index_pattern(index).sub(str(value), text)
    return re.sub(r"\[([\d\s()+*/%-]+)\]", lambda found: f"[{int(eval(found.group(1)))}]", put)


def _merged(rows: list[Repeated]) -> list[Repeated]:
    """Rows of the same name and shape as one, their numbers added: kinds of layers that share a part."""
    found: dict[tuple[object, ...], Repeated] = {}
    for row in rows:
        key = (row.name, row.aliases, row.dims, row.component, row.experts, row.chosen, row.module_class)
        known = found.get(key)
        found[key] = row if known is None else dataclasses.replace(known, times=known.times + row.times)
    return list(found.values())
