"""Which tensors autograd keeps for the backward pass: a model's dataflow run on sizes instead of numbers.

An operation saves what its derivative needs (torch/tools/autograd/derivatives.yaml): a matrix product both factors,
an activation its input, a norm its input and statistics, and so on; nothing where nothing behind it trains. Two
operations that save the same storage keep it once, and a parameter's own storage is not counted here at all. The
operations below know these rules; the dataflows in flows/ say which operation follows which. What is summed up is a
closed form: products of the model's sizes and the bytes of an element.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from hfcount.budget.recipes import BYTES

Size = tuple[str, ...]
"""A product of symbols: ("b", "s", "d")."""

WIDTH = {**BYTES, "int64": 8, "int32": 4, "bool": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernels:
    """What the device's kernels keep that depends on the device.

    Attributes:
        name: "cuda" or "cpu".
        mask: type of a dropout mask; None for the type of the values themselves.
        stats: type of a LayerNorm's mean and deviation; None for the wider of values and scale.
        fused_dropout: whether the fused attention takes dropout; the CPU's does not and falls back to plain products.
        wide_autocast: whether autocast's list of what runs in fp32 has powers, softmax and LayerNorm.
        wide_deltas: whether PEFT multiplies 16-bit adapters in fp32 where it adds their product to a weight.
    """

    name: str
    mask: str | None
    stats: str | None
    fused_dropout: bool
    wide_autocast: bool
    wide_deltas: bool


KERNELS = {
    "cuda": Kernels(
        name="cuda",
        mask="bool",
        stats="float32",
        fused_dropout=True,
        wide_autocast=True,
        wide_deltas=False,
    ),
    "cpu": Kernels(
        name="cpu",
        mask=None,
        stats=None,
        fused_dropout=False,
        wide_autocast=False,
        wide_deltas=True,
    ),
}


class Storage:
    """Memory that one or several values look at.

    `own` is a parameter's, which the weights account for; `shared` is kept once, however many layers keep it.
    """

    def __init__(self, size: Size, dtype: str, *, own: bool = False, shared: bool = False):
        self.size, self.dtype, self.own, self.shared = size, dtype, own, shared


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A tensor in the dataflow: its size, type, whether a gradient flows back through it, and its storage.

    `by_heads` says of queries and what is made of them that they lie head after head, not token after token.
    """

    size: Size
    dtype: str
    grad: bool
    storage: Storage
    by_heads: bool = False


class Tape:
    """Collects what is saved, as bytes by product of symbols.

    `autocast` is the type that it computes in, or None. A batch of `one_row` lets some copies be views.
    """

    def __init__(self, kernels: Kernels, autocast: str | None = None, *, one_row: bool = False):
        self.kernels, self.autocast, self.one_row = kernels, autocast, one_row
        self.saved: dict[Storage, None] = {}

    def new(self, size: Size, dtype: str, *, grad: bool) -> Value:
        """A value in fresh memory."""
        return Value(size, dtype, grad, Storage(size, dtype))

    def save(self, *values: Value) -> None:
        """Keep the storages of `values` for the backward pass."""
        for value in values:
            if not value.storage.own:
                self.saved[value.storage] = None

    def terms(self, *, besides: Storage | None = None) -> Terms:
        """What was saved so far, but for what layers share, and `besides`."""
        kept = (storage for storage in self.saved if not storage.shared and storage is not besides)
        return sum((Terms.of(storage.size, WIDTH[storage.dtype]) for storage in kept), Terms())


@dataclasses.dataclass(frozen=True)
class Terms:
    """A sum of products of symbols, each with an integer factor: bytes in closed form."""

    factors: Mapping[Size, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, size: Size, factor: int) -> Terms:
        """`factor` bytes for each element of `size`, whose symbols may carry a number or be a sum: "3d", "h+2k"."""
        for place, symbol in enumerate(size):
            if "+" in symbol:
                parts = (cls.of((*size[:place], each, *size[place + 1 :]), factor) for each in symbol.split("+"))
                return sum(parts, cls())
        symbols = []
        for symbol in size:
            number = symbol.rstrip("abcdefghijklmnopqrstuvwxyzVE_")
            factor *= int(number or 1)
            symbols += [symbol[len(number) :]] if len(number) < len(symbol) else []
        return cls({tuple(sorted(symbols, key=_order)): factor})

    def __add__(self, other: Terms) -> Terms:
        added = dict(self.factors)
        for size, factor in other.factors.items():
            added[size] = added.get(size, 0) + factor
        return Terms({size: factor for size, factor in added.items() if factor})

    def fixed(self, sizes: Mapping[str, int]) -> Terms:
        """The same with these symbols as numbers."""
        fixed = Terms()
        for size, factor in self.factors.items():
            number = math.prod(sizes[each] for each in size if each in sizes)
            fixed += Terms({tuple(each for each in size if each not in sizes): factor * number})
        return fixed

    def value(self, sizes: Mapping[str, int]) -> int:
        """The number of bytes with these sizes."""
        return sum(factor * math.prod(sizes[each] for each in size) for size, factor in self.factors.items())

    @property
    def text(self) -> str:
        """Python arithmetic, the tokens' terms first: "24*b*s*d + 8*b*s*f"."""
        ordered = sorted(self.factors.items(), key=lambda each: [_order(symbol) for symbol in each[0]] or [(99, "")])
        return " + ".join("*".join((str(factor), *size)) for size, factor in ordered) or "0"


_ORDER = ("b", "s", "n_k", "E", "h", "k", "d_h", "d", "f", "r", "V")


def _order(symbol: str) -> tuple[int, str]:
    return (_ORDER.index(symbol) if symbol in _ORDER else len(_ORDER), symbol)
