"""How a closed form is shown: on a terminal, and as the JSON that programs read."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hfcount.formula_answer import FormulaAnswer
from hfcount.formulas import pretty
from hfcount.formulas.closed_form import ClosedForm
from hfcount.reports.csv import to_csv
from hfcount.reports.document import SCHEMA
from hfcount.reports.lines import below, notes
from hfcount.reports.markdown import code, listed, markdown_table, plain
from hfcount.reports.plain_table import plain_table
from hfcount.reports.terminal import BAD, GOOD, heading
from hfcount.reports.units import exact, label
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.reports.schema import FormulaDocument

ORIGINS = {
    "catalogue": "from the catalogue",
    "cache": "from this machine's cache of forms",
    "traced": "traced now from the class's own constructor",
}


def formula_report(answer: FormulaAnswer) -> RenderableType:
    """The total, the components, what the symbols stand for, the conditions, and what stands behind the form."""
    parts: list[RenderableType] = [heading(answer)]
    if answer.closed_form is None:
        parts.append(Text(f"{exact(answer.value)} parameters, counted; no closed form could be verified"))
        parts.append(below(str(answer.reason)))
    else:
        parts += [_equation(answer.closed_form), _components(answer.closed_form), _symbols(answer)]
        parts += [_conditions(answer.guards), *_proof(answer)]
    parts += notes((*answer.notes, *filter(None, [answer.detour])))
    return Group(*parts)


def _equation(form: ClosedForm) -> Text:
    return Text.assemble((pretty(form.text), "bold"), f"\n= {exact(form.value)}\n")


def _components(form: ClosedForm) -> Table:
    table = plain_table(("Component", "left"), ("Parameters", "right"), ("Closed form", "left"))
    for each in form.components:
        table.add_row(label(each.component), exact(each.value), pretty(each.text))
    return table


def _symbols(answer: FormulaAnswer) -> RenderableType:
    """The symbols in the order in which the total's text uses them."""
    assert answer.form is not None
    assert answer.closed_form is not None
    values, form = answer.form.values(answer.raw), answer.closed_form
    used = dict.fromkeys(re.findall(r"[A-Za-z]\w*", form.text))
    table = plain_table(("", "left"), ("Stands for", "left"), ("Here", "right"))
    for symbol in used:
        if symbol in form.symbols:
            table.add_row(symbol, form.symbols[symbol], exact(values[symbol]))
    return Group(Text("\nSymbols", style="bold"), table)


def _conditions(guards: tuple[str, ...]) -> RenderableType:
    if not guards:
        return Text("\nIt holds for every config of this class.")
    lines = [below(condition(each), "") for each in guards]
    return Group(Text("\nHolds where", style="bold"), *lines)


_ABSENT = re.compile(r"([\w.]+) is ABSENT")
_ACTIVATION = re.compile(r"([\w.]+) in ACTIVATIONS")
_FALSE = re.compile(r"not \(([\w.\[\]]+)\)")
_TRUE = re.compile(r"[\w.\[\]]+")


_WORDS = {
    " is not ABSENT": " is given",
    " is ABSENT": " is not given",
    " is not None": " is not null",
    " is None": " is null",
}


def condition(text: str) -> str:
    """A condition as a person says it.

    >>> condition("not (attention_bias)"), condition("n_inner is None"), condition("d % h == 0")
    ('attention_bias is false', 'n_inner is null', 'd % h == 0')
    >>> condition("head_dim is ABSENT or head_dim == (d//h)")
    'head_dim is not given or head_dim == (d//h)'
    """
    if match := _ABSENT.fullmatch(text):
        return f"{match[1]} is not given"
    if match := _ACTIVATION.fullmatch(text):
        return f"{match[1]} is an activation without parameters of its own"
    if match := _FALSE.fullmatch(text):
        return f"{match[1]} is false"
    if _TRUE.fullmatch(text):
        return f"{text} is true"
    for written, words in _WORDS.items():
        text = text.replace(written, words)
    return text


def _proof(answer: FormulaAnswer) -> list[RenderableType]:
    """What the form was held against, in colours."""
    return [Text(), *(Text(visible(line), GOOD if line.startswith("✓") else BAD) for line in _proof_lines(answer))]


def _proof_lines(answer: FormulaAnswer) -> list[str]:
    """What the form was held against, a line each."""
    assert answer.form is not None
    version = answer.form.versions.get("transformers", "of unknown version")
    origin = ORIGINS[answer.form.origin]
    configs = f"{answer.form.verified:,} random configs and {answer.form.single_changes:,} single changes"
    lines = [f"✓ verified on {configs}, transformers {version}; {origin}"]
    drawn = answer.drawn
    if drawn is not None and drawn.failed is None:
        lines.append(f"✓ {drawn.agreed:,} more drawn now: all agree")
    elif drawn is not None:
        lines.append(f"✗ after {drawn.agreed:,} that agreed, a drawn config does not: {drawn.failed}")
    return lines


def formula_markdown(answer: FormulaAnswer) -> str:
    """The total, the components, the symbols and the conditions in Markdown."""
    parts = [f"# {plain(answer.model)}\n"]
    form = answer.closed_form
    if form is None or answer.form is None:
        reason = plain(f"no closed form: {answer.reason}.")
        parts.append(f"{code(answer.model_class)}, {exact(answer.value)} parameters; {reason}\n")
    else:
        values, used = answer.form.values(answer.raw), dict.fromkeys(re.findall(r"[A-Za-z]\w*", form.text))
        parts.append(f"{code(answer.model_class)}: {plain(pretty(form.text))} = **{exact(form.value)}** parameters.\n")
        rows = [[label(each.component), exact(each.value), code(pretty(each.text))] for each in form.components]
        parts.append(markdown_table(["Component", "Parameters", "Closed form"], rows, right=(1,)))
        symbols = [
            [code(name), code(form.symbols[name]), exact(values[name])] for name in used if name in form.symbols
        ]
        parts.append(markdown_table(["Symbol", "Stands for", "Here"], symbols, right=(2,)))
        parts += listed([*(f"holds where {condition(each)}" for each in answer.guards), *_proof_lines(answer)])
    parts += listed([*answer.notes, *filter(None, [answer.detour])])
    return "\n".join(parts).rstrip() + "\n"


def formula_csv(answer: FormulaAnswer) -> str:
    """A row a component: what adds up to the total, as a form and as a number. A header alone without a form."""
    components = answer.closed_form.components if answer.closed_form is not None else ()
    return to_csv([dataclasses.asdict(each) for each in components], ["component", "value", "text"])


def formula_document(answer: FormulaAnswer) -> FormulaDocument:
    """The JSON of `hfcount formula MODEL`, as INTERFACE fixes it; what needs a form is null or empty without one."""
    form = answer.closed_form
    return {
        "schema": SCHEMA,
        "model": answer.model,
        "model_type": answer.model_type,
        "model_class": answer.model_class,
        "value": answer.value,
        "text": answer.text,
        "latex": answer.latex,
        "python": answer.python,
        "components": [
            {"component": each.component, "text": each.text, "value": each.value}
            for each in (form.components if form is not None else ())
        ],
        "symbols": dict(form.symbols) if form is not None else {},
        "guards": list(answer.guards),
        "verified": answer.form.verified if answer.form is not None else 0,
        "single_changes": answer.form.single_changes if answer.form is not None else 0,
        "origin": answer.origin,
        "reason": answer.reason or None,
        "check": dataclasses.asdict(answer.drawn) if answer.drawn is not None else None,
        "versions": dict(answer.form.versions) if answer.form is not None else {},
        "notes": [*answer.notes, *filter(None, [answer.detour])],
    }
