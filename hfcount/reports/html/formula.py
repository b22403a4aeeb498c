"""The page of `hfcount formula`: the closed form as mathematics, and what stands behind it."""

from __future__ import annotations

from hfcount.formula_answer import FormulaAnswer
from hfcount.reports.formula import ORIGINS, condition
from hfcount.reports.html.count import SOURCES
from hfcount.reports.html.page import render
from hfcount.reports.html.symbols import symbols_of
from hfcount.reports.units import exact


def formula_page(answer: FormulaAnswer) -> str:
    """The form, its components, symbols, conditions and proof as one HTML file; without a form, the count and why."""
    form = answer.closed_form
    values = answer.form.values(answer.raw) if answer.form is not None else {}
    return render(
        "formula.html",
        title=f"{answer.model}: {exact(answer.value)} parameters in closed form",
        answer=answer,
        source=SOURCES.get(answer.source.kind, answer.source.kind),
        form=form,
        symbols=symbols_of(form, values) if form is not None else (),
        conditions=[condition(each) for each in answer.guards],
        origin=ORIGINS[answer.form.origin] if answer.form is not None else "",
        versions=_versions(answer),
        notes=[*answer.notes, *filter(None, [answer.detour])],
    )


def _versions(answer: FormulaAnswer) -> dict[str, str]:
    from hfcount._version import __version__

    return {"hfcount": __version__, **(answer.form.versions if answer.form is not None else {})}
