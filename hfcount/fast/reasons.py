"""Why an answer from the catalogue is not to be had."""

from __future__ import annotations


class NotCovered(Exception):
    """The catalogue cannot answer; the text says why, and the count goes the long way."""
