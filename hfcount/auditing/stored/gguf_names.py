"""Where GGUF's tensors land: llama.cpp has names of its own, and keeps an expert's gate and up matrices apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from hfcount.auditing.stored.loading import Landing
from hfcount.sources.headers.header import Header
from hfcount.sources.headers.packed.gguf import model_names


def gguf_landings(header: Header, built: Collection[str]) -> dict[str, Landing]:
    """Stored name to landing, for those of `header` that the `gguf` package's table knows; `built` as in `landings`.

    Routed experts are stacked in both, but transformers fuses gate and up: two stored tensors become one.
    """
    pieces = {piece: name for name in sorted(built) for piece in _pieces(name) if piece not in built}
    found = model_names(header, [*sorted(built), *pieces])
    return {
        stored: Landing(stored, pieces.get(name, name), (pieces.get(name, name),), converted=name in pieces)
        for stored, name in found.items()
    }


def _pieces(name: str) -> Iterator[str]:
    """The names, as the table would have them, of what a parameter of stacked experts is made of: `gate_up_proj` has
    no `.weight`, and its bias is `gate_up_proj_bias`."""
    path, _, leaf = name.rpartition(".")
    if not path.endswith("experts") or leaf in ("weight", "bias"):
        return
    kind = "bias" if leaf.endswith("_bias") else "weight"
    module = leaf.removesuffix("_bias")
    for each in ("gate_proj", "up_proj") if module == "gate_up_proj" else (module,):
        yield f"{path}.{each}.{kind}"
