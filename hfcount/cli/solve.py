"""`hfcount solve MODEL`: which rank, which size."""

from __future__ import annotations

from typing import Annotated

import typer

from hfcount.cli import options
from hfcount.cli.options import Format


def command(
    model: options.Model,
    trainable: Annotated[
        str | None,
        typer.Option(metavar="SHARE|NUMBER", help="Which rank of LoRA trains this: 1%, 4M.", show_default=False),
    ] = None,
    parameters: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Which size gives this total: 1B.", show_default=False)
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="With --parameters: the config field to vary.", show_default=False),
    ] = None,
    lora_targets: Annotated[
        str,
        typer.Option(metavar="SET|NAMES", help="default (PEFT's own), all-linear, attention, mlp, or module names."),
    ] = "default",
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
    """Which rank trains a share of a model, or which size of a field gives a total; the whole numbers on both sides.

    The exit code is 1 if no value meets the request.

    Examples: [bold]hfcount solve gpt2 --trainable 1%[/bold]
    and [bold]hfcount solve gpt2 --parameters 1B --over n_layer[/bold]
    """
    from hfcount.cli.output import chosen, emit

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast)
    written = chosen(format, output, without=(Format.html,))

    from hfcount.solving import solve

    solution = solve(model, trainable=trainable, parameters=parameters, over=over, lora_targets=lora_targets, **how)
    from hfcount.reports import solve as reports

    renderings = {
        Format.table: lambda: reports.solution_report(solution),
        Format.json: lambda: reports.solution_document(solution),
        Format.csv: lambda: reports.solution_csv(solution),
        Format.markdown: lambda: reports.solution_markdown(solution),
    }
    bare = f"{solution.nearest.value}\n" if solution.nearest is not None else ""
    emit(renderings, written, output, bare=bare if quiet else None)
    return 0 if solution.nearest is not None else 1
