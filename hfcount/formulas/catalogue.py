"""The verified forms that come with the package, and those that this machine has found since.

One JSON file per model type, one entry per model class and set of conditions. Reading one needs nothing but the
standard library, so a count from config.json alone takes no torch, no transformers and no pandas.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hfcount.formulas.form import Form, Row, check_form

PACKAGED = Path(__file__).parent / "catalogue_data"
SCHEMA = 1

KEPT = 2048
"""Files whose forms are kept as they are made: more than there are, so that a crawl of all types reads each once. All
of the packaged ones take some 50 MB."""


def find(raw: Mapping[str, Any], model_class: str | None = None) -> Form | None:
    """The form that holds for the config.json `raw`: of `model_class`, else of the class that it names.

    The packaged forms are asked first, then the local cache; None where none holds.
    """
    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        return None
    wanted = model_class or _named_class(raw) or default_class(model_type)
    return next((form for form in forms(model_type) if form.model_class == wanted and form.covers(raw)), None)


def forms(model_type: str) -> Iterator[Form]:
    """All forms that are known of a model type, the packaged ones first."""
    yield from read(PACKAGED / f"{model_type}.json", "catalogue")
    for form in read(cache_folder() / f"{model_type}.json", "cache"):
        if form.versions.get("transformers") == installed("transformers"):
            yield form


@functools.lru_cache(maxsize=KEPT)
def default_class(model_type: str) -> str | None:
    """The class that a config of this type is built as where it names no architecture."""
    found = _document(PACKAGED / f"{model_type}.json").get("default_class")
    return found if isinstance(found, str) else None


def model_types() -> list[str]:
    """The model types that the packaged catalogue has forms of, sorted."""
    return sorted(path.stem for path in PACKAGED.glob("*.json"))


def remember(form: Form) -> Path:
    """Add a verified `form` to the local cache and return its file; OSError where that cannot be written."""
    path = cache_folder() / f"{form.model_type}.json"
    kept = [each for each in read(path, "cache") if _identity(each) != _identity(form)]
    write_forms(path, [*kept, form])
    return path


def write_forms(path: Path, entries: Iterable[Form], *, default: str | None = None) -> None:
    """Write a file of forms, whole or not at all: one row a line, so that a person can read it and a diff is short."""
    document: dict[str, Any] = {"schema": SCHEMA}
    if default is not None:
        document["default_class"] = default
    entries = list(entries)
    shared = dict(entries[0].kinds) if entries else {}
    document["kinds"] = _by_kind(shared)
    head = json.dumps(document, ensure_ascii=False)[:-1]
    body = ",\n".join(_written(form, shared) for form in entries)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(f'{head}, "forms": [\n{body}\n]}}\n', encoding="utf-8")
    partial.replace(path)
    for kept in (_document, read, default_class):
        kept.cache_clear()


def cache_root() -> Path:
    """Where this machine keeps what it found itself; HFCOUNT_CACHE names another place."""
    named = os.environ.get("HFCOUNT_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("hfcount", appauthor=False)


def cache_folder() -> Path:
    """Where this machine keeps the forms that it found itself."""
    return cache_root() / "forms"


@functools.cache
def installed(package: str) -> str | None:
    """The installed version of a package, without importing it; None where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _named_class(raw: Mapping[str, Any]) -> str | None:
    named = raw.get("architectures")
    if isinstance(named, str):
        return named
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None


def _identity(form: Form) -> tuple[object, ...]:
    return form.model_class, frozenset(form.guards), frozenset(form.noticed)


@functools.lru_cache(maxsize=8)
def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = isinstance(document, dict) and document.get("schema") == SCHEMA
    return document if known else {}


@functools.lru_cache(maxsize=KEPT)
def read(path: Path, origin: str = "catalogue") -> tuple[Form, ...]:
    """The forms in a file, made once; none where it is not there or of another schema.

    What is no form, in a file that was cut or that somebody edited, is passed by.
    """
    document = _document(path)
    shared, entries = _by_field(document.get("kinds")), document.get("forms")
    found = (_sound_form(entry, shared, origin) for entry in (entries if isinstance(entries, list) else ()))
    return tuple(form for form in found if form is not None)


def _sound_form(entry: Any, kinds: Mapping[str, str], origin: str) -> Form | None:
    """The form that `entry` stands for; None where it is none. Packaged ones are proven, and not looked at."""
    try:
        form = dataclasses.replace(form_of({"kinds": kinds, **entry}), origin=origin)
        if origin == "cache":
            check_form(form)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    return form


def _by_kind(kinds: Mapping[str, str]) -> dict[str, str]:
    """Field -> kind, as kind -> its fields with blanks between: a third as long."""
    found: dict[str, list[str]] = {}
    for field, kind in kinds.items():
        found.setdefault(kind, []).append(field)
    return {kind: " ".join(fields) for kind, fields in found.items()}


def _by_field(kinds: Any) -> dict[str, str]:
    if not isinstance(kinds, Mapping):
        return {}
    return {field: kind for kind, fields in kinds.items() for field in str(fields).split()}


_ROW_DEFAULTS: dict[str, Any] = {"times": "1", "experts": "0", "chosen": "0", "aliases": (), "persistent": True}


def entry_of(form: Form) -> dict[str, Any]:
    """The form as a JSON object; what a row has as usual is left out."""
    entry = {field.name: getattr(form, field.name) for field in dataclasses.fields(form) if field.name != "origin"}
    entry["rows"] = [_row_entry(row) for row in form.rows]
    entry["buffers"] = None if form.buffers is None else [_row_entry(row) for row in form.buffers]
    return entry


def _row_entry(row: Row) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {key: value for key, value in values.items() if key not in _ROW_DEFAULTS or _ROW_DEFAULTS[key] != value}


def form_of(entry: Mapping[str, Any]) -> Form:
    """The form that a JSON object of `entry_of` stands for."""
    values = dict(entry)
    values["rows"] = tuple(_row_of(row) for row in entry["rows"])
    values["buffers"] = None if entry["buffers"] is None else tuple(_row_of(row) for row in entry["buffers"])
    values["tied_head"] = None if entry["tied_head"] is None else tuple(entry["tied_head"])
    for key in ("guards", "noticed", "buffer_guards"):
        values[key] = tuple(entry.get(key, ()))
    return Form(**values)


def _row_of(entry: Mapping[str, Any]) -> Row:
    values = dict(entry)
    values["shape"] = tuple(entry["shape"])
    values["aliases"] = tuple(entry.get("aliases", ()))
    return Row(**values)


def _written(form: Form, shared: Mapping[str, str]) -> str:
    """Return the entry with a line for each field, row, guard and symbol, without kinds that are `shared`."""
    lines = []
    for key, value in entry_of(form).items():
        if key == "kinds" and value == shared:
            continue
        name = json.dumps(key)
        if isinstance(value, list) and value:
            rows = ",\n".join(f"    {json.dumps(each, ensure_ascii=False)}" for each in value)
            lines.append(f"  {name}: [\n{rows}\n  ]")
        else:
            lines.append(f"  {name}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}"
