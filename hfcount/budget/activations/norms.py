"""Which norm a module is: told by its code, since classes of one name differ and classes of many names are one."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

REFERENCES = {
    "rms": (
        "llama.modeling_llama.LlamaRMSNorm",
        "nanochat.modeling_nanochat.NanoChatRMSNorm",
        "hfcount.minigpt.modeling_minigpt.MiniGPTRMSNorm",
        "hfcount.minigpt.modeling_minigpt.MiniGPTUnweightedRMSNorm",
    ),
    "wide rms": ("olmo2.modeling_olmo2.Olmo2RMSNorm",),
    "centred rms": ("gemma.modeling_gemma.GemmaRMSNorm",),
    "plain layer": ("olmo.modeling_olmo.OlmoLayerNorm",),
    "written layer": ("cohere.modeling_cohere.CohereLayerNorm",),
}
"""Classes whose saving rules are written down, in transformers.models unless said otherwise."""


def norm_kind(module: nn.Module) -> str:
    """The kind of a norm: "layer" for torch's LayerNorm, else that of the reference whose code it shares.

    Raises KeyError for another: what a norm keeps depends on where it casts and in which order it multiplies.
    """
    from torch import nn

    if isinstance(module, nn.LayerNorm) and type(module).forward is nn.LayerNorm.forward:
        return "layer"
    kind = _kinds().get(_code(type(module)))  # type: ignore[arg-type]
    if kind is None:
        raise KeyError(type(module).__name__)
    return kind


@functools.cache
def _kinds() -> dict[str, str]:
    """Kinds by code; a class that this version of transformers does not have is left out."""
    kinds = {}
    for kind, paths in REFERENCES.items():
        for path in paths:
            place, _, name = path.rpartition(".")
            place = place if place.startswith("hfcount.") else f"transformers.models.{place}"
            try:
                kinds[_code(getattr(importlib.import_module(place), name))] = kind
            except (ImportError, AttributeError):
                continue
    return kinds


@functools.cache
def _code(norm: type) -> str:
    """What the class computes: its `forward` and `_norm`, and those of the classes it builds on, docstrings aside."""
    classes = [each for each in norm.__mro__ if not each.__module__.startswith(("torch.", "builtins"))]
    return "\n".join(
        _body(vars(each)[name]) for each in classes for name in ("forward", "_norm") if name in vars(each)
    )


def _body(function: object) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))  # type: ignore[arg-type]
    except (OSError, TypeError, SyntaxError):
        return repr(function)  # like no other
    statements = tree.body[0].body  # type: ignore[attr-defined]
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    return "\n".join(ast.unparse(each) for each in statements)
