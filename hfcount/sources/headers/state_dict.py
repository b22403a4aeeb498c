"""The weights in what somebody has saved: a state dict, or one inside of `{"model": ..., "optimizer": ...}`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from hfcount.sources.headers.header import HeaderError
from hfcount.sources.headers.json_text import shortened
from hfcount.sources.headers.torch_names import PickledTensor

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "network", "net", "weights", "params")
"""Keys under which training scripts keep the weights, in the order in which they are looked for: Lightning and timm
("state_dict"), torch's tutorials ("model_state_dict"), fairseq, Megatron and detectron2 ("model"), DeepSpeed
("module")."""
DEPTH_LIMIT = 32
"""Dicts and lists inside each other."""
VALUE_LIMIT = 2_000_000
"""Values that are visited: a few bytes of pickle can nest lists that never end."""
NAMES_LIMIT = 100_000_000
"""Characters of all names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Tensors by name, and notes on what was taken and left."""

    tensors: Mapping[str, PickledTensor]
    notes: tuple[str, ...] = ()


def weights(saved: Any, file: str) -> Found:
    """The tensors of the state dict in `saved`, named by their keys, joined by dots where dicts are nested.

    Of a dict that holds no tensor itself, the first entry of WRAPPERS that does is taken, and a note names the
    entries that were left. Raises HeaderError where there is no tensor at all, or too much to look at.
    """
    notes: list[str] = []
    for _ in range(DEPTH_LIMIT):
        key = _wrapper(saved)
        if key is None:
            break
        left = [name for name, value in saved.items() if name != key and isinstance(value, (dict, list, tuple))]
        shown = ", ".join(shortened(str(name), 40) for name in left[:5] if isinstance(name, str))
        notes.append(f"the weights are under {key!r}" + (f"; left aside: {shown}" if shown else ""))
        saved = saved[key]
    tensors: dict[str, PickledTensor] = {}
    characters = 0
    for name, tensor in _walk(saved, file):
        characters += len(name)
        if characters > NAMES_LIMIT:
            raise HeaderError(f"{file}: the names of its tensors have more than {NAMES_LIMIT:,} characters")
        if name in tensors:
            raise HeaderError(f"{file}: has the tensor {shortened(name)} twice")
        tensors[name] = tensor
    if not tensors:
        raise HeaderError(f"{file}: holds no tensor")
    return Found(tensors=tensors, notes=tuple(notes))


def _wrapper(saved: Any) -> str | None:
    """The key under which the weights are, None where they are not under one."""
    if not isinstance(saved, dict) or any(isinstance(value, PickledTensor) for value in saved.values()):
        return None
    return next((key for key in WRAPPERS if isinstance(saved.get(key), dict) and saved[key]), None)


def _walk(saved: Any, file: str) -> Iterator[tuple[str, PickledTensor]]:
    """Every tensor with its name, in order; without recursion, within the limits."""
    visited = 0
    stack: list[tuple[Iterator[tuple[Any, Any]], str]] = [(iter([("", saved)]), "")]
    while stack:
        items, prefix = stack[-1]
        step = next(items, None)
        if step is None:
            stack.pop()
            continue
        visited += 1
        if visited > VALUE_LIMIT:
            raise HeaderError(f"{file}: holds more than {VALUE_LIMIT:,} values")
        key, value = step
        if not isinstance(value, (PickledTensor, dict, list, tuple)):
            continue
        name = f"{prefix}.{_word(key)}" if prefix else _word(key)
        if isinstance(value, PickledTensor):
            yield name, value
        elif value:
            if len(stack) > DEPTH_LIMIT:
                raise HeaderError(f"{file}: is nested more than {DEPTH_LIMIT} deep")
            stack.append((iter(value.items()) if isinstance(value, dict) else enumerate(value), name))


def _word(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return str(key) if isinstance(key, (str, int)) else type(key).__name__
