"""The bytes that bitsandbytes stores for one tensor, term by term.

Four bits (Dettmers et al. 2023, arXiv 2305.14314, section 3; bitsandbytes/functional.py, `quantize_4bit`), for a
tensor of n elements in blocks of B (64 unless asked otherwise):

1. Two elements share a byte: ceil(n/2) bytes, filled up to whole elements of the storage dtype.
2. Each block, the last and shorter one too, has its largest magnitude (absmax) in fp32: 4·ceil(n/B) bytes.
3. Double quantization stores each absmax in one byte instead, and the absmax of every 256 of those in fp32:
   ceil(n/B) + 4·ceil(ceil(n/B)/256) bytes, and the mean that was taken off before, 4 bytes.
4. Every quantized tensor carries its code book, 16 values in fp32 (64 bytes), and with double quantization the 256
   values of the 8-bit code too (1,024 bytes): for tiny tensors the larger part.

Per weight and without the tables that is 4 + 32/64 = 4.5 bits, and 4 + 8/64 + 32/(64·256) = 4.127 bits.

LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339, section 3; `int8_vectorwise_quant`) keeps one byte an element and
one fp32 scale for every output: n + 4·outputs. The few columns of outliers are cut out of the activations while a
matrix is multiplied; nothing is stored for them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from hfcount.errors import BadInput

CODE_BOOK_BYTES = 16 * 4
NESTED_CODE_BYTES = 256 * 4
NESTED_BLOCK = 256
FOUR_BIT = ("nf4", "fp4")
KINDS = (*FOUR_BIT, "int8")
BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
STORAGE_BYTES = (1, 2, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scheme:
    """How bitsandbytes is asked to quantize; BadInput for what it does not offer.

    Attributes:
        kind: "nf4", "fp4" or "int8" (LLM.int8()).
        double: whether the statistics of the blocks are quantized as well; for four bits only.
        block: elements that share an absmax.
        storage_bytes: the size of `bnb_4bit_quant_storage`'s elements (1: uint8; 2 is what FSDP wants beside bf16).
    """

    kind: str = "nf4"
    double: bool = False
    block: int = 64
    storage_bytes: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"quantization {self.kind!r}: one of {', '.join(KINDS)}")
        if self.block not in BLOCK_SIZES:
            raise BadInput(f"quantization block of {self.block!r}: one of {', '.join(map(str, BLOCK_SIZES))}")
        if self.storage_bytes not in STORAGE_BYTES:
            raise BadInput(f"quantization storage of {self.storage_bytes!r} bytes: one of 1, 2, 4")
        if self.double and self.kind == "int8":
            raise BadInput("LLM.int8() has no statistics to quantize a second time; double quantization is for 4 bits")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """The bytes of one quantized tensor, or of several added up.

    Attributes:
        packed: the codes of the elements.
        absmax: the statistics of the blocks (int8: of the outputs).
        nested: with double quantization the statistics of the statistics, and their mean.
        tables: the code books.
    """

    packed: int = 0
    absmax: int = 0
    nested: int = 0
    tables: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in dataclasses.fields(self)}
        )

    @property
    def without_tables(self) -> int:
        return self.packed + self.absmax + self.nested

    @property
    def total(self) -> int:
        return self.without_tables + self.tables


def stored(shape: Sequence[int], scheme: Scheme) -> Stored:
    """What bitsandbytes stores for a matrix of `shape` (outputs x inputs, as `nn.Linear` has it), to the byte.

    >>> stored((33, 31), Scheme()).total, stored((33, 31), Scheme(double=True)).total
    (640, 1624)
    """
    elements = math.prod(shape)
    if scheme.kind == "int8":
        return Stored(packed=elements, absmax=4 * shape[0])
    per_item = 2 * scheme.storage_bytes
    packed = _ceil(elements, per_item) * scheme.storage_bytes
    blocks = _ceil(elements, scheme.block)
    if not scheme.double:
        return Stored(packed=packed, absmax=4 * blocks, tables=CODE_BOOK_BYTES)
    nested = 4 * _ceil(blocks, NESTED_BLOCK) + 4
    return Stored(packed=packed, absmax=blocks, nested=nested, tables=CODE_BOOK_BYTES + NESTED_CODE_BYTES)


def _ceil(value: int, divisor: int) -> int:
    return -(-value // divisor)
