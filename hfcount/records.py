"""What was found out about a model once, so that it need not be built again.

A record holds the answers that took a model to build, by question: JSON values, in one file per model. Records of the
bundled cards come with the package; those of other models are kept in this machine's cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfcount.formulas.catalogue import cache_root, installed
from hfcount.sources.source import Source

PACKAGED = Path(__file__).parent / "records_data"
SCHEMA = 1
PACKAGES = ("hfcount", "transformers", "torch", "peft", "accelerate", "bitsandbytes")
"""What decides an answer besides the model."""

MOST_FILES = 500
"""Files in the cache; the ones that were written longest ago go."""


class Record:
    """The answers about one model, each found when it is first asked for.

    Attributes:
        answers: JSON values by question.
    """

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})

    def answer(self, question: str, find: Callable[[], Any]) -> Any:
        """Return the answer to a question; `find` gives it where it is not known."""
        if question not in self.answers:
            self.answers[question] = json.loads(_text(find()))  # the same whether it was read or found
        return self.answers[question]


def key_of(value: Any) -> str:
    """Return a value of a plan as a part of a question: a record by its fields that are not at their defaults.

    So a field that hfcount learns later leaves the questions that do not ask for it as they are.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return repr(value)
    fields = ((each, getattr(value, each.name)) for each in dataclasses.fields(value))
    given = ", ".join(f"{each.name}={key_of(found)}" for each, found in fields if found != _default(each))
    return f"({given})"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@contextlib.contextmanager
def kept(source: Source, settings: Sequence[str], class_name: str | None = None) -> Iterator[Record]:
    """Return the record of a model as a context; what it has learned by the end goes into the cache.

    A cache that cannot be written is none.
    """
    model = [source.model, source.config, list(settings), class_name]
    path = cache_root() / "records" / f"{_digest([model, _versions(), _code()])}.json.gz"
    packaged = packaged_answers(source) if not settings and class_name is None else {}
    record = Record({**packaged, **_document(path).get("answers", {})})
    before = len(record.answers)
    try:
        yield record
    finally:
        if len(record.answers) > before:
            with contextlib.suppress(OSError):
                write(path, source.model, record)
                _prune(path.parent)


def packaged_path(source: Source) -> Path:
    """Return the file of the package for a card as it is published."""
    return PACKAGED / f"{_digest([source.model, source.config])}.json.gz"


def write(path: Path, model: str, record: Record) -> None:
    """Write a record, whole or not at all. Raises OSError."""
    document = {"schema": SCHEMA, "model": model, "versions": _versions(), "answers": record.answers}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(gzip.compress(_text(document).encode(), mtime=0))
    partial.replace(path)


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def packaged_answers(source: Source) -> Mapping[str, Any]:
    """Return the answers that the package has for a card, where they are of the versions that are installed here."""
    document = _document(packaged_path(source))
    found: Mapping[str, Any] = document.get("answers", {}) if document.get("versions") == _versions() else {}
    return found


def _document(path: Path) -> Mapping[str, Any]:
    """The document in a file; an empty one where there is none, or it was cut."""
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, RecursionError):
        return {}
    sound = isinstance(document, dict) and document.get("schema") == SCHEMA
    return document if sound and isinstance(document.get("answers"), dict) else {}


def _versions() -> dict[str, str | None]:
    """The versions, without the build: torch's CPU and CUDA builds have the same operators."""
    return {each: (installed(each) or "").partition("+")[0] or None for each in PACKAGES}


def _code() -> list[list[Any]]:
    """What tells one state of hfcount's own files from another."""
    package = Path(__file__).parent
    files = sorted(package.rglob("*.py"))
    return [[str(each.relative_to(package)), (at := each.stat()).st_size, at.st_mtime_ns] for each in files]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _prune(folder: Path) -> None:
    files = sorted(folder.glob("*.json.gz"), key=lambda each: each.stat().st_mtime)
    for each in files[:-MOST_FILES]:
        each.unlink(missing_ok=True)
