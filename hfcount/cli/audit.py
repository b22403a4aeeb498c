"""`hfcount audit TARGET ...`: what models publish, held against what is true of them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfcount.cli import options
from hfcount.cli.options import Format
from hfcount.cli.progress import clear, say
from hfcount.errors import PASSING_KINDS, BadInput, SourceError

if TYPE_CHECKING:
    from hfcount.auditing.audits import Audit

INTERRUPTED = 130


class FailOn(str, Enum):
    """What makes a run fail."""

    never = "never"
    mismatch = "mismatch"
    error = "error"
    unverifiable = "unverifiable"


# Each choice fails on what the one before it does, and on one verdict more.
FAILING = {
    FailOn.never: (),
    FailOn.mismatch: ("mismatch",),
    FailOn.error: ("mismatch", "error"),
    FailOn.unverifiable: ("mismatch", "error", "unverifiable"),
}


def command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET...",
            help="Hub ids, bundled cards, checkpoint files, folders of a model or of many.",
            show_default=False,
            autocompletion=options.card_names_starting,
        ),
    ] = None,
    listed: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A list of ids, or of ids with config and card: text, .csv, .jsonl, .parquet; - for stdin.",
            show_default=False,
        ),
    ] = None,
    author: Annotated[
        str | None, typer.Option(help="All models of a user or organisation.", show_default=False)
    ] = None,
    search: Annotated[str | None, typer.Option(help="All models found by these words.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many models of --author and --search.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Findings as they come to .jsonl, .sqlite or .parquet; or the report to .json, .csv, .md, .html.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from what is in --output.")] = False,
    fail_on: Annotated[
        FailOn,
        typer.Option("--fail-on", help="Exit with 1 on a mismatch; also on an error; also on what is unverifiable."),
    ] = FailOn.never,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the verdicts to a .png, .svg or .pdf file.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes at once; 0: this one alone.", show_default=False, min=0, max=256)
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Have a Dask cluster do the work.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="At most so many requests to the Hub a second, in all (of a cluster: each thread).",
            show_default=False,
        ),
    ] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Open no checkpoint, not even its header.")] = False,
    revision: options.Revision = None,
    offline: options.Offline = False,
    timeout: options.Timeout = None,
    format: options.FormatOption = None,
    quiet: options.Quiet = False,
) -> int:
    """Is what a model's page says true? Each figure of its card, name, index and headers gets a verdict.

    ok: the count, rounded as printed. explained: the count by another named convention. mismatch: no convention gives
    it. unverifiable: there is nothing to hold it against. error: something could not be read.

    Example: [bold]hfcount audit gpt2[/bold]
    """
    _check(rate, limit, timeout)
    from hfcount.auditing.audits import audit
    from hfcount.auditing.stores import SUFFIXES
    from hfcount.cli.output import chosen
    from hfcount.reports.figures import check_figure_path
    from hfcount.reports.files import check_writable

    stored = output is not None and output.suffix.lower() in SUFFIXES
    written = chosen(format, None if stored else output)
    if plot is not None:
        check_figure_path(plot)
        check_writable(plot)
    clear()  # an audit has a line of progress of its own
    result = audit(
        *(targets or ()),
        listed=listed,
        author=author,
        search=search,
        limit=limit,
        output=output if stored else None,
        resume=resume,
        workers=workers,
        scheduler=scheduler,
        revision=revision,
        offline=offline,
        timeout=timeout,
        headers=not no_headers,
        rate=rate,
        quiet=quiet,
    )
    _report(result, written, None if stored else output, plot, quiet=quiet)
    if result.outcome.stopped:
        say("interrupted; go on with --resume" if stored else "interrupted")
        return INTERRUPTED
    if any(_results(result)[verdict] for verdict in FAILING[fail_on]):
        return 1
    if result.summary.unreached:
        say(_unreached(result, "--resume asks for them again" if stored else "run it again"))
        return SourceError.exit_code
    return _nothing_read(result)


def _results(result: Audit) -> dict[str, int]:
    """The findings of each verdict, without the errors of a source that gave no answer."""
    kinds = result.summary.kinds
    return {
        verdict: number - sum(kinds.get((kind, verdict), 0) for kind in PASSING_KINDS if verdict == "error")
        for verdict, number in result.summary.verdicts.items()
    }


def _unreached(result: Audit, remedy: str) -> str:
    kinds = [kind for kind in PASSING_KINDS if (kind, "error") in result.summary.kinds]
    number = result.summary.unreached
    return f"{number:,} model{'' if number == 1 else 's'} could not be read ({', '.join(kinds)}); {remedy}"


def _nothing_read(result: Audit) -> int:
    """The exit code where all that was asked for could not even be read: 2 for what cannot be meant, else 3."""
    if any(number for verdict, number in result.summary.verdicts.items() if verdict != "error"):
        return 0
    kinds = {kind for kind, _ in result.summary.kinds}
    return 0 if not kinds else 2 if kinds <= {"config", "row", "card", "header"} else 3


def _check(rate: float | None, limit: int | None, timeout: float | None) -> None:
    if rate is not None and not 0 < rate < 1e6:
        raise BadInput(f"--rate {rate:g}: give a positive number of requests a second")
    if limit is not None and limit < 1:
        raise BadInput(f"--limit {limit}: give a positive number of models")
    if timeout is not None and not 0 < timeout < 1e6:
        raise BadInput(f"--timeout {timeout:g}: give a positive number of seconds")


def _report(result: Audit, format: Format, output: Path | None, plot: Path | None, *, quiet: bool) -> None:
    from hfcount.cli.output import emit, print_text
    from hfcount.reports import audit as reports
    from hfcount.reports.html import audit_page

    if plot is not None:
        from hfcount.reports.files import write_figure

        write_figure(plot, result.plot())
    if quiet and output is None and format is Format.table:
        print_text("".join(f"{verdict} {number}\n" for verdict, number in result.summary.verdicts.items()))
        return
    renderings = {
        Format.table: lambda: reports.audit_report(result),
        Format.json: lambda: reports.audit_document(result),
        Format.csv: lambda: reports.audit_csv(result),
        Format.markdown: lambda: reports.audit_markdown(result),
        Format.html: lambda: audit_page(result),
    }
    emit(renderings, format, output)
