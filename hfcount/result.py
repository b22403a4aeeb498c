"""What a count answers: one value with everything that is found out about one model."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hfcount.breakdown import breakdown
from hfcount.shown import Charted

if TYPE_CHECKING:
    import pandas as pd

    from hfcount.breakdown import Grouping
    from hfcount.conventions import Convention, Explanation
    from hfcount.formulas import ClosedForm
    from hfcount.lora import LoraRows
    from hfcount.parts import Part, Sizes
    from hfcount.sources import Source

PACKAGES = ("hfcount", "transformers", "torch", "peft", "accelerate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """One component's share of a model: its parameters, their share of the total, its closed form's text."""

    component: str
    parameters: int
    share: float
    formula: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count(Charted):
    """Everything that `count` finds out about one model.

    Attributes:
        model: the name that the source goes by, "openai-community/gpt2".
        model_class, model_type: the transformers class that was counted, and the config's model_type.
        source: where the description came from.
        sizes: the totals.
        components: embeddings first; their parameters add up to the total.
        form: the closed form, or None where there is none: derived by hand for the family, or the verified one that
            all figures come from where no model was built.
        conventions: the ways people count this model.
        lora: an entry for each rank that was asked for.
        notes: what a reader must know, a line each.
        versions: of the packages that the figures depend on.
        parts: the inventory's rows in plain Python, or those of the closed form.
        config: the config that the class was built from, or what answers for its fields where no model was built.
        table: the inventory, a row per distinct parameter; None where no model was built.
        detour: why the model was built although the catalogue was asked; None where it was not asked, or answered.
    """

    model: str
    model_class: str
    model_type: str
    source: Source
    sizes: Sizes
    components: tuple[Component, ...]
    form: ClosedForm | None
    conventions: tuple[Convention, ...]
    lora: LoraRows
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    parts: tuple[Part, ...] = dataclasses.field(repr=False, compare=False)
    config: Any = dataclasses.field(repr=False, compare=False)
    table: pd.DataFrame | None = dataclasses.field(default=None, repr=False, compare=False)
    detour: str | None = None

    def to_frame(self, *, by: Grouping = "component") -> pd.DataFrame:
        """The parameters summed `by` component, layer, module or parameter, a pandas DataFrame.

        Columns: name, parameters (exact), share (a fraction of all), formula (of a component, else None). They add up
        to the total.
        """
        import pandas as pd

        texts = {each.component: each.formula for each in self.components} if by == "component" else {}
        rows = [
            {"name": each.name, "parameters": each.parameters, "share": each.share, "formula": texts.get(each.name)}
            for each in breakdown(self.parts, by)
        ]
        frame = pd.DataFrame(rows, columns=["name", "parameters", "share", "formula"])
        return frame.astype({"parameters": "int64", "formula": "object"})

    @property
    def built(self) -> bool:
        """Whether the class itself was built and counted; without it, all figures are the verified form's."""
        return self.table is not None

    @property
    def form_matches(self) -> bool | None:
        """Whether the closed form equals the count; None without a form."""
        return None if self.form is None else self.form.value == self.sizes.total

    @property
    def all_matches(self) -> bool:
        """Whether every closed form here, the adapters' included, equals its count."""
        return self.form_matches is not False and all(each.matches is not False for each in self.lora)


class _Explained(NamedTuple):
    counted: Count
    explanation: Explanation


class Explained(Charted, _Explained):
    """What `explain` answers: the pair of the count and what is known of the figure, `count, explanation = ...`."""

    __slots__ = ()


class Compared(Charted, tuple["Count", ...]):
    """What `compare` answers: the counts in the order asked, a tuple that shows them side by side."""

    __slots__ = ()


def components(parts: Iterable[Part], form: ClosedForm | None) -> tuple[Component, ...]:
    """The components of the rows, embeddings first, with the form's text for each; they add up to the total."""
    from hfcount.components import COMPONENTS

    texts = {each.component: each for each in form.components} if form is not None else {}
    sums: dict[str, int] = {}
    for part in parts:
        sums[part.component] = sums.get(part.component, 0) + part.numel
    total = sum(sums.values())
    rows = []
    for name, parameters in sorted(sums.items(), key=lambda item: COMPONENTS.index(item[0])):
        text = texts.get(name)
        rows.append(
            Component(
                component=name,
                parameters=parameters,
                share=parameters / total if total else 0.0,
                formula=text.text if text is not None and text.value == parameters else None,
            )
        )
    return tuple(rows)


@functools.cache
def versions(packages: Iterable[str] = PACKAGES) -> Mapping[str, str]:
    """The installed version of each package that the figures depend on; importing none of them."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
