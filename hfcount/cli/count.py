"""`hfcount MODEL`: the main job."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfcount.cli import options
from hfcount.cli.options import Format
from hfcount.errors import BadInput

if TYPE_CHECKING:
    from hfcount.result import Count


class By(str, Enum):
    """What the table of parameters is summed by."""

    component = "component"
    layer = "layer"
    module = "module"
    parameter = "parameter"


def command(
    model: options.Model,
    lora_r: Annotated[
        list[str] | None,
        typer.Option("--lora-r", metavar="R[,R...]", help="Ranks to count LoRA for; repeatable.", show_default=False),
    ] = None,
    lora_targets: Annotated[
        str,
        typer.Option(metavar="SET|NAMES", help="default (PEFT's own), all-linear, attention, mlp, or module names."),
    ] = "default",
    by: Annotated[By, typer.Option(help="What the parameters are summed by.")] = By.component,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw where the mass lies: .png, .svg, .pdf.", show_default=False),
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="With --output report.html: run the training step too, and show its course."),
    ] = False,
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
    """How many parameters a model has and where, by which convention, and what LoRA would train.

    Example: [bold]hfcount gpt2 --lora-r 8[/bold]
    """
    from hfcount.cli.output import chosen, emit, tell_detours, tell_unshown

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast)
    ranks = options.ranks(lora_r)
    written = chosen(format, output)
    if simulate and (fast or written is not Format.html):
        raise BadInput("--simulate is for a page (--output report.html, without --fast); see also hfcount memory")
    if ranks:
        tell_unshown("--lora-r", written, set(Format) - {Format.csv})  # the rows of one table, which add up
    if by is not By.component:
        tell_unshown(f"--by {by.value}", written, set(Format) - {Format.html})  # a page has its own tables
    if plot is not None:
        from hfcount.reports.figures import check_figure_path
        from hfcount.reports.files import check_writable

        check_figure_path(plot)
        check_writable(plot)

    from hfcount import reports
    from hfcount.api import count

    detailed = by is not By.component or plot is not None or written is Format.html
    result = count(model, lora_r=ranks, lora_targets=lora_targets, detailed=detailed, **how)
    if written is Format.csv or (quiet and written is Format.table):
        tell_detours([result])  # the other reports have it among their notes
    renderings = {
        Format.table: lambda: reports.terminal.count_report(result, by=by.value),
        Format.json: lambda: reports.document.count_document(result, by=by.value),
        Format.csv: lambda: reports.csv.count_csv(result, by=by.value),
        Format.markdown: lambda: reports.markdown.count_markdown(result, by=by.value),
        Format.html: lambda: _page(result, model, ranks, lora_targets, how, simulate=simulate),
    }
    figures = (result.sizes.total, *(each.trainable for each in result.lora))
    emit(renderings, written, output, bare="".join(f"{each}\n" for each in figures) if quiet else None)
    if plot is not None:
        from hfcount.reports.files import write_figure

        write_figure(plot, result.plot())
    return 0 if result.all_matches else 1


def _page(
    result: Count, model: str, ranks: tuple[int, ...], targets: str, how: dict[str, Any], *, simulate: bool
) -> str:
    """The page of a count, with what training takes beside it where a model was built."""
    from hfcount.costing import memory
    from hfcount.errors import HfcountError
    from hfcount.reports.html import count_page

    if not result.built:
        reason = "Without --fast the page also says what training takes: that needs the model built."
        return count_page(result, without_memory=reason)
    asked = {name: value for name, value in how.items() if name != "fast"}
    if simulate:
        asked |= {"detail": True, "curves": True}
    try:
        return count_page(result, memory(model, lora_r=ranks, lora_targets=targets, **asked))
    except HfcountError as error:  # the count stands without it
        return count_page(result, without_memory=str(error))
