"""Checkpoint headers: what a file of weights says of itself, read without a weight."""

from hfcount.sources.headers.checkpoint import Checkpoint, Entry
from hfcount.sources.headers.header import Header, HeaderError, StoredTensor
from hfcount.sources.headers.readable import InMemory, LocalFile, Readable

__all__ = ["Checkpoint", "Entry", "Header", "HeaderError", "InMemory", "LocalFile", "Readable", "StoredTensor"]
