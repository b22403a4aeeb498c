"""Four and six bits in bytes, with a scale for every few inputs: what NVFP4, MXFP4 and MXFP6 have in common.

A row of `in` inputs is `in · b / 8` bytes and `in / group` scales, so bytes a scale are `group · b / 8`:

    8    NVFP4: 16 inputs of 4 bits, scales in F8_E4M3 (and one for the whole tensor in F32)
    16   MXFP4: 32 inputs of 4 bits, scales a power of two (OCP Microscaling Formats 1.0, section 5.2)
    24   MXFP6: 32 inputs of 6 bits, four in three bytes

Found under these names: `weight_packed` (compressed-tensors/compressors/nvfp4, mxfp4, mxfp6) or `weight` (NVIDIA
ModelOpt, modelopt/torch/export/quant_utils.py; AMD Quark) beside `weight_scale`; and a byte-wide I8 `NAME` beside
`NAME_scale_inv` or `scale` with powers of two (DeepSeek V4's experts: transformers/integrations/finegrained_fp8.py,
`_alloc_expert_proj` with `weight_k_div` of 2).
"""

from __future__ import annotations

from hfcount.sources.headers.header import StoredTensor
from hfcount.sources.headers.packed.format import EXPONENTS

KINDS = {8: ("nvfp4", 4), 16: ("mxfp4", 4), 24: ("mxfp6", 6)}


def microscaled(codes: StoredTensor, scale: StoredTensor) -> tuple[str, tuple[int, ...]] | None:
    """The kind and the shape, or None where codes and scales do not fit each other so."""
    if codes.dtype not in ("U8", "I8") or len(codes.shape) < 2 or codes.shape[:-1] != scale.shape[:-1]:
        return None
    if not scale.shape[-1] or codes.shape[-1] % scale.shape[-1]:
        return None
    kind, bits = KINDS.get(codes.shape[-1] // scale.shape[-1], ("", 0))
    if not kind or (scale.dtype in EXPONENTS) == (kind == "nvfp4"):
        return None
    return kind, (*codes.shape[:-1], codes.shape[-1] * 8 // bits)
