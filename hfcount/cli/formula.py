"""`hfcount formula MODEL`: the closed form."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from hfcount.cli import options
from hfcount.cli.progress import say

if TYPE_CHECKING:
    from hfcount.formula_answer import FormulaAnswer


class Written(str, Enum):
    """How the form is written."""

    text = "text"
    latex = "latex"
    python = "python"
    json = "json"
    table = "table"
    csv = "csv"
    markdown = "markdown"
    html = "html"


_OF_SUFFIX = {
    ".tex": Written.latex, ".py": Written.python,
    **{suffix: Written(format.value) for suffix, format in options.FORMAT_OF_SUFFIX.items()},
}  # fmt: skip


def command(
    model: options.Model,
    format: Annotated[
        Written | None,
        typer.Option(help="text (or table, the same), or by the suffix of --output.", show_default=False),
    ] = None,
    check: Annotated[
        int, typer.Option(metavar="N", help="Hold the form against N more random configs, built for real.")
    ] = 0,
    settings: options.Set = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    class_name: options.ClassName = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    trust_remote_code: options.TrustRemoteCode = False,
    timeout: options.Timeout = None,
    fast: options.Fast = False,
) -> int:
    """A model's parameter count as a closed form in the fields of its config.json, verified against the class.

    MODEL may also be a model type (llama), for its default config. The exit code is 1 if --check finds a config that
    the form is wrong for, or if there is no form to write as LaTeX or Python.

    Example: [bold]hfcount formula gpt2[/bold]
    """
    from hfcount.cli.output import deliver
    from hfcount.reports.files import check_writable

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast)
    if output is not None:
        check_writable(output)
    written = format or (_OF_SUFFIX.get(output.suffix.lower()) if output else None) or Written.text

    from hfcount.api import formula

    answer = formula(model, check=check, **how)
    bare = quiet and written in (Written.text, Written.table)
    text = f"{answer.text or answer.value}\n" if bare else _written(answer, written, to_screen=output is None)
    if text is None:
        say(f"{answer.model} has {answer.value:,} parameters and no verified closed form: {answer.reason}")
        return 1
    if answer.detour and (bare or written in (Written.latex, Written.python, Written.csv)):
        say(f"{answer.model}: {answer.detour}")
    deliver(text, output)
    return 1 if answer.drawn is not None and answer.drawn.failed is not None else 0


def _written(answer: FormulaAnswer, written: Written, *, to_screen: bool) -> str | None:
    """The answer in one format; None where there is no form to write in it."""
    if written is Written.latex:
        return f"{answer.latex}\n" if answer.latex is not None else None
    if written is Written.python:
        return answer.python
    from hfcount.reports.document import to_json
    from hfcount.reports.formula import formula_csv, formula_document, formula_markdown, formula_report

    if written is Written.json:
        return to_json(formula_document(answer))
    if written is Written.csv:
        return formula_csv(answer)
    if written is Written.markdown:
        return formula_markdown(answer)
    if written is Written.html:
        from hfcount.reports.html import formula_page

        return formula_page(answer)
    from hfcount.cli.output import table_text

    return table_text(formula_report(answer), to_screen=to_screen)
