"""Checkpoints of torch.save, read without running them: the zip files of today, and the plain pickles before 1.6.

Of a zip only the directory and `data.pkl` are read; of the old format the pickles at its beginning. What they hold
(`{"state_dict": ...}`, a trainer's state) is searched for the weights. Bytes are those of the file: tensors that are
the same view of one storage (tied ones) are stored once, so the first of them has the bytes and the others none.
"""

from __future__ import annotations

from typing import Any

from hfcount.sources.headers.header import Header, HeaderError, StoredTensor
from hfcount.sources.headers.pickled import Machine, Truncated
from hfcount.sources.headers.readable import Readable
from hfcount.sources.headers.state_dict import Found, weights
from hfcount.sources.headers.torch_names import Storage, storage_of, stub
from hfcount.sources.headers.zip_directory import Archive, ZipEntry

PICKLE_LIMIT = 64_000_000
"""Bytes of a pickle."""
_FIRST_READ = 250_000
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001


def read_torch(file: Readable) -> Header:
    """The header of one file. Raises HeaderError for what is no checkpoint, or would call anything when loaded.

    `metadata["tied"]` has, for every tensor that shares all its bytes with an earlier one, the name of that one.
    """
    start = file.read(0, 4)
    found = _from_zip(file) if start == b"PK\x03\x04" else _from_pickles(file)
    tensors, tied, notes = _stored(found, file.name)
    nbytes = sum(tensor.nbytes for tensor in tensors)
    if nbytes > file.size:
        raise HeaderError(f"{file.name}: has {file.size:,} bytes, its tensors {nbytes:,} (truncated?)")
    return Header(
        format="torch",
        tensors=tensors,
        metadata={"tied": tied} if tied else {},
        files=(file.name,),
        notes=tuple(f"{file.name}: {note}" for note in notes),
    )


def _from_zip(file: Readable) -> Found:
    archive = Archive(file)
    pickles = [entry for name, entry in archive.entries.items() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise HeaderError(f"{file.name}: is a zip archive without a data.pkl, so no checkpoint of torch.save")
    folder = pickles[0].name.removesuffix("data.pkl")
    if f"{folder}constants.pkl" in archive.entries:
        raise HeaderError(f"{file.name}: is a TorchScript program, not a checkpoint; save its state_dict()")
    data = archive.read(pickles[0], PICKLE_LIMIT)

    def storage(identity: Any) -> Storage:
        named = storage_of(identity)
        _check_record(archive.entries.get(f"{folder}data/{named.key}"), named)
        return named

    return weights(Machine(data, file.name, stub, storage).load(), file.name)


def _check_record(entry: ZipEntry | None, storage: Storage) -> None:
    """Holds that the archive has the storage's bytes. Raises ValueError."""
    if entry is None:
        raise ValueError(f"storage {storage.key[:40]!r} is not in the archive")
    if entry.size < storage.nbytes:
        raise ValueError(f"storage {storage.key[:40]!r} has {entry.size:,} of its {storage.nbytes:,} bytes")


def _from_pickles(file: Readable) -> Found:
    """The old format: a magic number, a version, the machine that wrote it, the object; its storages stay unread."""
    size = _FIRST_READ
    while True:
        data = file.read(0, min(size, file.size))
        try:
            return weights(_old_object(data, file.name), file.name)
        except Truncated:
            if size >= min(file.size, PICKLE_LIMIT):
                raise
            size = min(8 * size, PICKLE_LIMIT)


def _old_object(data: bytes, name: str) -> Any:
    if not data.startswith(b"\x80"):
        raise HeaderError(f"{name}: is no checkpoint of torch.save, neither a zip archive nor a pickle")
    machine = Machine(data, name, stub, storage_of)
    first = machine.load()
    if first != _OLD_MAGIC:
        raise HeaderError(f"{name}: is a pickle, but no checkpoint of torch.save")
    if machine.load() != _OLD_PROTOCOL:
        raise HeaderError(f"{name}: is of another version of torch's old format than {_OLD_PROTOCOL}")
    machine.load()
    return machine.load()


def _stored(found: Found, file: str) -> tuple[tuple[StoredTensor, ...], dict[str, str], tuple[str, ...]]:
    """The tensors with the bytes that the file has for each, those that are tied, and notes."""
    notes = list(found.notes)
    first: dict[tuple[Any, ...], str] = {}
    left: dict[str, int] = {}
    tied: dict[str, str] = {}
    tensors = []
    empty = 0
    for name, tensor in found.tensors.items():
        storage, nbytes = tensor.storage, tensor.nbytes
        if storage is None:
            empty += 1
            nbytes = 0
        else:
            view = (storage.key, tensor.offset, tensor.dtype, tensor.elements)
            if nbytes and first.setdefault(view, name) != name:
                tied[name] = first[view]
                nbytes = 0
            rest = left.get(storage.key, storage.nbytes)
            nbytes = min(nbytes, rest)
            left[storage.key] = rest - nbytes
        dtype, shape = tensor.in_safetensors
        tensors.append(StoredTensor(name, dtype, shape, nbytes, file))
    unseen = sum(left.values())
    if tied:
        notes.append(f"tied tensors: {len(tied):,}, stored in the bytes of another, which count once")
    if empty:
        notes.append(f"tensors without data (saved from the meta device): {empty:,}")
    if unseen:
        notes.append(f"{unseen:,} bytes belong to storages of which the tensors show a part only")
    return tuple(tensors), tied, tuple(notes)
