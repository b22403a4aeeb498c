"""Checkpoint headers: what a file of weights says of itself, read without a weight."""

from hfcount.sources.headers.checkpoint import Checkpoint, Entry
from hfcount.sources.headers.gguf import read_gguf
from hfcount.sources.headers.header import Header, HeaderError, StoredTensor
from hfcount.sources.headers.readable import InMemory, LocalFile, Readable
from hfcount.sources.headers.reading import read_checkpoint_files, read_header
from hfcount.sources.headers.safetensors import read_safetensors
from hfcount.sources.headers.torch_zip import read_torch

__all__ = [
    "Checkpoint",
    "Entry",
    "Header",
    "HeaderError",
    "InMemory",
    "LocalFile",
    "Readable",
    "StoredTensor",
    "read_checkpoint_files",
    "read_gguf",
    "read_header",
    "read_safetensors",
    "read_torch",
]
