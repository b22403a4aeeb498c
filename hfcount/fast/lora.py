"""LoRA from a verified form: what PEFT attaches was recorded by name with the form, the sizes are the form's.

A form's `lora` is what `hfcount.fast.recorded` wrote down:

    peft     its version: what another one attaches is not known
    layers   every layer that LoRA adapts, by its path with `*` for numbers -> its kind; "other": with more than a
             weight and a bias, with groups, or not as often there as its rows say
    sets     for each group of targets what PEFT adapted: `modules`; `indexed`, of those whose name is a number the
             names that a count shows ("mlp.0", "mlp.2"); `parameters` (fused experts, with the multiple of the rank
             that each got); `saved` (modules that it copies and trains in full); or the `reason` why it refuses
    names    the last names of layers that PEFT adapts wherever they are asked for by name, and nothing else with them
    saved    what it copies besides, where targets are given by name
    unseen   rows that the model recorded from had none of: nothing is known of a config that has them

A set or a name that is missing is not known. Nothing heavy is imported.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hfcount.formulas.catalogue import installed
from hfcount.formulas.form import Form, Row, RowValue, parsed
from hfcount.formulas.polynomial import Polynomial
from hfcount.lora.count import LoraCount
from hfcount.lora.options import TARGET_GROUPS, LoraOptions

INPUTS_FIRST = ("conv1d", "embedding")
"""The kinds of layers whose weight is stored as inputs x outputs."""
_NUMBER = re.compile(r"^(|expert_)\d+$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Targeted:
    """What gets an adapter: paths of modules; parameters with their multiple of the rank; modules that are copied.

    `indexed`: the names to show for a path that ends in a number.
    """

    modules: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    saved: tuple[str, ...] = ()
    indexed: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    reason: str | None = None


def fast_lora(form: Form, raw: Mapping[str, Any], options: LoraOptions) -> LoraCount | None:
    """What LoRA trains, for the config.json `raw`; None where the form does not tell, ValueError where it fails."""
    targeted = targeted_by(form, options)
    if targeted is None:
        return None
    if targeted.reason is not None:
        return LoraCount(r=options.r, targets=(), reason=targeted.reason)
    values = form.evaluated(raw)
    if not _as_recorded(form, targeted, values):
        return None
    terms = _added_up(_terms(form, targeted, {id(value.row): value for value in values}))
    if terms is None:
        return None
    total = sum(value.numel for value in values)
    trainable = sum(times * (size * options.r if adapter else size) for (_, adapter, size), times in terms.items())
    text = " + ".join(text if times == 1 else f"{times}*{text}" for (text, _, _), times in terms.items())
    reached = {id(row): row for row in _reached(form, targeted)}
    return LoraCount(
        r=options.r,
        targets=_shown(targeted),
        trainable=trainable,
        all=total + trainable,
        trainable_percent=100 * trainable / (total + trainable),
        formula=text or "0",
        formula_value=trainable,
        matches=True,
        unreached_share=1 - sum(value.numel for value in values if id(value.row) in reached) / total,
    )


def lora_polynomial(form: Form, options: LoraOptions) -> Polynomial | None:
    """What LoRA trains as a polynomial over the form's symbols and `r`; None where the form does not tell.

    It holds where the model has at least one of each layer that gets an adapter; `fast_lora` tells where it has not.
    """
    targeted = targeted_by(form, options)
    if targeted is None or targeted.reason is not None or form.lora.get("unseen"):
        return None
    rank, result = Polynomial.symbol("r"), Polynomial.constant(0)
    for path, row, ranks in _adapted(form, targeted):
        sides = _sides(row, form.lora["layers"].get(path, "other"), fused=path in targeted.parameters)
        if sides is None:
            return None
        result = result + parsed(row.times) * rank * ranks * sides
    for row in _copied(form, targeted):
        result = result + math.prod((parsed(size) for size in row.shape), start=parsed(row.times))
    return result


def targeted_by(form: Form, options: LoraOptions) -> Targeted | None:
    """What `options` adapt in the form's model; None where the record does not tell, or is of another PEFT."""
    plain = LoraOptions(r=options.r, targets=options.targets)
    if not form.lora or options != plain or installed("peft") not in (form.lora["peft"], None):
        return None
    if options.targets in TARGET_GROUPS:
        found = form.lora["sets"].get(options.targets)
        return None if found is None else _of_record(found)
    return _named(form, tuple(options.targets))


def _of_record(found: Mapping[str, Any]) -> Targeted:
    return Targeted(
        modules=tuple(found.get("modules", ())),
        parameters=dict(found.get("parameters", {})),
        saved=tuple(found.get("saved", ())),
        indexed=dict(found.get("indexed", {})),
        reason=found.get("reason"),
    )


def _named(form: Form, names: tuple[str, ...]) -> Targeted | None:
    """The layers whose path is a name or ends with one, as PEFT matches; None where a name may mean something else."""
    modules: dict[str, None] = {}
    for name in names:
        if not _plain(name) or _last(name) not in form.lora.get("names", ()):
            return None
        matched = [path for path in form.lora["layers"] if path == name or path.endswith(f".{name}")]
        if not matched:
            return None
        modules.update(dict.fromkeys(matched))
    ordered = (path for path in form.lora["layers"] if path in modules)
    return Targeted(modules=tuple(ordered), saved=tuple(form.lora.get("saved", ())))


def _plain(name: str) -> bool:
    """Whether a name has no number and no star, which stand for more in a record than they do in PEFT."""
    return all(part.isidentifier() for part in name.split("."))


def needed_by(form: Form, options: LoraOptions) -> Iterator[tuple[str, Polynomial]]:
    """(a name, how many there are over the form's symbols) for all that a model must have some of.

    As `fast_lora` demands it: every layer that gets an adapter or is copied; with fused experts every row there is.
    """
    targeted = targeted_by(form, options)
    if targeted is None:
        return
    if targeted.parameters:
        yield from ((row.name, parsed(row.times)) for row in form.rows)
    names = {f"{path}.weight": rows_of(form, f"{path}.weight") for path in targeted.modules}
    copied = {path: list(_below(form, path)) for path in targeted.saved}
    for name, rows in {**names, **copied}.items():
        yield name, sum((parsed(row.times) for row in rows), Polynomial.constant(0))


def _as_recorded(form: Form, targeted: Targeted, values: Iterable[RowValue]) -> bool:
    """Whether this config has what was there when PEFT was watched: where a kind of layer is missing it may refuse.

    Of a model with fused experts everything counts: PEFT takes the names of layers that are there for theirs.
    """
    times = {id(value.row): value.times for value in values}
    unseen = form.lora.get("unseen", ())
    if any(times[id(row)] for row in form.rows if row.name in unseen):
        return False
    if targeted.parameters and not all(times[id(row)] for row in form.rows if row.name not in unseen):
        return False
    names = (*(f"{path}.weight" for path in targeted.modules), *targeted.parameters)
    copies = (list(_below(form, path)) for path in targeted.saved)
    return all(any(times[id(row)] for row in rows) for rows in (*(rows_of(form, name) for name in names), *copies))


def _shown(targeted: Targeted) -> tuple[str, ...]:
    """The names of what got an adapter, as a count shows them."""
    paths = (*targeted.modules, *targeted.parameters)
    return tuple(sorted({name for path in paths for name in targeted.indexed.get(path, (_last(path),))}))


def _last(path: str) -> str:
    return path.removesuffix(".weight").rpartition(".")[2]


def starred(name: str) -> str:
    """A path with `*` for each number that is a part of it, and for that of an expert.

    >>> starred("h.0.attn.c_fc2"), starred("mlp.experts.expert_7.wi")
    ('h.*.attn.c_fc2', 'mlp.experts.expert_*.wi')
    """
    return ".".join(_NUMBER.sub(r"\1*", part) for part in name.split("."))


def rows_of(form: Form, parameter: str) -> list[Row]:
    """The rows whose parameters, or those tied to them, have the starred name `parameter`."""
    return [row for row in form.rows if parameter in {starred(name) for name in (row.name, *row.aliases)}]


def _adapted(form: Form, targeted: Targeted) -> Iterator[tuple[str, Row, int]]:
    """(path, row, multiple of the rank) for everything that gets two matrices."""
    for path in targeted.modules:
        for row in rows_of(form, f"{path}.weight"):
            yield path, row, 1
    for name, how in targeted.parameters.items():
        for row in rows_of(form, name):
            yield name, row, int(how["ranks"])


def _copied(form: Form, targeted: Targeted) -> Iterator[Row]:
    for path in targeted.saved:
        yield from _below(form, path)


def _below(form: Form, path: str) -> Iterator[Row]:
    """The rows of the parameters in the module at a starred path."""
    for row in form.rows:
        if any(starred(name).startswith(f"{path}.") for name in (row.name, *row.aliases)):
            yield row


def _reached(form: Form, targeted: Targeted) -> Iterator[Row]:
    yield from (row for _, row, _ in _adapted(form, targeted))
    yield from _copied(form, targeted)


def _sides(row: Row, kind: str, *, fused: bool) -> Polynomial | None:
    """in + out, for each of E fused experts; of a convolution the kernel goes with its input."""
    sizes = [parsed(size) for size in row.shape]
    if fused and len(sizes) == 3:
        return sizes[0] * (sizes[1] + sizes[2])
    if fused:
        return sizes[0] + sizes[1] if len(sizes) == 2 else None
    if kind == "other" or len(sizes) < 2:
        return None
    if kind == "convolution":
        return math.prod(sizes[1:], start=Polynomial.constant(1)) + sizes[0]
    return sizes[0] + sizes[1]


def _terms(
    form: Form, targeted: Targeted, values: Mapping[int, RowValue]
) -> Iterator[tuple[tuple[str, bool, int], int] | None]:
    """((text, whether r is a factor, elements for r = 1), how often) for each summand; None for what is not known."""
    for path, row, ranks in _adapted(form, targeted):
        value = values[id(row)]
        if not value.times:
            continue
        fused = targeted.parameters.get(path)
        if fused is None:
            yield _layer_term(value, form.lora["layers"].get(path, "other"))
        else:
            yield _fused_term(value, ranks, bool(fused["transposed"]))
    for row in _copied(form, targeted):
        value = values[id(row)]
        yield (str(value.one), False, value.one), value.times


def _layer_term(value: RowValue, kind: str) -> tuple[tuple[str, bool, int], int] | None:
    if kind == "other" or len(value.shape) < 2:
        return None
    if kind == "convolution":
        inputs, outputs = math.prod(value.shape[1:]), value.shape[0]
    else:
        inputs, outputs = value.shape if kind in INPUTS_FIRST else value.shape[::-1]
    return (f"r*({inputs} + {outputs})", True, inputs + outputs), value.times


def _fused_term(value: RowValue, ranks: int, transposed: bool) -> tuple[tuple[str, bool, int], int] | None:
    rank = "r" if ranks == 1 else f"{ranks}*r"
    if len(value.shape) == 2:
        outputs, inputs = value.shape
        return (f"{rank}*({inputs} + {outputs})", True, ranks * (inputs + outputs)), value.times
    if len(value.shape) != 3:
        return None
    experts, first, second = value.shape
    if not transposed:
        first, second = second, first
    return (f"{experts}*{rank}*({first} + {second})", True, experts * ranks * (first + second)), value.times


def _added_up(
    terms: Iterable[tuple[tuple[str, bool, int], int] | None],
) -> dict[tuple[str, bool, int], int] | None:
    counted: dict[tuple[str, bool, int], int] = {}
    for each in terms:
        if each is None:
            return None
        term, times = each
        counted[term] = counted.get(term, 0) + times
    return counted
