"""One trace: raw fields that remember, through the real config class and the real model class, to symbolic shapes."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.plant import frozen_reads, plant, planted, watched_reads
from hfcount.formulas.tracing.recorder import Loop, Recorder, recording

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel

Dims = tuple[Polynomial, ...]
Loops = tuple[tuple[Loop, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracedTensor:
    """One parameter or buffer as the trace saw it.

    Attributes:
        name: its name in the model; `aliases` are the names tied to it.
        shape: its sizes; `dims` the same as polynomials over fields (a size that lost its memory is a constant).
        loops: the loops it was made in, outermost first, each with its iteration.
        module_class, component: as in the inventory.
        experts, chosen: polynomials: how many experts share its pool, how many of them a token is sent to (0: none).
        persistent: a buffer that a checkpoint stores; True for parameters.
    """

    name: str
    aliases: tuple[str, ...]
    shape: tuple[int, ...]
    dims: Dims
    loops: Loops
    module_class: str
    component: str
    experts: Polynomial
    chosen: Polynomial
    persistent: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced:
    """What one trace found: tensors, the conditions of its way, its loops."""

    parameters: tuple[TracedTensor, ...]
    buffers: tuple[TracedTensor, ...]
    tied_head: Dims | None
    guards: tuple[str, ...]
    recorder: Recorder
    model: PreTrainedModel
    table: pd.DataFrame


def trace(
    raw: Mapping[str, Any], config_class: Any, model_class: type[PreTrainedModel], *, exact_types: bool
) -> Traced:
    """Run the config with fields `raw` through its class and through `model_class`, with numbers that remember.

    `exact_types` leaves booleans and strings as they are, for constructors that insist. Whatever the constructors
    raise is raised.
    """
    import torch

    from hfcount.classes import fitting_config
    from hfcount.formulas.tracing.shapes import NoteShapes, noted_parameters, traced_builtins

    logging.getLogger("transformers").setLevel(logging.ERROR)
    with recording() as recorder, watched_reads(), traced_builtins(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fields = planted(raw)
        config = config_class.from_dict(fields)
        plant(config, fields, recorder, exact_types=exact_types)
        wanted = fitting_config(config, model_class)
        with torch.device("meta"), NoteShapes(), noted_parameters(recorder):
            model = model_class._from_config(wanted, attn_implementation="eager")
            model.tie_weights()
        return _collected(model, recorder, raw)


def _collected(model: PreTrainedModel, recorder: Recorder, raw: Mapping[str, Any]) -> Traced:
    from hfcount.inventory import inventory, tied_head_size
    from hfcount.skeleton import output_embeddings

    pools = _pools(model)  # its conditions count: how many experts are chosen of how many
    recorder.paused = True
    table = inventory(model)
    by_name = dict(model.named_parameters(remove_duplicate=False))
    columns = (table[column] for column in ("name", "aliases", "module_class", "component"))
    parameters = tuple(
        _traced(by_name[name], name, tuple(aliases), kind, component, pools.get(name))
        for name, aliases, kind, component in zip(*columns, strict=True)
    )
    buffers = tuple(_traced_buffers(model))
    head = output_embeddings(model)
    tied = _dims_of(head.weight) if head is not None and tied_head_size(model) else None  # type: ignore[arg-type]
    return Traced(
        parameters=parameters,
        buffers=buffers,
        tied_head=tied,
        guards=(*recorder.guards, *frozen_reads(recorder, raw)),
        recorder=recorder,
        model=model,
        table=table,
    )


def _dims_of(tensor: Any) -> Dims:
    dims = getattr(tensor, "dims", None)
    shape = tuple(tensor.shape)
    if dims is None or len(dims) != len(shape):
        return tuple(Polynomial.constant(size) for size in shape)
    return tuple(dims)


def _traced(tensor: Any, name: str, aliases: tuple[str, ...], kind: str, component: str, pool: Any) -> TracedTensor:
    experts, chosen = pool or (Polynomial.constant(0), Polynomial.constant(0))
    return TracedTensor(
        name=name,
        aliases=aliases,
        shape=tuple(tensor.shape),
        dims=_dims_of(tensor),
        loops=tuple(getattr(tensor, "loops", ())),
        module_class=kind,
        component=component,
        experts=experts,
        chosen=chosen,
    )


def _traced_buffers(model: PreTrainedModel) -> Any:
    """The buffers, each with the loops of a parameter beside it where it has none of its own."""
    parents: dict[str, Loops] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        for depth in range(len(parts)):
            parents.setdefault(".".join(parts[:depth]), tuple(getattr(parameter, "loops", ())))
    for prefix, module in model.named_modules():
        for leaf, buffer in module.named_buffers(recurse=False):
            name = f"{prefix}.{leaf}" if prefix else leaf
            traced = _traced(buffer, name, (), type(module).__name__, "buffer", None)
            yield dataclasses.replace(traced, persistent=leaf not in module._non_persistent_buffers_set)


def _pools(model: PreTrainedModel) -> dict[str, tuple[Polynomial, Polynomial]]:
    """The names of routed experts' parameters -> how many share the pool and how many of them are chosen."""
    from hfcount.experts import pool_of
    from hfcount.formulas.tracing.numbers import polynomial_of
    from hfcount.inventory import place_of

    modules = dict(model.named_modules(remove_duplicate=False))
    found = {}
    for name, parameter in model.named_parameters():
        experts, chosen = pool_of(place_of(name, parameter, modules), parameter)
        if experts:
            found[name] = (_pool_size(parameter, experts), polynomial_of(chosen))
    return found


def _pool_size(parameter: Any, experts: int) -> Polynomial:
    """The number of experts; where it was counted and not read, the loop or the size that it is."""
    from hfcount.formulas.tracing.numbers import polynomial_of

    known = polynomial_of(experts)
    if known.symbols:
        return known
    lengths = [polynomial_of(loop.length) for loop, _ in reversed(parameter.loops) if loop.times == experts]
    lengths += [dim for dim, size in zip(_dims_of(parameter), parameter.shape, strict=True) if size == experts]
    return next((each for each in lengths if each.symbols), known)
