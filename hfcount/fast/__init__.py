"""Counts from config.json and a verified closed form: no model is built and nothing heavy is imported.

Sound or silent: where anything about a config is not what the forms are verified for, `NotCovered` says what, and the
class itself is built and counted instead.
"""

from hfcount.fast.count import covering_form, fast_count
from hfcount.fast.reasons import NotCovered

__all__ = ["NotCovered", "covering_form", "fast_count"]
