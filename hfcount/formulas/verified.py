"""The closed form that a verified form is for one config: its text, its value, the same by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfcount.components import COMPONENTS
from hfcount.formulas import catalogue
from hfcount.formulas.closed_form import ClosedForm, ComponentForm
from hfcount.formulas.form import Form, FormOnConfig

_ORIGINS = {"catalogue": "the catalogue", "cache": "this machine's cache of forms", "traced": "a trace"}


def catalogued(raw: Mapping[str, Any], model_class: str, total: int) -> tuple[ClosedForm | None, str | None]:
    """(the catalogued form of a class that was counted, a remark): the form only where it gives `total`."""
    form = catalogue.find(raw, model_class)
    if form is None:
        return None, None
    try:
        found = closed_form_of(form, raw)
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError):
        return None, None
    if found.value == total:
        return found, None
    remark = f"{_ORIGINS[form.origin]} has a form of {model_class} that gives {found.value:,} here"
    made, here = form.versions.get("transformers"), catalogue.installed("transformers")
    if made != here:
        return None, f"{remark}; it was made with transformers {made}, and {here} is installed"
    return None, f"{remark}: a fault, please report it"


def closed_form_of(form: Form, raw: Mapping[str, Any]) -> ClosedForm:
    """`form` for the config.json `raw`, its values from its texts; ValueError where one is no polynomial."""
    return closed_form_on(form.on(raw))


def closed_form_on(held: FormOnConfig) -> ClosedForm:
    """The same for a form that is already laid on its config."""
    form, values = held.form, held.values
    components = tuple(
        ComponentForm(component, form.texts[component], form.polynomials[component].evaluate(values))
        for component in sorted(form.polynomials, key=COMPONENTS.index)
    )
    return ClosedForm(
        text=form.text,
        value=form.whole.evaluate(values),
        components=components,
        symbols={symbol: field for symbol, field in form.symbols.items() if symbol in form.whole.symbols},
        origin="traced",
        source=provenance(form),
    )


def provenance(form: Form) -> str:
    """Return where a form comes from and how many configs it was held against, drawn ones and single changes."""
    version = form.versions.get("transformers", "of unknown version")
    configs = form.verified + form.single_changes
    return f"{_ORIGINS[form.origin]} (verified on {configs:,} configs, transformers {version})"
