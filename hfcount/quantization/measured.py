"""bitsandbytes' own bytes for a shape: a tensor of it is really quantized and what came out is weighed.

On the GPU where there is one, else on the CPU, which bitsandbytes can since 0.46 or so. The values do not matter, only
the shape does, so zeros are quantized. A tensor that is too large for the time or memory it would take is left to the
closed form, which the smaller ones have just confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hfcount.quantization.storage import FOUR_BIT, Scheme, Stored
from hfcount.quiet import quiet_bitsandbytes

MOST_ELEMENTS = {"cpu": 2**22, "cuda": 2**28}


def measured(shape: Sequence[int], scheme: Scheme, device: str) -> Stored | None:
    """What bitsandbytes stores on `device` for a matrix of `shape`; None where it cannot, or it is too large."""
    import torch

    if math.prod(shape) > MOST_ELEMENTS.get(device, 0):
        return None
    try:
        return _weighed(torch.zeros(tuple(shape), dtype=torch.float16, device=device), scheme)
    except (ImportError, RuntimeError, NotImplementedError):
        return None


def device() -> str:
    """Where bitsandbytes would quantize here: "cuda" where torch sees a device, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _weighed(weight: Any, scheme: Scheme) -> Stored:
    import torch

    with quiet_bitsandbytes():
        import bitsandbytes
    if scheme.kind in FOUR_BIT:
        storage = {1: torch.uint8, 2: torch.bfloat16, 4: torch.float32}[scheme.storage_bytes]
        packed, state = bitsandbytes.functional.quantize_4bit(
            weight,
            blocksize=scheme.block,
            compress_statistics=scheme.double,
            quant_type=scheme.kind,
            quant_storage=storage,
        )
        return weigh_state(packed, state)
    # What Int8Params does on its way from the CPU to a device; one that starts on a GPU it would leave as it is.
    codes, scales, _ = bitsandbytes.functional.int8_vectorwise_quant(weight)
    return Stored(packed=codes.nbytes, absmax=scales.nbytes)


def weigh_state(packed: Any, state: Any) -> Stored:
    """The bytes of a 4-bit tensor and its `quant_state`, term by term."""
    nested, tables = 0, state.code.nbytes
    if state.nested:
        nested = state.state2.absmax.nbytes + state.offset.nbytes
        tables += state.state2.code.nbytes
    return Stored(packed=packed.nbytes, absmax=state.absmax.nbytes, nested=nested, tables=tables)
