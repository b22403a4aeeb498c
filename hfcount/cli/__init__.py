"""The command line: each command is its arguments, one call and one output. Only this package prints."""

from hfcount.cli.app import main

__all__ = ["main"]
