"""Every answer as a terminal report, Markdown, HTML for a notebook, a data frame and a chart, chosen by its type.

The answers' own methods (see shown.py) come here by name. One function for each way to look, with a case for each kind
of answer; a data frame that an answer makes itself (`to_frame`) needs none.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from hfcount.auditing.audits import Audit
from hfcount.errors import BadInput
from hfcount.formula_answer import FormulaAnswer
from hfcount.formulas.solve import Solution
from hfcount.live.live_report import LiveReport
from hfcount.lora import LoraCount, LoraRows
from hfcount.memory_answer import Memory
from hfcount.reports import terminal
from hfcount.reports.audit import audit_markdown, audit_report
from hfcount.reports.formula import formula_markdown, formula_report
from hfcount.reports.live import live_markdown, live_report, main_grouping
from hfcount.reports.markdown import comparison_markdown, count_markdown, explanation_markdown, lora_markdown
from hfcount.reports.memory import memory_markdown, memory_report
from hfcount.reports.solve import solution_markdown, solution_report
from hfcount.result import Compared, Count, Explained

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@functools.singledispatch
def report(answer: Any) -> RenderableType:
    """The report for a terminal."""
    raise TypeError(f"no report of a {type(answer).__name__}")


report.register(Count, terminal.count_report)
report.register(LoraRows, terminal.lora_report)
report.register(LoraCount, lambda answer: terminal.lora_report((answer,)))
report.register(Explained, lambda answer: terminal.explanation_report(*answer))
report.register(Compared, terminal.comparison_report)
report.register(FormulaAnswer, formula_report)
report.register(Memory, memory_report)
report.register(Audit, audit_report)
report.register(Solution, solution_report)
report.register(LiveReport, live_report)


def text(answer: Any) -> str:
    """The terminal's report as plain text."""
    return terminal.to_text(report(answer)).rstrip("\n")


@functools.singledispatch
def markdown(answer: Any) -> str:
    """The report in Markdown."""
    raise TypeError(f"no Markdown of a {type(answer).__name__}")


markdown.register(Count, count_markdown)
markdown.register(LoraRows, lora_markdown)
markdown.register(LoraCount, lambda answer: lora_markdown((answer,)))
markdown.register(Explained, lambda answer: explanation_markdown(*answer))
markdown.register(Compared, comparison_markdown)
markdown.register(FormulaAnswer, formula_markdown)
markdown.register(Memory, memory_markdown)
markdown.register(Audit, audit_markdown)
markdown.register(Solution, solution_markdown)
markdown.register(LiveReport, live_markdown)


def html(answer: Any) -> str:
    """The Markdown as an HTML element that takes its colours and letters from the page around it.

    What a model, a card or a config brings into it stays text: Markdown's own HTML is off.
    """
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown(answer))
    for level in (2, 1):  # a notebook's own headings are larger
        body = body.replace(f"<h{level}>", f"<h{level + 2}>").replace(f"</h{level}>", f"</h{level + 2}>")
    return f'<div class="hfcount" style="font-variant-numeric:tabular-nums">\n{body}</div>'


@functools.singledispatch
def frame(answer: Any) -> pd.DataFrame:
    """The main table as a data frame."""
    raise TypeError(f"no data frame of a {type(answer).__name__}")


@frame.register(LoraRows)
def _(answer: LoraRows) -> pd.DataFrame:
    import pandas as pd

    columns = [field.name for field in dataclasses.fields(LoraCount)]
    rows = [{name: getattr(each, name) for name in columns} for each in answer]
    return pd.DataFrame(rows, columns=columns).astype({"trainable": "Int64", "all": "Int64", "formula_value": "Int64"})


@frame.register(LoraCount)
def _(answer: LoraCount) -> pd.DataFrame:
    return frame(LoraRows([answer]))


@frame.register(Explained)
def _(answer: Explained) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "gives_it": gives,
            "name": each.convention.name,
            "parameters": each.convention.parameters,
            "difference": each.difference,
            "basis": each.convention.basis,
            "derivation": each.convention.derivation,
            "note": each.convention.note,
        }
        for gives, found in ((True, answer.explanation.matches), (False, answer.explanation.misses))
        for each in found
    ]
    return pd.DataFrame(rows)


@frame.register(Compared)
def _(answer: Compared) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {"model": each.model, "component": part.component, "parameters": part.parameters, "share": part.share}
        for each in answer
        for part in each.components
    ]
    return pd.DataFrame(rows, columns=["model", "component", "parameters", "share"])


@frame.register(FormulaAnswer)
def _(answer: FormulaAnswer) -> pd.DataFrame:
    import pandas as pd

    parts = answer.closed_form.components if answer.closed_form is not None else ()
    rows = [{"component": each.component, "parameters": each.value, "formula": each.text} for each in parts]
    return pd.DataFrame(rows, columns=["component", "parameters", "formula"])


@frame.register(Memory)
def _(answer: Memory) -> pd.DataFrame:
    import pandas as pd

    from hfcount.reports.memory import CSV_COLUMNS, budget_document

    rows = pd.DataFrame([budget_document(each) for each in answer.budgets], columns=list(CSV_COLUMNS))
    whole = ["r", "trainable", "frozen", *(name for name in CSV_COLUMNS if name.endswith("_bytes"))]
    return rows.astype(dict.fromkeys(whole, "Int64"))


@frame.register(Solution)
def _(answer: Solution) -> pd.DataFrame:
    import pandas as pd

    columns = ["value", "count", "percent", "verified"]
    found = [dataclasses.asdict(each) for each in (answer.below, answer.above) if each is not None]
    return pd.DataFrame(found, columns=columns)


@frame.register(LiveReport)
def _(answer: LiveReport) -> pd.DataFrame:
    return answer.table


@functools.singledispatch
def figure(answer: Any) -> Figure:
    """The chart."""
    raise TypeError(f"no chart of a {type(answer).__name__}")


@figure.register(Count)
def _(answer: Count) -> Figure:
    from hfcount.reports.figures import distribution

    return distribution(answer.parts, title=answer.model)


@figure.register(LoraRows)
def _(answer: LoraRows) -> Figure:
    from hfcount.reports.plots import ranks_figure

    return ranks_figure(answer)


@figure.register(LoraCount)
def _(answer: LoraCount) -> Figure:
    return figure(LoraRows([answer]))


@figure.register(Explained)
def _(answer: Explained) -> Figure:
    from hfcount.reports.plots import explanation_figure

    return explanation_figure(answer.counted.model, answer.explanation)


@figure.register(Compared)
def _(answer: Compared) -> Figure:
    from hfcount.reports.plots import shares_figure

    if not answer:
        raise BadInput("nothing to draw: no model was compared")
    parts = [{part.component: part.parameters for part in each.components} for each in answer]
    return shares_figure([each.model.rsplit("/", 1)[-1] for each in answer], parts)


@figure.register(FormulaAnswer)
def _(answer: FormulaAnswer) -> Figure:
    from hfcount.reports.plots import form_figure

    if answer.closed_form is None:
        raise BadInput(f"{answer.model}: nothing to draw, there is no closed form: {answer.reason}")
    return form_figure(answer.model, answer.closed_form)


@figure.register(Memory)
def _(answer: Memory) -> Figure:
    from hfcount.reports.bars import memory_bars, stacks_of
    from hfcount.reports.memory import batch_of
    from hfcount.reports.simulated import timeline

    title = f"{answer.model}: {answer.precision}, batch {batch_of(answer)}"
    if answer.curves:
        return timeline(answer.curves, title=title)
    stacks = stacks_of(answer.budgets)
    if not stacks:
        raise BadInput(f"{answer.model}: nothing to draw, no regime has figures")
    return memory_bars(stacks, title=title)


@figure.register(Audit)
def _(answer: Audit) -> Figure:
    from hfcount.reports.verdicts import verdicts_figure

    return verdicts_figure(answer.summary)


@figure.register(LiveReport)
def _(answer: LiveReport) -> Figure:
    from hfcount.reports.plots import groups_figure

    return groups_figure(answer.model or answer.model_class, answer.by(main_grouping(answer)))
