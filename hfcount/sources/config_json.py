"""Reading a config.json: bytes to a dict, with an error that says what is wrong with the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hfcount.errors import BadInput

MAX_DEPTH = 64
"""Published configs nest at most 4 deep; copying and checking what is nested very deeply would exhaust the stack."""

MAX_CONFIG_BYTES = 16 * 1024 * 1024
"""A published config.json has some kB; one that is larger than this is something else."""


def read_config_file(path: Path) -> dict[str, Any]:
    """The config in the file `path`, as `json.loads` gives it.

    Raises BadInput if the file cannot be read, is too large, or is no JSON object.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise BadInput(f"{path}: not a file, but a pipe or a device")
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise BadInput(f"{path}: larger than {MAX_CONFIG_BYTES // 2**20} MiB, which no config.json is")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from error
    return parse_config(data, where=str(path))


def parse_config(data: bytes, *, where: str) -> dict[str, Any]:
    """The JSON object in `data`; `where` names the file in the errors (BadInput)."""
    if not data.strip():
        raise BadInput(f"{where}: the file is empty; a model's config.json is a JSON object")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8 JSON") from error
    try:
        config = json.loads(text, object_hook=_special_float)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"{where}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        ) from error
    except RecursionError as error:
        raise BadInput(f"{where}: JSON nested too deeply for a config.json") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise BadInput(f"{where}: not usable JSON ({str(error).split(';')[0]})") from error
    if not isinstance(config, dict):
        raise BadInput(f"{where}: holds a JSON {_JSON_NAMES[type(config)]}, but a config.json is an object")
    if _deeper_than(config, MAX_DEPTH):
        raise BadInput(f"{where}: JSON nested too deeply for a config.json")
    return config


_SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def _special_float(found: dict[str, Any]) -> Any:
    """A number that JSON lacks, as transformers writes it ({"__float__": "Infinity"}); else the object itself."""
    tag = found.get("__float__")
    return _SPECIAL[tag] if len(found) == 1 and isinstance(tag, str) and tag in _SPECIAL else found


_JSON_NAMES = {list: "list", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def _deeper_than(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested more than `depth` deep in `value`."""
    level = [value]
    for _ in range(depth):
        level = [inner for each in level for inner in _members(each)]
    return any(isinstance(each, (dict, list)) for each in level)


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
