"""GPUs and their memory: what the driver's own tool prints as total, from gpus.json, each with where it was read.

A process gets less than that: the driver keeps 0.1 to 0.8 GiB for itself (NVML calls it reserved), a CUDA context
takes some 0.3 to 0.5 GiB, and the allocator loses some to fragments. That is what the headroom is for.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from importlib import resources

from hfcount.budget.recipes import named, near
from hfcount.errors import BadInput

MIB = 2**20
GIB = 2**30
HEADROOM = GIB
"""Bytes of a GPU that are not offered to tensors unless asked otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU, or the device that one is to PyTorch where a board has several.

    Attributes:
        name: as the tables print it, "A100-80GB".
        aliases: what people type, in lower case.
        vendor: who makes it.
        nominal_gb: the memory that it is sold with.
        total_mib: what nvidia-smi, amd-smi or hl-smi prints as its total.
        source: where that was read; datasheet: whose data sheet the nominal size is from.
        bf16: whether it computes in bf16.
        capability: NVIDIA's compute capability, "8.0", as its table of CUDA GPUs has it; "" for other vendors.
    """

    name: str
    aliases: tuple[str, ...]
    vendor: str
    nominal_gb: int
    total_mib: int
    source: str
    datasheet: str
    bf16: bool
    capability: str = ""

    @property
    def total_bytes(self) -> int:
        return self.total_mib * MIB


@functools.cache
def gpus() -> tuple[Gpu, ...]:
    """All that are known, the smallest first."""
    raw = json.loads(resources.files("hfcount.budget").joinpath("gpus.json").read_text(encoding="utf-8"))
    known = (Gpu(**{**each, "aliases": tuple(each["aliases"])}) for each in raw)
    return tuple(sorted(known, key=lambda each: (each.total_mib, each.name)))


def gpu(name: str) -> Gpu:
    """The GPU called `name`, in any case and with blanks or hyphens; BadInput with the near names where there is none.

    >>> gpu("RTX 4090").total_mib
    24564
    """
    by_alias = {alias: each for each in gpus() for alias in (each.name.lower(), *each.aliases)}
    asked = re.sub(r"[\s_]+", "-", name.strip().lower())
    if asked not in by_alias and not near(asked, by_alias):
        raise BadInput(f"GPU {name!r} is not known: one of {', '.join(each.name for each in gpus())}")
    return by_alias[named(asked, by_alias, "GPU")]


def headroom_bytes(text: str | None, total: int) -> int:
    """The headroom asked for: "1.5GiB", "800MiB", "5%" of `total` bytes; 1 GiB where none is given.

    >>> headroom_bytes("5%", 100 * GIB) == 5 * GIB
    True
    """
    if text is None:
        return HEADROOM
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|GiB|MiB|GB|MB)\s*", text, re.IGNORECASE)
    if match is None:
        raise BadInput(f"--headroom {text!r}: give a size or a share, as in 1.5GiB, 800MiB or 5%")
    amount, unit = float(match[1]), match[2].lower()
    units = {"%": total / 100, "gib": GIB, "mib": MIB, "gb": 10**9, "mb": 10**6}
    found = round(amount * units[unit])
    if found >= total:
        raise BadInput(f"--headroom {text!r} leaves nothing of {total / GIB:.2f} GiB")
    return found
