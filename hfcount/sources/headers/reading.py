"""One header of whatever holds a model's weights: a file of any format, or the files of a folder or repository."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from hfcount.sources.headers.gguf import read_gguf
from hfcount.sources.headers.header import Header, HeaderError
from hfcount.sources.headers.readable import Readable
from hfcount.sources.headers.safetensors import read_safetensors
from hfcount.sources.headers.sharded import Index, join, read_index
from hfcount.sources.headers.torch_zip import read_torch

READERS: Mapping[str, Callable[[Readable], Header]] = {
    ".safetensors": read_safetensors,
    ".gguf": read_gguf,
    ".bin": read_torch,
    ".pt": read_torch,
    ".pth": read_torch,
    ".ckpt": read_torch,
}
"""What reads a file, by its suffix."""

MAGIC: Mapping[bytes, Callable[[Readable], Header]] = {b"GGUF": read_gguf, b"PK\x03\x04": read_torch}
"""What reads a file, by its first four bytes, whatever its suffix says."""

_NO_WEIGHTS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state[\w-]*|[\w.-]*imatrix|mmproj[\w.-]*|[\w.-]*mmproj)\.\w+"
)
"""Files beside the weights: what transformers' Trainer writes, and llama.cpp's statistics and vision projectors."""
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")


def read_header(file: Readable) -> Header:
    """The header of one file, its format told by its first bytes, else by its suffix. Raises HeaderError."""
    reader = MAGIC.get(file.read(0, 4)) or READERS.get(PurePosixPath(file.name).suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise HeaderError(f"{file.name}: is no checkpoint that hfcount reads; name a file that ends in {known}")
    return reader(file)


def read_checkpoint_files(sizes: Mapping[str, int | None], open_file: Callable[[str], Readable]) -> Header | None:
    """The joined header of the checkpoint among the files of a folder or repository; None where there is none.

    `sizes` are the bytes of the files by name, None where they are not known; `open_file` opens one of them. The
    choice, first match wins, is what `from_pretrained` takes, then the like of it: `model.safetensors` or its index;
    `adapter_model.safetensors`; other safetensors; GGUF; `pytorch_model.bin` or its index; `adapter_model.bin`; other
    files of torch.save. Where several of a kind are left, which are separate checkpoints (GGUF in several
    quantizations), the largest is taken and a note names the others. Raises HeaderError, and what `open_file` raises.
    """
    choice = choose(sizes)
    if choice is None:
        return None
    index: Index | None = None
    files: Sequence[str] = choice.files
    if choice.index is not None:
        index = _within(read_index(open_file(choice.index)), choice.index)
        files = index.files
    missing = [name for name in files if name not in sizes] + list(choice.missing)
    headers = [_named(read_header(open_file(name)), name) for name in files if name in sizes]
    if not headers:
        raise HeaderError(f"{choice.index}: none of the {len(missing):,} files that it names is there")
    joined = headers[0] if len(files) == 1 and index is None else join(headers, index, missing)
    return dataclasses.replace(joined, notes=(*choice.notes, *joined.notes)) if choice.notes else joined


def _named(header: Header, name: str) -> Header:
    """The header with its file named as the listing has it, whatever the opened file calls itself."""
    if header.files == (name,):
        return header
    tensors = tuple(dataclasses.replace(tensor, file=name) for tensor in header.tensors)
    return dataclasses.replace(header, tensors=tensors, files=(name,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The files of one checkpoint.

    Attributes:
        files: to read, in order; of a checkpoint with an index what that says.
        index: the index file.
        missing: shards that must be there by the names of the others, and are not.
        notes: what else might have been meant.
    """

    files: tuple[str, ...] = ()
    index: str | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_FIRST = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("adapter_model.safetensors", "adapter_model.safetensors.index.json"),
)
_LAST = (
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ("adapter_model.bin", "adapter_model.bin.index.json"),
)


def choose(sizes: Mapping[str, int | None]) -> Choice | None:
    """Which files are the checkpoint; see `read_checkpoint_files`."""
    for steps in (
        lambda: _known(sizes, _FIRST),
        lambda: _others(sizes, (".safetensors",)),
        lambda: _others(sizes, (".gguf",), folders=True),
        lambda: _known(sizes, _LAST),
        lambda: _others(sizes, (".bin", ".pt", ".pth", ".ckpt")),
    ):
        found = steps()
        if found is not None:
            return found
    return None


def _known(sizes: Mapping[str, int | None], names: Iterable[tuple[str, str]]) -> Choice | None:
    for single, index in names:
        if single in sizes:
            return Choice(files=(single,))
        if index in sizes:
            return Choice(index=index)
    return None


def _others(sizes: Mapping[str, int | None], suffixes: tuple[str, ...], folders: bool = False) -> Choice | None:
    """The largest checkpoint with one of these suffixes: one file, an index, or files numbered as shards."""
    indexes = sorted(name for suffix in suffixes for name in sizes if name.endswith(f"{suffix}.index.json"))
    top = [name for name in indexes if "/" not in name]
    if top:
        return Choice(index=top[0], notes=_left(top[0], top[1:]))
    groups: dict[str, list[str]] = {}
    for name in sizes:
        path = PurePosixPath(name)
        if path.suffix.lower() in suffixes and not _NO_WEIGHTS.fullmatch(path.name) and (folders or "/" not in name):
            shard = _SHARD.fullmatch(name)
            groups.setdefault(f"{shard['stem']}-of-{shard['count']}{shard['suffix']}" if shard else name, []).append(
                name
            )
    if not groups:
        return None
    label = min(groups, key=lambda group: (-sum(sizes[name] or 0 for name in groups[group]), group))
    files = sorted(groups[label])
    return Choice(
        files=tuple(files),
        missing=_missing(files),
        notes=_left(files[0], [group for group in sorted(groups) if group != label]),
    )


def _missing(files: Sequence[str]) -> tuple[str, ...]:
    """The shards that the numbers in the names call for."""
    shard = _SHARD.fullmatch(files[0])
    if shard is None or int(shard["count"]) > 10_000:
        return ()
    numbers = range(1, int(shard["count"]) + 1)
    wanted = (f"{shard['stem']}-{number:05d}-of-{shard['count']}{shard['suffix']}" for number in numbers)
    there = set(files)
    return tuple(name for name in wanted if name not in there)


def _left(taken: str, others: Sequence[str]) -> tuple[str, ...]:
    if not others:
        return ()
    shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
    return (f"{taken} is read; {len(others):,} more such files are there: {shown}",)


def _within(index: Index, path: str) -> Index:
    """The index with its files named from where the listing begins."""
    folder = PurePosixPath(path).parent
    if folder == PurePosixPath("."):
        return index
    return dataclasses.replace(index, weight_map={name: str(folder / file) for name, file in index.weight_map.items()})
