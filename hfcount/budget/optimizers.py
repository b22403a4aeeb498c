"""What an optimizer keeps for every trained parameter, as its own code allocates it.

    adamw        two moments of the parameter's shape (Loshchilov and Hutter 2019; torch/optim/adamw.py), in the type
                 of the parameter that it steps: the master copy where there is one
    adamw-8bit   the same moments in one byte an element, with an fp32 absmax for every 256 of them and each moment
                 (Dettmers et al. 2022, arXiv 2110.02861; bitsandbytes/optim/optimizer.py, Optimizer2State.init_state):
                 2n + 2·4·ceil(n/256). A tensor of fewer than 4,096 elements keeps fp32 moments, 8n. The two code
                 books, 256 fp32 values each, are shared by all tensors: 2,048 bytes once
    adafactor    for a tensor of two dimensions or more a mean over its last and one over its last but one
                 (Shazeer and Stern 2018, arXiv 1804.04235; transformers/optimization.py, Adafactor, beta1 = None):
                 4·(n/last + n/last but one) bytes in fp32; for a vector 4n
    sgd          one momentum buffer (torch/optim/sgd.py, momentum > 0), in the type of the gradient

The paged variants allocate the same bytes in unified memory, which the driver moves to the host when the GPU is full;
bitsandbytes pages the moments of tensors of 100,000 elements or more (`get_state_buffer`), not their absmax.

Besides, torch's AdamW counts its steps in one fp32 number a tensor, on the host unless fused or capturable, and
transformers' Adafactor keeps one root mean square a tensor: `scalars`, four bytes each, told apart from the buckets.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from hfcount.budget.recipes import BYTES, named

MIN_8BIT_ELEMENTS = 4096
BLOCK = 256
CODE_BOOKS = 2 * 256 * 4
PAGED_ELEMENTS = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """Bytes of an optimizer's state: `moments` with their statistics, shared code `tables`, one-element `scalars`
    (not part of `total`), and what of it is `paged`."""

    moments: int = 0
    tables: int = 0
    scalars: int = 0
    paged: int = 0

    @property
    def total(self) -> int:
        return self.moments + self.tables


def _adamw(shape: Sequence[int], size: int) -> int:
    return 2 * size * math.prod(shape)


def _adamw_8bit(shape: Sequence[int], size: int) -> int:
    elements = math.prod(shape)
    if elements < MIN_8BIT_ELEMENTS:
        return 8 * elements
    return 2 * elements + 2 * 4 * -(-elements // BLOCK)


def _adafactor(shape: Sequence[int], size: int) -> int:
    elements = math.prod(shape)
    if len(shape) < 2:
        return 4 * elements
    if elements == 0:
        return 0
    return 4 * (elements // shape[-1] + elements // shape[-2])


def _sgd(shape: Sequence[int], size: int) -> int:
    return size * math.prod(shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer: `moments` gives the bytes for a shape and the size of its elements.

    Attributes:
        name: as `--optimizer` takes it.
        moments: bytes of a tensor's state from its shape and its moments' element size.
        of_gradient: whether the state has the gradient's type instead of the stepped parameter's.
        eight_bit: whether the code books of the 8-bit moments come with it.
        paged: bytes for each element that lie in unified memory where the tensor is large; 0 if it does not page.
        scalars: one-element values that it keeps for each tensor.
    """

    name: str
    moments: Callable[[Sequence[int], int], int]
    of_gradient: bool = False
    eight_bit: bool = False
    paged: int = 0
    scalars: int = 0


OPTIMIZERS: dict[str, Optimizer] = {
    each.name: each
    for each in (
        Optimizer(name="adamw", moments=_adamw, scalars=1),
        Optimizer(name="adamw-8bit", moments=_adamw_8bit, eight_bit=True),
        Optimizer(name="paged-adamw-8bit", moments=_adamw_8bit, eight_bit=True, paged=2),
        Optimizer(name="paged-adamw", moments=lambda shape, size: 8 * math.prod(shape), paged=8),
        Optimizer(name="adafactor", moments=_adafactor, scalars=1),
        Optimizer(name="sgd", moments=_sgd, of_gradient=True),
    )
}


def optimizer(name: str) -> Optimizer:
    """The optimizer called `name`; BadInput with the near names where there is none."""
    return OPTIMIZERS[named(name, OPTIMIZERS, "optimizer")]


def optimizer_state(shapes: Iterable[Sequence[int]], chosen: Optimizer, *, dtype: str) -> State:
    """The state of `chosen` for trained tensors of `shapes`, whose moments have `dtype` where it does not fix it.

    >>> optimizer_state([(64, 64), (64,)], optimizer("adamw"), dtype="float32").total
    33280
    """
    moments = paged = count = 0
    any_8bit = False
    for shape in shapes:
        each = chosen.moments(shape, BYTES[dtype])
        moments += each
        count += 1
        elements = math.prod(shape)
        any_8bit |= elements >= MIN_8BIT_ELEMENTS
        if elements >= PAGED_ELEMENTS:
            paged += chosen.paged * elements
    return State(
        moments=moments,
        tables=CODE_BOOKS if chosen.eight_bit and any_8bit else 0,
        scalars=4 * chosen.scalars * count,
        paged=paged,
    )
