"""The command line: each command is its arguments, one call and one output. Only this package prints."""

from hfcount.cli.app import hf_count, main

__all__ = ["hf_count", "main"]
