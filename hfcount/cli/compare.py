"""`hfcount compare MODEL MODEL ...`: models side by side."""

from __future__ import annotations

from hfcount.cli import options
from hfcount.cli.options import Format
from hfcount.visible import visible


def command(
    models: options.Models,
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
    """Models side by side: their sizes, and what share of each a component has.

    Example: [bold]hfcount compare mini-gpt-lab02 mini-gpt-medium mini-gpt-large[/bold]
    """
    from hfcount.cli.output import chosen, emit, tell_detours

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast)
    written = chosen(format, output)

    from hfcount import reports
    from hfcount.api import compare

    results = compare(models, **how)
    tell_detours(results)
    renderings = {
        Format.table: lambda: reports.terminal.comparison_report(results),
        Format.json: lambda: reports.document.comparison_document(results),
        Format.csv: lambda: reports.csv.comparison_csv(results),
        Format.markdown: lambda: reports.markdown.comparison_markdown(results),
        Format.html: lambda: reports.html.comparison_page(results),
    }
    bare = "".join(f"{visible(each.model)}\t{each.sizes.total}\n" for each in results)
    emit(renderings, written, output, bare=bare if quiet else None)
    return 0 if all(each.all_matches for each in results) else 1
