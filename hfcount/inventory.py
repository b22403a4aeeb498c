"""The inventory: one table with a row for every distinct parameter of a model. All answers come from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcount.components import Anatomy, Place, component_of, examine, own_part
from hfcount.experts import pool_of
from hfcount.parts import Sizes
from hfcount.skeleton import head_is_tied, output_embeddings

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn
    from transformers import PreTrainedModel

COLUMNS = (
    "name", "shape", "dtype", "numel", "component", "layer", "module", "module_class", "aliases", "trainable",
    "expert", "active",
)  # fmt: skip


def inventory(model: PreTrainedModel) -> pd.DataFrame:
    """One row per distinct parameter of `model`, in the model's own order.

    Columns: `name`; `shape` (a tuple); `dtype` ("bfloat16"); `numel`; `component` (see components.py);
    `layer` (index in its stack, NA outside); `module` (the owner's path) and `module_class`; `aliases` (the
    other names of the same parameter, tied to it); `trainable`; `expert` (how many routed experts share the
    row's pool, 0 for what is no routed expert); `active` (how many of its elements one token touches).
    """
    import pandas as pd

    modules = dict(model.named_modules(remove_duplicate=False))
    anatomy = examine(model)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    rows = []
    for _, parameter in model.named_parameters():
        name, component = _named_component(names[id(parameter)], parameter, modules, anatomy)
        place = place_of(name, parameter, modules)
        experts, chosen = pool_of(place, parameter)
        rows.append(
            {
                "name": name,
                "shape": tuple(parameter.shape),
                "dtype": str(parameter.dtype).removeprefix("torch."),
                "numel": parameter.numel(),
                "component": component,
                "layer": place.layer,
                "module": ".".join(place.path[1:]),
                "module_class": place.classes[-1],
                "aliases": tuple(alias for alias in names[id(parameter)] if alias != name),
                "trainable": bool(parameter.requires_grad),
                "expert": experts,
                "active": parameter.numel() * chosen // experts if experts else parameter.numel(),
            }
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"numel": "int64", "active": "int64", "expert": "int64", "layer": "Int64"})


def _named_component(
    names: list[str], parameter: nn.Parameter, modules: dict[str, Any], anatomy: Anatomy
) -> tuple[str, str]:
    """The name that the row goes by, and its component: of tied names, the token embedding's comes first."""
    found = [(name, component_of(place_of(name, parameter, modules), anatomy)) for name in names]
    return next((each for each in found if each[1] == "token_embedding"), found[0])


def buffer_table(model: PreTrainedModel) -> pd.DataFrame:
    """One row per distinct buffer: `name, shape, dtype, numel, persistent` (stored in a checkpoint or not)."""
    import pandas as pd

    rows = []
    for prefix, module in model.named_modules():
        for leaf, buffer in module.named_buffers(recurse=False):
            rows.append(
                {
                    "name": f"{prefix}.{leaf}" if prefix else leaf,
                    "shape": tuple(buffer.shape),
                    "dtype": str(buffer.dtype).removeprefix("torch."),
                    "numel": buffer.numel(),
                    "persistent": leaf not in module._non_persistent_buffers_set,
                }
            )
    return pd.DataFrame(rows, columns=["name", "shape", "dtype", "numel", "persistent"])


def place_of(name: str, parameter: nn.Parameter, modules: dict[str, Any]) -> Place:
    """The place of the parameter called `name`; `modules` maps every path of the model to its module."""
    *path, leaf = name.split(".")
    chain = [modules[".".join(path[:depth])] for depth in range(len(path) + 1)]
    return Place(
        name=name,
        leaf=leaf,
        path=("", *path),
        classes=tuple(type(module).__name__ for module in chain),
        kinds=_kinds(chain),
        modules=tuple(chain),
        shape=tuple(parameter.shape),
    )


def _kinds(chain: list[nn.Module]) -> tuple[str, ...]:
    """For each module of `chain` its class name, without the name of the models above it; torch's own as they are."""
    models: tuple[str, ...] = ()
    kinds = []
    for module in chain:
        name = type(module).__name__
        kinds.append(name if type(module).__module__.startswith("torch.") else own_part(name, models))
        if hasattr(module, "base_model_prefix"):
            models = (*models, name)
    return tuple(kinds)


def sizes(table: pd.DataFrame, buffers: pd.DataFrame, *, tied_head: int = 0) -> Sizes:
    """The totals of the inventory `table`; `tied_head` is what a separate LM head would add (0: not tied)."""
    by_component = table.groupby("component")["numel"].sum()
    total = int(table["numel"].sum())
    embedding = int(sum(by_component.get(each, 0) for each in ("token_embedding", "position_embedding")))
    lm_head = 0 if tied_head else int(by_component.get("lm_head", 0))
    return Sizes(
        total=total,
        embedding=embedding,
        lm_head=lm_head,
        non_embedding=total - embedding - lm_head,
        active=int(table["active"].sum()),
        untied=total + tied_head,
        buffers=int(buffers["numel"].sum()),
        stored_buffers=int(buffers.loc[buffers["persistent"].astype(bool), "numel"].sum()),
    )


def tied_head_size(model: PreTrainedModel) -> int:
    """Elements of the LM head's matrix where it is the token embedding's parameter; 0 where it is its own."""
    head = output_embeddings(model)
    return int(head.weight.numel()) if head is not None and head_is_tied(model) else 0  # type: ignore[operator]
