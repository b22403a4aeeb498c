"""The public functions: each goes the one way through the house, from a source to an answer."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.configs import load_config
from hfcount.errors import BadInput
from hfcount.sources import Source, resolve

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedConfig

    from hfcount.conventions import Convention, Explanation
    from hfcount.formulas import ClosedForm
    from hfcount.inventory import Sizes
    from hfcount.lora import LoraCount

PACKAGES = ("hfcount", "transformers", "torch", "peft", "accelerate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """One component's share of a model: its parameters, their share of the total, its closed form's text."""

    component: str
    parameters: int
    share: float
    formula: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count:
    """Everything that `count` finds out about one model.

    Attributes:
        model: the name that the source goes by, "openai-community/gpt2".
        model_class: the transformers class that was counted.
        source: where the description came from.
        sizes: the totals.
        components: embeddings first; their parameters add up to the total.
        form: the closed form derived by hand for the family, or None where there is none.
        conventions: the ways people count this model.
        lora: an entry for each rank that was asked for.
        notes: what a reader must know, a line each.
        versions: of the packages that the figures depend on.
        config: the config that the class was built from.
        table: the inventory, a row per distinct parameter.
    """

    model: str
    model_class: str
    model_type: str
    source: Source
    sizes: Sizes
    components: tuple[Component, ...]
    form: ClosedForm | None
    conventions: tuple[Convention, ...]
    lora: tuple[LoraCount, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    config: PreTrainedConfig = dataclasses.field(repr=False, compare=False)
    table: pd.DataFrame = dataclasses.field(repr=False, compare=False)

    @property
    def form_matches(self) -> bool | None:
        """Whether the closed form equals the count; None without a form."""
        return None if self.form is None else self.form.value == self.sizes.total

    @property
    def all_matches(self) -> bool:
        """Whether every closed form here, the adapters' included, equals its count."""
        return self.form_matches is not False and all(each.matches is not False for each in self.lora)


def count(
    model: str,
    *,
    settings: Mapping[str, Any] | Sequence[str] = (),
    lora_r: int | Sequence[int] = (),
    lora_targets: str | Sequence[str] = "default",
    class_name: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    trust_remote_code: bool = False,
    **lora_settings: Any,
) -> Count:
    """How many parameters `model` has and where, by which convention, and what LoRA would train.

    `model` is a folder with a config.json, a bundled card's name or alias, or a Hub id. `settings` overrides
    config fields (a mapping, or "KEY=VALUE" strings). `lora_r` is one rank or several; `lora_targets` is
    "default", "all-linear", "attention", "mlp", or module names. `lora_settings` are PEFT's settings that
    change the count: `modules_to_save`, `target_parameters`, `rank_pattern`, `use_dora`, `bias`.
    `timeout` is in seconds, for each request and for building. Raises BadInput or SourceError.

    >>> count("gpt2").sizes.total
    124439808
    """
    from hfcount.conventions import conventions
    from hfcount.formulas import closed_form
    from hfcount.inventory import buffer_table, inventory, sizes, tied_head_size
    from hfcount.lora import LoraOptions, count_lora
    from hfcount.skeleton import build_skeleton

    ranks = (lora_r,) if isinstance(lora_r, int) else tuple(lora_r)
    if lora_settings and not ranks:
        raise BadInput(f"{', '.join(lora_settings)}: settings of LoRA, but no rank; give lora_r as well")
    adapters = [LoraOptions(r=r, targets=_as_targets(lora_targets), **lora_settings) for r in ranks]
    source = resolve(model, revision=revision, offline=offline, timeout=timeout)
    loaded = load_config(source, _as_settings(settings), trust_remote_code=trust_remote_code)
    claims = () if settings else source.claims  # what is published is not about a variant
    skeleton = build_skeleton(loaded, class_name=class_name, seconds=timeout)
    table = inventory(skeleton.model)
    totals = sizes(table, buffer_table(skeleton.model), tied_head=tied_head_size(skeleton.model))
    model_class = type(skeleton.model).__name__
    form = closed_form(skeleton.config, model_class)
    return Count(
        model=source.model,
        model_class=model_class,
        model_type=skeleton.config.model_type,
        source=source,
        sizes=totals,
        components=components(table, form),
        form=form,
        conventions=conventions(table, totals, skeleton.config, model=source.model, claims=claims),
        lora=count_lora(lambda: build_skeleton(loaded, class_name=class_name).model, adapters),
        notes=(*(f"a variant: {setting}" for setting in _as_settings(settings)), *source.notes, *skeleton.notes),
        versions=versions(),
        config=skeleton.config,
        table=table,
    )


def explain(model: str, figure: str, **how: Any) -> tuple[Count, Explanation]:
    """Which convention gives the published `figure` ("117M") for `model`; `how` is as in `count`.

    Raises BadInput for what is no figure.
    """
    from hfcount.conventions import explain as search
    from hfcount.conventions import parse_figure

    parse_figure(figure)  # refuse a bad figure before anything is built
    counted = count(model, **how)
    found = search(
        figure,
        counted.conventions,
        table=counted.table,
        sizes=counted.sizes,
        config=counted.config,
        model=counted.model,
    )
    return counted, found


def compare(models: Sequence[str], **how: Any) -> tuple[Count, ...]:
    """The counts of several models, in the order asked; `how` is as in `count`."""
    return tuple(count(model, **how) for model in models)


def components(table: pd.DataFrame, form: ClosedForm | None) -> tuple[Component, ...]:
    """The inventory's components, embeddings first, with the form's text for each; they add up to the total."""
    from hfcount.components import COMPONENTS

    texts = {each.component: each for each in form.components} if form is not None else {}
    sums = table.groupby("component", sort=False)["numel"].sum()
    total = int(sums.sum())
    rows = []
    for name, parameters in sorted(sums.items(), key=lambda item: COMPONENTS.index(str(item[0]))):
        part = texts.get(str(name))
        agrees = part is not None and part.value == int(parameters)
        rows.append(
            Component(
                component=str(name),
                parameters=int(parameters),
                share=int(parameters) / total if total else 0.0,
                formula=part.text if part is not None and agrees else None,
            )
        )
    assert sum(row.parameters for row in rows) == total
    return tuple(rows)


def _as_settings(settings: Mapping[str, Any] | Sequence[str]) -> Sequence[str]:
    if isinstance(settings, Mapping):
        return [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return settings


def _as_targets(targets: str | Sequence[str]) -> str | tuple[str, ...]:
    return targets if isinstance(targets, str) else tuple(targets)


@functools.cache
def versions() -> Mapping[str, str]:
    """The installed version of each package that the figures depend on; importing none of them."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
