"""`hfcount explain MODEL FIGURE`: which convention gives a published figure."""

from __future__ import annotations

from typing import Annotated

import typer

from hfcount.cli import options
from hfcount.cli.options import Format


def command(
    model: options.Model,
    figure: Annotated[str, typer.Argument(metavar="FIGURE", help="As published: 117M, 1.5B, 124439808.")],
    settings: options.Set = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    class_name: options.ClassName = None,
    format: options.FormatOption = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    trust_remote_code: options.TrustRemoteCode = False,
    timeout: options.Timeout = None,
    fast: options.Fast = False,
) -> int:
    """Which convention gives a published figure, to its printed precision, and by how much the others miss it.

    The exit code is 1 if nothing that is known explains the figure.

    Example: [bold]hfcount explain gpt2 117M[/bold]
    """
    from hfcount.cli.output import chosen, emit, tell_detours

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast)
    written = chosen(format, output)

    from hfcount import reports
    from hfcount.api import explain

    result, explanation = explain(model, figure, **how)
    tell_detours([result])
    renderings = {
        Format.table: lambda: reports.terminal.explanation_report(result, explanation),
        Format.json: lambda: reports.document.explanation_document(result, explanation),
        Format.csv: lambda: reports.csv.explanation_csv(explanation),
        Format.markdown: lambda: reports.markdown.explanation_markdown(result, explanation),
        Format.html: lambda: reports.html.explanation_page(result, explanation),
    }
    bare = "".join(f"{each.convention.name}\n" for each in explanation.matches)
    emit(renderings, written, output, bare=bare if quiet else None)
    return 0 if explanation.explained else 1
