"""The page on a port: loopback unless asked otherwise, with nothing fetched from other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from hfcount.app.hosts import LOOPBACK, OwnHostOnly
from hfcount.app.page import build
from hfcount.app.turns import Workers
from hfcount.errors import BadInput

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """A theme with the system's own fonts, so that none is fetched."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=[gr.themes.Font(name) for name in SYSTEM_FONTS],
        font_mono=[gr.themes.Font(name) for name in SYSTEM_MONO],
    )


def settings() -> dict[str, Any]:
    """How the page is launched wherever it is: the looks, and nothing of Gradio that is not this page's."""
    return {
        "theme": theme(),
        "css_paths": Path(__file__).with_name("page.css"),
        "footer_links": [],
        "ssr_mode": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "max_file_size": "1kb",  # nothing is uploaded
        "quiet": True,
        "max_threads": 100,  # those who wait for an exact answer hold one each, and leave the others
    }


def launch(
    host: str = "127.0.0.1", port: int | None = None, *, open_browser: bool = False, with_token: bool = False
) -> tuple[gr.Blocks, Workers, str]:
    """The page being served, its workers, and its address.

    Without `port` the first free one from 7860 on. BadInput where the port cannot be had.
    """
    workers = Workers()
    page = build(workers, with_token=with_token).queue(default_concurrency_limit=4, max_size=200)
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            prevent_thread_lock=True,
            app_kwargs={"middleware": [Middleware(OwnHostOnly)] if host in LOOPBACK else []},
            **settings(),
        )
    except (OSError, ValueError) as error:
        asked = "a free port from 7860 on" if port is None else f"port {port}"
        raise BadInput(f"hfcount app: cannot serve on {host}, {asked} ({error}); try another --port") from error
    workers.start()
    return page, workers, url
