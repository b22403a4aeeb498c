"""`hfcount app`: the same answers on a local web page."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from hfcount.cli.progress import say
from hfcount.errors import BadInput


def command(
    host: Annotated[
        str, typer.Option(help="The address to serve on; the default is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The first free one from 7860 on, if not given.", show_default=False),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    with_token: Annotated[
        bool, typer.Option("--with-token", help="Use your Hub token; every visitor then reads what you may read.")
    ] = False,
) -> int:
    """The same answers on a local web page: counts, closed form, conventions, LoRA and memory, as they change.

    Example: [bold]hfcount app --open[/bold]
    """
    if importlib.util.find_spec("gradio") is None:
        raise BadInput("hfcount app needs Gradio: pip install 'hfcount[app]'")
    from hfcount.app.hosts import LOOPBACK
    from hfcount.app.serving import launch

    page, worker, url = launch(host, port, open_browser=open_browser, with_token=with_token)
    if host not in LOOPBACK:
        say(f"warning: on {host} whoever reaches this machine can use the page")
    say("your Hub token is used" if with_token else "no Hub token is used; --with-token uses yours")
    say(f"serving on {url} (Ctrl-C ends it)")
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)
        worker.close()
    return 0
