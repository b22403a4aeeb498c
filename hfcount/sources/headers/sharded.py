"""A checkpoint in several files, joined through its index: `model.safetensors.index.json` and the like.

The index says which file has which tensor (`weight_map`) and what they add up to (`metadata.total_size`, and of late
`total_parameters`). The files' own headers are what is believed; where the index says otherwise, a note does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hfcount.deadline import in_time
from hfcount.sources.headers.header import Header, HeaderError, StoredTensor
from hfcount.sources.headers.json_text import JsonText, shortened
from hfcount.sources.headers.readable import Readable

INDEX_LIMIT = 100_000_000
"""Bytes of an index file."""
INDEX_METADATA_LIMIT = 1_000_000
"""Bytes of any of its values other than `weight_map`."""
_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """What an index file says.

    Attributes:
        name: of the file.
        metadata: `total_size` and `total_parameters` among others; {} where it has none.
        weight_map: the file of every tensor.
    """

    name: str
    metadata: Mapping[str, Any]
    weight_map: Mapping[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """The files it names, each once, in order of their names."""
        return tuple(sorted(set(self.weight_map.values())))


def read_index(file: Readable) -> Index:
    """The index. Raises HeaderError for one that is malformed or has more than INDEX_LIMIT bytes."""
    if file.size > INDEX_LIMIT:
        raise HeaderError(f"{file.name}: has {file.size:,} bytes; of an index at most {INDEX_LIMIT:,} are read")
    data = file.read(0, file.size)
    if len(data) < file.size:
        raise HeaderError(f"{file.name}: ends at byte {len(data):,} of {file.size:,} (truncated?)")
    text = JsonText(data, file.name)
    metadata: Any = {}
    weight_map: dict[str, str] | None = None
    for key in text.members():
        if key == "weight_map":
            weight_map = _weight_map(text)
        elif key == "metadata":
            metadata = text.value(INDEX_METADATA_LIMIT)
        else:
            text.value(INDEX_METADATA_LIMIT)
    text.end()
    if weight_map is None:
        raise HeaderError(f"{file.name}: has no weight_map, so it is no index of a checkpoint")
    return Index(name=file.name, metadata=metadata if isinstance(metadata, dict) else {}, weight_map=weight_map)


def _weight_map(text: JsonText) -> dict[str, str]:
    files: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in text.members():
        file = text.string()
        found[name] = files.setdefault(file, file)
    return found


def join(headers: Sequence[Header], index: Index | None = None, missing: Iterable[str] = ()) -> Header:
    """One header of the headers of a checkpoint's files.

    A tensor that is in two files counts once: as the file has it that the index names, else the first. `missing` are
    the files that the index names and that are not there. What is amiss is a note, not an error, since what is there
    can still be counted.
    """
    weight_map = index.weight_map if index is not None else {}
    tensors: dict[str, StoredTensor] = {}
    twice: list[StoredTensor] = []
    for tensor in in_time(tensor for header in headers for tensor in header.tensors):
        held = tensors.get(tensor.name)
        if held is None:
            tensors[tensor.name] = tensor
        elif weight_map.get(tensor.name) == tensor.file:
            tensors[tensor.name] = tensor
            twice.append(held)
        else:
            twice.append(tensor)
    notes = [note for header in headers for note in header.notes]
    gone = dict.fromkeys(missing)
    if gone:
        lost = sum(file in gone for file in weight_map.values())
        notes.append(f"{_listed(list(gone), 'file')} not there" + (f", and {lost:,} tensors with it" if lost else ""))
    if index is not None:
        notes += _against_index(index, tensors, set(gone))
    if twice:
        nbytes = sum(tensor.nbytes for tensor in twice)
        names = _listed([tensor.name for tensor in twice], "tensor")
        notes.append(f"{names} in two files and counted once; the other copies take {nbytes:,} bytes")
    return Header(
        format=headers[0].format if headers else "safetensors",
        tensors=tuple(tensors.values()),
        metadata=_joined_metadata(headers),
        files=tuple(file for header in headers for file in header.files),
        index=dict(index.metadata) if index is not None else {},
        notes=tuple(notes),
    )


def _against_index(index: Index, tensors: Mapping[str, StoredTensor], gone: set[str]) -> list[str]:
    """A line for each way in which the index and the files that are there differ."""
    absent = [name for name, file in index.weight_map.items() if name not in tensors and file not in gone]
    unlisted = [name for name in tensors if name not in index.weight_map]
    moved = [name for name, tensor in tensors.items() if index.weight_map.get(name, tensor.file) != tensor.file]
    notes = []
    if absent:
        notes.append(f"{index.name}: {_listed(absent, 'tensor')} in the index and in no file")
    if unlisted:
        notes.append(f"{index.name}: {_listed(unlisted, 'tensor')} in the files and not in the index")
    if moved:
        notes.append(f"{index.name}: {_listed(moved, 'tensor')} in another file than the index says")
    return notes


def _listed(names: Sequence[str], what: str) -> str:
    """ "3 tensors ('a', 'b', 'c') are", the first few by name."""
    shown = ", ".join(shortened(name) for name in names[:_SHOWN])
    if len(names) == 1:
        return f"1 {what} ({shown}) is"
    return f"{len(names):,} {what}s ({shown}{', ...' if len(names) > _SHOWN else ''}) are"


def _joined_metadata(headers: Sequence[Header]) -> dict[str, Any]:
    """What any of the files says; of what two say differently the first. Names of tied tensors are put together."""
    joined: dict[str, Any] = {}
    for header in headers:
        for key, value in header.metadata.items():
            if key == "tied" and isinstance(value, Mapping):
                joined[key] = {**value, **joined.get(key, {})}
            else:
                joined.setdefault(key, value)
    return joined
