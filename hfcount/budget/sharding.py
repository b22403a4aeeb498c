"""How the buckets divide over devices.

ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 5) shards the optimizer's state with the fp32 master copy
(stage 1), the gradients too (stage 2), the parameters too (stage 3); FSDP's full sharding is stage 3. Activations
are each device's own: the batch is a device's. What a layer gathers for its turn is not in the buckets.
"""

from __future__ import annotations

from hfcount.budget.recipes import named
from hfcount.errors import BadInput

SHARDED: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "zero1": frozenset({"optimizer", "master"}),
    "zero2": frozenset({"optimizer", "master", "gradients"}),
    "zero3": frozenset({"optimizer", "master", "gradients", "weights"}),
    "fsdp": frozenset({"optimizer", "master", "gradients", "weights"}),
}


def check_sharding(sharding: str, devices: int) -> None:
    """Raise BadInput for an unknown way, or a number of devices that is none."""
    named(sharding, SHARDED, "sharding")
    if devices < 1:
        raise BadInput(f"--devices {devices}: give a positive number of devices")
    if sharding != "none" and devices < 2:
        raise BadInput(f"--sharding {sharding}: over how many devices? give --devices, 2 or more")


def share(bytes_: int, bucket: str, *, sharding: str, devices: int) -> int:
    """What one of `devices` holds of a bucket's bytes, rounded up to whole bytes.

    >>> share(100, "optimizer", sharding="zero1", devices=8)
    13
    """
    return -(-bytes_ // devices) if bucket in SHARDED[sharding] else bytes_
