"""A form's rows with their numbers as rows of an inventory: one for each kind, or one for each parameter."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from hfcount.fast.reasons import NotCovered
from hfcount.formulas.form import RowValue
from hfcount.parts import Part, Sizes, numel_of


def kinds(values: Sequence[RowValue]) -> tuple[Part, ...]:
    """A row for each kind of parameter that the config has any of."""
    return tuple(_part(value, value.row.name, times=value.times) for value in values if value.times)


def one_by_one(values: Sequence[RowValue], symbols: Mapping[str, str]) -> tuple[Part, ...]:
    """A row for each parameter, layer by layer as the model has them.

    NotCovered where a form does not tell which layers have a kind: in a stack whose layers differ, and where experts
    are numbered inside layers.
    """
    parts: list[Part] = []
    for stack, run in itertools.groupby((value for value in values if value.times), key=_stack):
        rows = list(run)
        parts += _layers(stack, rows, symbols) if stack else [_part(value, value.row.name) for value in rows]
    return tuple(parts)


def _stack(value: RowValue) -> str:
    """What stands before the number of the layer; "" outside the layers."""
    before, number, _ = value.row.name.partition(".*")
    return before if number else ""


def _layers(stack: str, rows: list[RowValue], symbols: Mapping[str, str]) -> Iterator[Part]:
    numbers = {value.row.times for value in rows}
    depth = symbols.get(rows[0].row.times, rows[0].row.times)
    # A field of the config is the depth of the whole stack; an expression may be about some of its layers.
    if (
        len(numbers) > 1
        or not re.fullmatch(r"[A-Za-z_][\w.]*", depth)
        or any(value.row.name.count("*") > 1 for value in rows)
    ):
        raise NotCovered(f"the form does not tell the layers of {stack} apart")
    for layer in range(rows[0].times):
        for value in rows:
            yield _part(value, value.row.name.replace("*", str(layer)), layer=layer)


def _part(value: RowValue, name: str, *, times: int = 1, layer: int | None = None) -> Part:
    active = value.one * value.chosen // value.experts if value.experts else value.one
    return Part(
        name=name,
        shape=value.shape,
        component=value.row.component,
        numel=value.one * times,
        active=active * times,
        expert=value.experts,
        layer=layer,
        times=times,
        kind=value.row.times,
    )


def totals(parts: Sequence[Part], buffers: Sequence[RowValue], *, tied_head: int) -> Sizes:
    """The totals of a form's rows and buffers; `tied_head` is what a separate LM head would add (0: not tied)."""
    total = sum(part.numel for part in parts)
    embedding = numel_of(parts, "token_embedding", "position_embedding")
    lm_head = 0 if tied_head else numel_of(parts, "lm_head")
    return Sizes(
        total=total,
        embedding=embedding,
        lm_head=lm_head,
        non_embedding=total - embedding - lm_head,
        active=sum(part.active for part in parts),
        untied=total + tied_head,
        buffers=sum(buffer.numel for buffer in buffers),
        stored_buffers=sum(buffer.numel for buffer in buffers if buffer.row.persistent),
    )
