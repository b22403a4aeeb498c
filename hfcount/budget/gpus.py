"""GPUs and their memory: what the driver's own tool prints as total, from gpus.json, each with where it was read.

Tensors get less than that: the driver keeps 0.1 to 0.8 GiB for itself (NVML calls it reserved), a CUDA context takes
0.1 to 0.6 GiB, and the allocator holds more than the tensors have. `reserve_bytes` gives the range.
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
CONTEXT = (240 * MIB, 1400 * MIB)
"""What the driver and a CUDA context take of a card: from the least driver's share (0.1 GiB) and a T4's context (140
MiB, measured in 59 training runs) to the largest driver's share (0.8 GiB) and a large card's context (0.6 GiB)."""

ALLOCATOR = (0.04, 0.35)
"""What torch's caching allocator holds beyond the tensors' peak, as a share of it: 59 training runs on a T4 had 4 % at
least, nine of ten of them up to 35 %, one 49 %. It gives back what it can before it fails."""


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
        count: how many of them there are: memory is that of each.
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
    count: int = 1

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
    """Return the GPU called `name`, in any case and with blanks or hyphens.

    "24GB" or "24G" is a card sold with so much, "24GiB" one that has exactly that; "auto" is the first GPU of this
    machine; "2x4090" are two of them. Raises BadInput with the near names where there is none.

    >>> gpu("RTX 4090").total_mib
    24564
    """
    if several := re.fullmatch(r"([1-9]\d{0,4}) ?[x×] ?(\S.*)", name.strip(), re.IGNORECASE):
        one, count = gpu(several[2]), int(several[1])
        return one if count == 1 else dataclasses.replace(one, name=f"{count}x{one.name}", count=count)
    by_alias = {alias: each for each in gpus() for alias in (each.name.lower(), *each.aliases)}
    asked = re.sub(r"[\s_]+", "-", name.strip().lower())
    if asked == "auto":
        return _of_this_machine()
    if size := re.fullmatch(r"(\d{1,4})-?(gb?|gib)", asked):
        return _of_a_size(int(size[1]), size[2])
    if asked not in by_alias and not near(asked, by_alias):
        raise BadInput(f"GPU {name!r} is not known: `hfcount list gpus` has all names; a size works too, as in 24GB")
    return by_alias[named(asked, by_alias, "GPU")]


def _of_a_size(amount: int, unit: str) -> Gpu:
    """Return a card of so many GiB; of so many GB the smallest total that a card sold with them prints."""
    if unit == "gib":
        total, source = amount * 1024, "as asked"
    else:
        sold = [each for each in gpus() if each.nominal_gb == amount and each.vendor == "NVIDIA"]
        total = min((each.total_mib for each in sold), default=amount * 10**9 // MIB)
        source = (
            f"as {sold[0].name}, the least of the cards sold with {amount} GB" if sold else f"{amount} * 10^9 bytes"
        )
    return Gpu(
        name=f"{amount}{'GiB' if unit == 'gib' else 'GB'}", aliases=(), vendor="", nominal_gb=amount, total_mib=total,
        source=source, datasheet="", bf16=True,
    )  # fmt: skip


def _of_this_machine() -> Gpu:
    import torch

    if not torch.cuda.is_available():
        raise BadInput("--gpu auto: torch sees no GPU in this machine; give a name, or a size, as in 24GB")
    found = torch.cuda.get_device_properties(0)
    return Gpu(
        name=found.name, aliases=(), vendor="NVIDIA", nominal_gb=round(found.total_memory / GIB),
        total_mib=found.total_memory // MIB, source="torch.cuda.get_device_properties", datasheet="",
        bf16=torch.cuda.is_bf16_supported(), capability=f"{found.major}.{found.minor}",
    )  # fmt: skip


def reserve_bytes(headroom: str | None, total: int, peak: int) -> tuple[int, int]:
    """Return what is not the tensors' on a card of `total` bytes whose tensors take `peak`: the least and the most.

    A headroom that is asked for ("1.5GiB", "800MiB", "5%" of the card) stands for all of it.

    >>> reserve_bytes("5%", 100 * GIB, 0) == (5 * GIB, 5 * GIB)
    True
    """
    if headroom is None:
        least, most = (context + round(share * peak) for context, share in zip(CONTEXT, ALLOCATOR, strict=True))
        return least, most
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|GiB|MiB|GB|MB)\s*", headroom, re.IGNORECASE)
    if match is None:
        raise BadInput(f"--headroom {headroom!r}: give a size or a share, as in 1.5GiB, 800MiB or 5%")
    amount, unit = float(match[1]), match[2].lower()
    units = {"%": total / 100, "gib": GIB, "mib": MIB, "gb": 10**9, "mb": 10**6}
    found = round(amount * units[unit])
    if found >= total:
        raise BadInput(f"--headroom {headroom!r} leaves nothing of {total / GIB:.2f} GiB")
    return found, found
