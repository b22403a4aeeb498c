"""The ways people count a model, and which of them gives a published figure."""

from hfcount.conventions.figures import Figure, parse_figure
from hfcount.conventions.search import Explanation, Found, explain
from hfcount.conventions.subject import Subject
from hfcount.conventions.way import Convention
from hfcount.conventions.ways import conventions

__all__ = ["Convention", "Explanation", "Figure", "Found", "Subject", "conventions", "explain", "parse_figure"]
