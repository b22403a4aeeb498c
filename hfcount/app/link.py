"""A state as the query of a URL, and back: a link that opens the page as somebody left it.

Only what differs from the defaults is written. A pasted config goes deflated, since links have to stay short.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import zlib
from urllib.parse import parse_qs, urlencode

from hfcount.app.state import MAX_CONFIG_BYTES, State
from hfcount.errors import BadInput

MAX_LINK = 6000
"""Signs of a query. Browsers take more; servers and chat programs often stop at 8 kB."""

# The names in a link are those of the command line's options; they stay, since links are kept.
_NAMES = {
    "model": "model", "config": "config", "settings": "set", "ranks": "r", "targets": "targets", "batch": "batch",
    "seq": "seq", "precision": "precision", "optimizer": "optimizer", "checkpointing": "checkpointing",
    "double_quant": "double_quant", "gpus": "gpu", "figure": "figure",
}  # fmt: skip


def to_query(state: State) -> str | None:
    """ "?model=...&r=8"; "?" for the page as it opens; None where a pasted config is too long for a link."""
    pairs: list[tuple[str, str]] = []
    for field in dataclasses.fields(State):
        value = getattr(state, field.name)
        if value == field.default or (field.name == "model" and state.config):
            continue
        pairs += [(_NAMES[field.name], each) for each in _written(field.name, state)]
    query = "?" + urlencode(pairs)
    return query if len(query) <= MAX_LINK else None


def _written(name: str, state: State) -> list[str]:
    value = getattr(state, name)
    if name == "config":
        return [_deflated(value)]
    if name == "settings":
        return list(state.setting_lines)
    if name == "gpus":
        return list(value)
    return ["1" if value is True else "0" if value is False else "" if value is None else str(value)]


def from_query(query: str) -> State:
    """The state that a link carries; parameters that are not of this page are left alone. BadInput for a bad one."""
    try:
        found = parse_qs(query.lstrip("?"), max_num_fields=200, keep_blank_values=True)
    except ValueError as error:
        raise BadInput("the link has too many parameters to be one of this page") from error
    values: dict[str, object] = {}
    for name, written in _NAMES.items():
        if written in found:
            values[name] = _read(name, found[written])
    return State(**values)  # type: ignore[arg-type]


def _read(name: str, texts: list[str]) -> object:
    last = texts[-1]
    if name == "settings":
        return "\n".join(texts)
    if name == "gpus":
        return tuple(texts)
    if name == "config":
        return _inflated(last)
    if name in ("batch", "seq"):
        if not (last.isascii() and last.isdigit() and len(last) < 12):
            raise BadInput(f"{name} = {last[:40]!r} in the link: give a whole number")
        return int(last)
    if name in ("checkpointing", "double_quant"):
        return last.lower() in ("1", "true", "yes", "on")
    return last


def _deflated(text: str) -> str:
    with_less_space = text
    with contextlib.suppress(ValueError, RecursionError):  # what is no JSON is complained of there as here
        with_less_space = json.dumps(json.loads(text), separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(with_less_space.encode(), 9)).decode().rstrip("=")


def _inflated(text: str) -> str:
    """What `_deflated` wrote, within the limit on a config, so that no link unpacks to more."""
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        reader = zlib.decompressobj()
        data = reader.decompress(packed, MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES or not reader.eof:
            raise ValueError("too long, or cut off")
        return data.decode()
    except (ValueError, zlib.error) as error:
        raise BadInput("the config in the link cannot be read: was the link cut off?") from error
