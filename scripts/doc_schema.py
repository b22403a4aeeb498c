"""Write docs/reference/schema.json: the JSON Schema of every document that a command prints with `--format json`.

It follows from the types in hfcount/reports/schema.py and of the records that they name. `update_docs.py` runs it.

    python scripts/doc_schema.py
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "schema.json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def text() -> str:
    """Return the schema as the file has it."""
    return json.dumps(published(), indent=2, ensure_ascii=False) + "\n"


def published() -> dict[str, Any]:
    """Return one schema for all documents: `$defs` has each by its command, and any of them is valid."""
    from hfcount.reports import schema

    definitions: dict[str, Any] = {}
    for command, document in schema.DOCUMENTS.items():
        definitions[command] = _record(document, definitions)
    return {
        "$schema": DRAFT,
        "title": "hfcount --format json",
        "description": "What each command prints: $defs has a document by the name of its command.",
        "anyOf": [{"$ref": _pointer(command)} for command in schema.DOCUMENTS],
        "$defs": dict(sorted(definitions.items())),
    }


def _pointer(name: str) -> str:
    return f"#/$defs/{name.replace(' ', '%20')}"


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; TypeError for one that says too little, as Any does."""
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    from hfcount.reports.schema import OneOf

    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return _one_of(inner)
    if origin in (typing.Union, types.UnionType):
        return _either([_schema(each, definitions) for each in inner])
    if origin in (list, Sequence) or (origin is tuple and inner[-1] is ...):
        return {"type": "array", "items": _schema(inner[0], definitions)}
    if origin is tuple:
        each = [_schema(each, definitions) for each in inner]
        return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
    if isinstance(origin, type) and issubclass(origin, Mapping) and inner[0] is str:
        return {"type": "object", "additionalProperties": _schema(inner[1], definitions)}
    if origin is typing.Annotated and isinstance(kind.__metadata__[0], OneOf):
        return _one_of(kind.__metadata__[0].names)
    name = _name(kind)
    if name is None:
        return _record(kind, definitions)
    if name not in definitions:
        definitions[name] = {}  # known from now on, for a record that holds its own kind
        definitions[name] = _record(kind, definitions)
    return {"$ref": _pointer(name)}


def _one_of(values: Iterable[Any]) -> dict[str, Any]:
    """One of `values`, which are of one type."""
    found = list(values)
    [kind] = {type(each) for each in found}
    return {"type": SIMPLE[kind], "enum": found}


def _either(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Any of `schemas`; simple types side by side."""
    if all(set(each) == {"type"} for each in schemas):
        return {"type": [each["type"] for each in schemas]}
    return {"anyOf": schemas}


def _name(kind: Any) -> str | None:
    """What a definition is called; None for a part of a record, which has no name of its own."""
    from hfcount.reports.schema import Record

    if typing.get_origin(kind) is not typing.Annotated:
        return kind.__name__.removesuffix("Document")
    [mark] = kind.__metadata__
    return mark.of.__name__ if isinstance(mark, Record) and not mark.only and not mark.also else None


def _record(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """An object with the keys of a TypedDict, of a dataclass or of what `Annotated` names, and no others."""
    from hfcount.reports.schema import Keys, Record

    optional: frozenset[str] = frozenset()
    about: Any = kind
    if typing.get_origin(kind) is typing.Annotated:
        [mark] = kind.__metadata__
        if isinstance(mark, Keys):
            about, fields, optional = None, {**mark.types, **mark.optional}, frozenset(mark.optional)
        else:
            assert isinstance(mark, Record)
            about, hints = mark.of, _hints(mark.of)
            fields = {mark.renamed.get(name, name): hints[name] for name in mark.only or hints}
            fields |= mark.also
    elif dataclasses.is_dataclass(kind):
        fields = _hints(kind)
    elif typing.is_typeddict(kind):
        fields, optional = _hints(kind), kind.__optional_keys__
    else:
        raise TypeError(f"{kind!r} says too little for a schema")
    return {
        **({"description": _about(about)} if about is not None else {}),
        "type": "object",
        "properties": {name: _schema(each, definitions) for name, each in fields.items()},
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def _hints(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass or a TypedDict with their types, those imported for type checking alone included."""
    from hfcount.reports import schema

    names = {**vars(importlib.import_module("hfcount.quantization")), **vars(schema)}
    hints = typing.get_type_hints(kind, localns=names, include_extras=True)
    if dataclasses.is_dataclass(kind):
        return {each.name: hints[each.name] for each in dataclasses.fields(kind)}
    return hints


def _about(kind: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return re.sub(r"\s+", " ", (inspect.getdoc(kind) or "").split("\n\n")[0])


def main() -> None:
    PAGE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
