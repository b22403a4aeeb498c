"""`hfcount env`: what to paste into a bug report."""

from __future__ import annotations

from hfcount.cli import options
from hfcount.cli.options import Format


def command(format: options.FormatOption = None, output: options.Output = None, quiet: options.Quiet = False) -> int:
    """Versions, device and bitsandbytes backend: what to paste into a bug report.

    Example: [bold]hfcount env[/bold]
    """
    from hfcount.cli.output import chosen, emit
    from hfcount.environment import environment
    from hfcount.reports import csv, environments

    written = chosen(format, output, without=(Format.html,))
    found = environment()
    renderings = {
        Format.table: lambda: environments.table(found),
        Format.json: lambda: {"schema": 1, **found},
        Format.csv: lambda: csv.to_csv(
            [{"name": name, "value": value} for name, value in found.items()], ["name", "value"]
        ),
        Format.markdown: lambda: environments.markdown(found),
    }
    emit(renderings, written, output, bare=f"{found['hfcount']}\n" if quiet else None)
    return 0
