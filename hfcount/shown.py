"""What every answer can do for a reader: be a table in a notebook, a data frame, Markdown, a chart.

An answer knows nothing of how it looks: that is the reports' business, which stand above all answers. So this is the
one place that reaches upwards, by name and not before somebody looks; a test holds that it stays the only one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import RenderableType

VIEWS = "hfcount.reports.views"


def _views() -> Any:
    return importlib.import_module(VIEWS)


class Shown:
    """An answer that people look at: printed, in a notebook, as a data frame, as Markdown."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # IPython takes a class's own __repr__, which dataclasses have, before what a base class says of text.
        cls._repr_pretty_ = Shown._repr_pretty_  # type: ignore[method-assign]

    def to_frame(self) -> pd.DataFrame:
        """The answer's main table, a pandas DataFrame: exact integers, shares as fractions, sizes in bytes."""
        frame: pd.DataFrame = _views().frame(self)
        return frame

    def to_markdown(self) -> str:
        """The whole report in Markdown, for a model card, an issue or a set of notes."""
        return str(_views().markdown(self))

    def __str__(self) -> str:
        """The report as the command line prints it, without colours."""
        return str(_views().text(self))

    def __rich__(self) -> RenderableType:
        """The report for rich's own `print`, with colours."""
        report: RenderableType = _views().report(self)
        return report

    def _repr_html_(self) -> str:
        """The report in a notebook; its colours are the notebook's, light or dark."""
        return str(_views().html(self))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The report where IPython shows text, as in its terminal."""
        printer.text("..." if cycle else str(self))


class Charted(Shown):
    """An answer that has a chart as well."""

    def plot(self) -> Figure:
        """The answer's chart, a matplotlib Figure: `.savefig("chart.png")` writes it.

        In a notebook its lines and letters have the notebook's own colour, so that it reads in light and dark.
        Raises BadInput where there is nothing to draw.
        """
        figure: Figure = _views().figure(self)
        return figure
