"""hfcount: how many parameters a model has and where, why, and what training it costs."""

from hfcount._version import __version__

__all__ = ["__version__"]
