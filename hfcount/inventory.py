"""The inventory: one table with a row for every distinct parameter of a model. All answers come from it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hfcount.components import Anatomy, Place, component_of, examine, own_part
from hfcount.deadline import in_time, uncounted
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
    with uncounted():
        import pandas as pd

    modules = dict(model.named_modules(remove_duplicate=False))
    anatomy = examine(model)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    chains: dict[str, Chain] = {}
    rows = []
    for _, parameter in in_time(model.named_parameters()):
        places = [place_of(name, parameter, modules, chains) for name in names[id(parameter)]]
        place, component = _named_component(places, anatomy)
        name = place.name
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


def _named_component(places: list[Place], anatomy: Anatomy) -> tuple[Place, str]:
    """The place that the row goes by, and its component: of tied names, the token embedding's comes first."""
    found = [(place, component_of(place, anatomy)) for place in places]
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


@dataclasses.dataclass(frozen=True, slots=True)
class Chain:
    """The modules from the root down to one, as in a Place, and the class names of the models among them."""

    path: tuple[str, ...]
    words: tuple[str, ...]
    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    modules: tuple[nn.Module, ...]
    models: tuple[str, ...]


def place_of(
    name: str, parameter: nn.Parameter, modules: dict[str, Any], chains: dict[str, Chain] | None = None
) -> Place:
    """The place of the parameter called `name`; `modules` maps every path of the model to its module.

    `chains` keeps what is found on the way, for the next parameter of the same model.
    """
    path, _, leaf = name.rpartition(".")
    chain = _chain(path, modules, {} if chains is None else chains)
    return Place(
        name=name,
        leaf=leaf,
        path=chain.path,
        words=chain.words,
        classes=chain.classes,
        kinds=chain.kinds,
        modules=chain.modules,
        shape=tuple(parameter.shape),
    )


def _chain(path: str, modules: dict[str, Any], known: dict[str, Chain]) -> Chain:
    """The chain down to the module at `path`. Its kind is its class name, without the name of the models above it;
    torch's own as they are."""
    found = known.get(path)
    if found is None:
        above, _, own = path.rpartition(".")
        before = _chain(above, modules, known) if path else Chain((), (), (), (), (), ())
        module = modules[path]
        name = type(module).__name__
        kind = name if type(module).__module__.startswith("torch.") else own_part(name, before.models)
        found = known[path] = Chain(
            path=(*before.path, own),
            words=before.words if own.isdigit() or not own else (*before.words, own),
            classes=(*before.classes, name),
            kinds=(*before.kinds, kind),
            modules=(*before.modules, module),
            models=(*before.models, name) if hasattr(module, "base_model_prefix") else before.models,
        )
    return found


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
