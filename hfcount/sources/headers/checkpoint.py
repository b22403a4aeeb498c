"""What a checkpoint holds once packed tensors are unpacked on paper: three columns that are easily confused.

Stored elements (what the file's shapes multiply to), parameters (what they stand for) and bytes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from hfcount.sources.headers.header import Header

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["weight", "scale", "zero", "code", "index", "state", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the model as the checkpoint holds it, in one stored tensor or in several.

    Attributes:
        name: the parameter's (or buffer's) name in the model: "model.layers.0.mlp.up_proj.weight".
        shape: what it stands for, unpacked, as the class would have it; () where that cannot be told.
        parameters: the product of `shape`; 0 for what is no weight of the model.
        stored_elements: of all its stored tensors.
        nbytes: of all its stored tensors.
        dtype: of the elements: "BF16", "nf4", "int4 (gptq)", "Q4_K"; what the file says where nobody knows it.
        role: "weight" for what stands for parameters or buffers; the others are what a packed format adds that could
            not be tied to a weight.
        stored: the names of its tensors in the file.
        exact: whether `parameters` is certain; a finding says so where it is not.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    stored_elements: int
    nbytes: int
    dtype: str
    role: Role = "weight"
    stored: tuple[str, ...] = ()
    exact: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint's table.

    Attributes:
        header: as stored.
        packing: how its weights are packed ("bitsandbytes nf4", "gptq", "fp8 with block scales"); "" where they are
            not.
        entries: a row for each tensor of the model.
        notes: a line each; where a figure is no certainty, what is assumed.
    """

    header: Header
    packing: str = ""
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Elements that the stored tensors stand for, buffers among them: a header does not tell them apart."""
        return sum(entry.parameters for entry in self.entries)

    @property
    def stored_elements(self) -> int:
        return self.header.stored_elements

    @property
    def nbytes(self) -> int:
        return self.header.nbytes

    @property
    def exact(self) -> bool:
        return all(entry.exact for entry in self.entries)

    def to_frame(self) -> pd.DataFrame:
        """A row for each tensor of the model: name, shape, parameters, stored_elements, nbytes, dtype, role, stored,
        exact."""
        import pandas as pd

        columns = [field.name for field in dataclasses.fields(Entry)]
        rows = [[getattr(entry, column) for column in columns] for entry in self.entries]
        return pd.DataFrame(rows, columns=columns)
