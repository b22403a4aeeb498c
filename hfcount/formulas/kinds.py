"""What a config class refuses in a config.json, known without the class.

transformers' config classes check the type of every field that they declare (`huggingface_hub.dataclasses.strict`), so
a config.json with 8.5 heads or a null boolean makes no model. A form keeps these kinds as text ("int|null",
"list[str]") and refuses what its class refuses. `refusal` and `fits` import nothing and use nothing but each other,
because the Python function of a form carries their source. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANY = "any"
"""The kind of a field that takes every value."""


def refusal(given: Mapping[str, Any], kinds: Mapping[str, str], prefix: str = "") -> str | None:
    """Name the first condition that a value in `given`, or in a config inside it, breaks; None for none.

    `kinds` maps dotted fields to kinds. Besides them: `id2label` numbers its labels, `num_labels` counts them, `dtype`
    names a floating type of torch, rotary embeddings have the keys that their type needs (transformers'
    `validate_rope`), no layer has sizes of its own, and no backbone is named whose fields are elsewhere.

    >>> refusal({"n_head": 8.5}, {"n_head": "int|null"})
    'n_head is int or null'
    """
    for name, value in given.items():
        path = f"{prefix}{name}"
        if path in kinds and not fits(value, kinds[path]):
            return f"{path} is {in_words(kinds[path])}"
        if name == "id2label" and value is not None:
            if not isinstance(value, dict) or not all(str(key).strip().lstrip("-").isdecimal() for key in value):
                return f"{path} maps numbers to labels"
        elif name == "num_labels" and type(value) is not int:
            return f"{path} is int"
        elif value and (name == "per_layer_config" or (name == "backbone" and not given.get("backbone_config"))):
            return f"{path} is not given"
        elif name in ("dtype", "torch_dtype") and value not in (None, "float64", "float32", "float16", "bfloat16"):
            return f"{path} names a floating type of torch"
        elif name in ("rope_parameters", "rope_scaling") and value is not None and not turns(value):
            return f"{path} has a known rope_type and the keys that it needs"
        elif isinstance(value, dict) and (inner := refusal(value, kinds, f"{path}.")) is not None:
            return inner
    return None


def in_words(kind: str) -> str:
    """Return a kind as a condition names it: "int or null"."""
    return kind.replace("|", " or ")


def turns(rope: Any) -> bool:
    """Say whether rotary embeddings can be made of a `rope_parameters`, or of its part per layer type.

    Follows transformers' modeling_rope_utils: the keys that each type needs; the others have defaults.
    """
    needed = {
        "default": (), "proportional": (), "linear": ("factor",), "dynamic": ("factor",), "yarn": ("factor",),
        "longrope": ("short_factor", "long_factor"), "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    }  # fmt: skip
    if not isinstance(rope, dict):
        return False
    if rope and all(part is None or isinstance(part, dict) for part in rope.values()):
        return all(part is None or turns(part) for part in rope.values())
    kind = rope.get("rope_type", rope.get("type", "default"))
    return isinstance(kind, str) and kind in needed and all(rope.get(key) is not None for key in needed[kind])


def fits(value: Any, kind: str) -> bool:
    """Say whether a field of this kind takes the JSON `value`.

    >>> fits(8, "int|null"), fits(8.5, "int|null"), fits(True, "int"), fits(["a", 1], "list[str]|null")
    (True, False, False, False)
    """
    simple = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict, "null": type(None)}
    depth = 0
    for place, sign in enumerate(kind):
        depth += (sign == "[") - (sign == "]")
        if sign == "|" and depth == 0:
            return fits(value, kind[:place]) or fits(value, kind[place + 1 :])
    if kind.startswith("list["):
        return type(value) is list and all(fits(each, kind[5:-1]) for each in value)
    return type(value) is simple[kind] if kind in simple else kind == "any" or repr(value) == kind
