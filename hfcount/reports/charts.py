"""The figure that all charts are drawn on, and how a notebook shows it. Imported when a chart is drawn, not before."""

from __future__ import annotations

import base64
import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from hfcount.visible import visible

INK = "#000000"
"""The colour that axes and letters are drawn in; in a notebook they take the colour of the text around them."""
STYLE = "max-width:100%;height:auto;color:inherit;fill:currentColor"  # matplotlib leaves out the fill of black letters


def drawn(text: str) -> str:
    """Return `text`, which is not ours, as matplotlib draws it letter by letter: no dollar sign opens mathematics."""
    return visible(text).replace("$", r"\$")


class Chart(Figure):
    """A matplotlib Figure that a notebook shows without pyplot, in light and dark.

    As HTML it is an SVG inside the page with a clear ground, its ink the page's own (`currentColor`); where only
    images are shown it is a PNG on white.
    """

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/html": self.to_svg(), "image/png": base64.b64encode(self._saved("png")).decode("ascii")}

    def to_svg(self) -> str:
        """The chart as an `<svg>` element to stand inside an HTML page, with the page's colour of text."""
        text = self._saved("svg", transparent=True).decode("utf-8")
        svg = text[text.index("<svg") :]
        return svg.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" style="{STYLE}" ', 1)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the chart, with all that stands beside its axes unless `bbox_inches` says otherwise."""
        super().savefig(fname, **{"bbox_inches": "tight", **options})

    def _saved(self, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        # Without a date and with fixed ids, so that a notebook that is run again does not change.
        with rc_context({"svg.hashsalt": "hfcount", "svg.fonttype": "path"}):
            metadata = dict.fromkeys(("Date", "Creator", "Format", "Type")) if kind == "svg" else None
            self.savefig(buffer, format=kind, dpi=110, metadata=metadata, **options)
        return buffer.getvalue()
