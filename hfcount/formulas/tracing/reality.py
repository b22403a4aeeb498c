"""What a form is held against: the real class, built empty from plain fields, and what its inventory says."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.errors import BadInput, one_line
from hfcount.formulas.form import Form

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = Counter[tuple[str, tuple[int, ...], str]]
"""(name with its numbers replaced, shape, component) -> how many parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reality:
    """A real model's parameters and buffers, counted."""

    parameters: Found
    buffers: Found
    total: int
    active: int
    tied_head: int


def built(
    raw: Mapping[str, Any],
    config_class: Any,
    model_class: type[PreTrainedModel],
    *,
    where: str | None = None,
) -> PreTrainedModel:
    """The class built empty from the plain fields `raw`; BadInput, naming `where`, where they make no model."""
    from hfcount.classes import fitting_config
    from hfcount.limits import guarded_build
    from hfcount.sealed import is_own_code
    from hfcount.skeleton import build_empty

    where = where or str(raw.get("model_type"))
    try:
        with guarded_build(where, own_code=is_own_code(config_class)):
            config = config_class.from_dict(copy.deepcopy(dict(raw)))
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{where}: {one_line(error)}") from error
    wanted = fitting_config(config, model_class)
    if wanted is None:
        raise BadInput(f"{where}: {model_class.__name__} does not take this config")
    return build_empty(model_class, wanted, where=where)


def reality_of(model: PreTrainedModel) -> Reality:
    """The counts of a real model."""
    from hfcount.inventory import buffer_table, inventory, tied_head_size

    table, buffers = inventory(model), buffer_table(model)
    return Reality(
        parameters=Counter(
            (_without_numbers(name), shape, component)
            for name, shape, component in zip(table["name"], table["shape"], table["component"], strict=True)
        ),
        buffers=Counter(
            (_without_numbers(name), shape, str(bool(persistent)))
            for name, shape, persistent in zip(buffers["name"], buffers["shape"], buffers["persistent"], strict=True)
        ),
        total=int(table["numel"].sum()),
        active=int(table["active"].sum()),
        tied_head=tied_head_size(model),
    )


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+|\*", "#", name)


def difference(form: Form, raw: Mapping[str, Any], reality: Reality) -> str | None:
    """What the form says otherwise than the real model, in one line; None where it says the same of all parameters."""
    try:
        rows = form.evaluated(raw)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        return f"cannot be evaluated: {one_line(error)}"
    said: Found = Counter()
    for row in rows:
        said[(_without_numbers(row.row.name), row.shape, row.row.component)] += row.times
    total = sum(row.numel for row in rows)
    if +said != reality.parameters:
        missing, extra = reality.parameters - said, said - reality.parameters
        return f"{total:,} against {reality.total:,}: without {_first(missing)}, with {_first(extra)}"
    active = sum(row.active for row in rows)
    if active != reality.active:
        return f"active: {active:,} against {reality.active:,}"
    head = form.evaluated_head(raw)
    if head != reality.tied_head:
        return f"tied head: {head:,} against {reality.tied_head:,}"
    return None


def buffers_differ(form: Form, raw: Mapping[str, Any], reality: Reality) -> bool:
    """Whether the form's buffers are not the real model's, where it says that it knows them."""
    if form.buffers is None or not form.knows_buffers(raw):
        return False
    try:
        rows = form.evaluated(raw, form.buffers)
    except (ValueError, TypeError, ZeroDivisionError):
        return True
    said: Found = Counter()
    for row in rows:
        said[(_without_numbers(row.row.name), row.shape, str(row.row.persistent))] += row.times
    return +said != reality.buffers


def _first(found: Found) -> str:
    return next((f"{times} x {name} {shape} ({kind})" for (name, shape, kind), times in found.items()), "nothing")
