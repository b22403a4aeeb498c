"""mkdocs' hook: a page is published with the figures and outputs that hfcount gives while the site is built.

mkdocs.yml names this file. What a page has on the disk is what README's readers see on GitHub, so where it says something
else than what is published, the build warns, and `--strict` (as `make docs` runs) fails.
"""

from __future__ import annotations

import itertools
from typing import Any

from doc_figures import BadFigure
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from update_docs import renewed

log = get_plugin_logger("figures")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as hfcount writes it now; a warning where the file is stale, PluginError where a figure is none."""
    try:
        now = renewed(markdown)
    except BadFigure as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error
    if now != markdown:
        log.warning(
            f"{page.file.src_uri} is not what hfcount says now, first in {first_difference(markdown, now)}: "
            "run python scripts/update_docs.py"
        )
    return now


def first_difference(old: str, new: str) -> str:
    """The first line that is not the same, as it stands and as it should."""
    pairs = itertools.zip_longest(old.splitlines(), new.splitlines(), fillvalue="")
    was, now = next(pair for pair in pairs if pair[0] != pair[1])
    return f"{was.strip()!r}, which is {now.strip()!r}"
