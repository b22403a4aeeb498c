"""A model type as transformers builds it where nothing is said: no published model, its default config."""

from __future__ import annotations

from hfcount.formulas import catalogue
from hfcount.sources.cards import find_card
from hfcount.sources.folder import is_model_folder
from hfcount.sources.source import Source


def is_model_type(name: str) -> bool:
    """Whether a name is that of a model type with forms in the catalogue, and of no bundled card and no folder."""
    known = "/" not in name and name in catalogue.model_types()
    return known and find_card(name) is None and not is_model_folder(name)


def load_model_type(name: str) -> Source:
    """The source for the default config of the model type `name`, or the smallest one that can be built."""
    default = catalogue.default_class(name)
    forms = [form for form in catalogue.forms(name) if default in (None, form.model_class)]
    given = next((form.example["config"] for form in forms if "config" in form.example), {"model_type": name})
    return Source(
        model=name,
        kind="type",
        location=f"the defaults of transformers' {name}",
        config=given,
        notes=(f"{name} is a model type; its default config stands for it",),
    )
