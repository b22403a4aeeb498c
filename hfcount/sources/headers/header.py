"""What the header of a checkpoint tells: names, element types, shapes and bytes of its tensors, and never a value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from hfcount.errors import HfcountError

HeaderFormat = Literal["safetensors", "gguf", "torch"]


class HeaderError(HfcountError):
    """A header that cannot be believed: malformed, beyond a limit, or one that would run code; the text says which."""


@dataclasses.dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as a file stores it.

    Attributes:
        name: its key in the file.
        dtype: as the format names it: "BF16" (safetensors; torch checkpoints in the same words), "Q4_K" (GGUF).
        shape: the sizes in the order of torch; of a packed tensor those of what is stored, not what it stands for.
        nbytes: bytes of its data in the file.
        file: the file's name within the repository.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file: str = ""

    @property
    def elements(self) -> int:
        """Stored elements: the product of the sizes."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """The headers of a checkpoint's files, joined.

    Attributes:
        format: of the files.
        tensors: in the order of the files; a name is there once.
        metadata: what the files say beside the tensors: safetensors' `__metadata__`, GGUF's key-value pairs.
        files: the names of the files read, in order.
        index: the `metadata` of the index file (`total_size`, `total_parameters`); {} without one.
        notes: what a reader should know, a line each: a shard that is missing, a dtype that nobody knows.
    """

    format: HeaderFormat
    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: tuple[str, ...] = ()
    index: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def stored_elements(self) -> int:
        """The elements in the file, packed ones as they are packed: what the Hub's sidebar sums up."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors' data."""
        return sum(tensor.nbytes for tensor in self.tensors)
