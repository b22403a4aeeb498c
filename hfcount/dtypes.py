"""The exact bits of every element type that checkpoints name, without torch.

One set of names for all formats: those of safetensors (the enum `Dtype` of its Rust crate, 0.8), and where it has none
torch's own name ("C32" and "C128" are named after its "C64"). GGUF's quantized types have a table of blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

SAFETENSORS_BITS: Mapping[str, int] = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}

TORCH_NAMES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex32": "C32",
    "complex64": "C64",
    "complex128": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float4_e2m1fn_x2": "float4_e2m1fn_x2",
    "qint8": "qint8",
    "quint8": "quint8",
    "qint32": "qint32",
    "quint4x2": "quint4x2",
    "quint2x4": "quint2x4",
    "bits8": "bits8",
    "bits16": "bits16",
    "bits1x8": "bits1x8",
    "bits2x4": "bits2x4",
    "bits4x2": "bits4x2",
    **{f"{sign}int{width}": f"{sign}int{width}" for sign in ("", "u") for width in range(1, 8)},
}
"""torch's dtypes in the words of safetensors; those that it does not have keep their name."""

_TORCH_ONLY_BITS: Mapping[str, int] = {
    "C32": 32,
    "C128": 128,
    "qint32": 32,
    "bits16": 16,
    "quint4x2": 4,  # two elements a byte, and `numel` counts elements
    "quint2x4": 2,
}

TORCH_STORAGES: Mapping[str, str] = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "U8",
}
"""The element type of torch's storage classes; an untyped storage is counted in bytes."""

BITS: Mapping[str, int] = {
    **dict.fromkeys(TORCH_NAMES.values(), 8),  # torch stores what is narrower than a byte in a whole one
    **_TORCH_ONLY_BITS,
    **SAFETENSORS_BITS,
}


@dataclasses.dataclass(frozen=True, slots=True)
class BlockType:
    """An element type of GGUF: `block` elements of a row are stored in `nbytes` bytes (ggml.h, `enum ggml_type`)."""

    name: str
    block: int
    nbytes: int

    @property
    def bits(self) -> float:
        """Bits an element, its share of the scales included."""
        return 8 * self.nbytes / self.block


GGUF_TYPES: Mapping[int, BlockType] = {
    number: BlockType(*row)
    for number, row in {
        0: ("F32", 1, 4),
        1: ("F16", 1, 2),
        2: ("Q4_0", 32, 18),
        3: ("Q4_1", 32, 20),
        6: ("Q5_0", 32, 22),
        7: ("Q5_1", 32, 24),
        8: ("Q8_0", 32, 34),
        9: ("Q8_1", 32, 40),
        10: ("Q2_K", 256, 84),
        11: ("Q3_K", 256, 110),
        12: ("Q4_K", 256, 144),
        13: ("Q5_K", 256, 176),
        14: ("Q6_K", 256, 210),
        15: ("Q8_K", 256, 292),
        16: ("IQ2_XXS", 256, 66),
        17: ("IQ2_XS", 256, 74),
        18: ("IQ3_XXS", 256, 98),
        19: ("IQ1_S", 256, 50),
        20: ("IQ4_NL", 32, 18),
        21: ("IQ3_S", 256, 110),
        22: ("IQ2_S", 256, 82),
        23: ("IQ4_XS", 256, 136),
        24: ("I8", 1, 1),
        25: ("I16", 1, 2),
        26: ("I32", 1, 4),
        27: ("I64", 1, 8),
        28: ("F64", 1, 8),
        29: ("IQ1_M", 256, 56),
        30: ("BF16", 1, 2),
        31: ("Q4_0_4_4", 32, 18),  # 31 to 33: Q4_0 in the order of ARM's instructions; files of 2024 have them,
        32: ("Q4_0_4_8", 32, 18),  # later llama.cpp does not write them
        33: ("Q4_0_8_8", 32, 18),
        34: ("TQ1_0", 256, 54),
        35: ("TQ2_0", 256, 66),
        39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36),
        41: ("Q1_0", 128, 18),
    }.items()
}
"""GGUF's types by their number in the file; what is not here was removed before GGUF, or came after this table."""

GGUF_BY_NAME: Mapping[str, BlockType] = {kind.name: kind for kind in GGUF_TYPES.values()}


def bits(dtype: str) -> int | None:
    """Bits of an element of that type, None where nobody knows it.

    >>> bits("BF16"), bits("F6_E2M3"), bits("F3")
    (16, 6, None)
    """
    return BITS.get(dtype)


def torch_name(dtype: str) -> str | None:
    """torch's dtype ("float16", "torch.float16") in the words of safetensors, None where torch has none such."""
    return TORCH_NAMES.get(dtype.removeprefix("torch."))
