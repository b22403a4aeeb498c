"""The blocks that all Transformers share: a matrix, attention, the MLP and the norms, counted from the papers.

Arguments are integers, or anything with their arithmetic (a polynomial, a sympy symbol), so that one function
gives a count and its formula. Vaswani et al. 2017 is arXiv:1706.03762.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Size: TypeAlias = Any
"""A size: an int, or a symbol that stands for one and takes part in +, - and *."""

Components: TypeAlias = dict[str, Any]
"""Component name -> its parameters, disjoint: they add up to the whole model."""


def linear(*, inputs: Size, outputs: Size, bias: bool) -> Size:
    """Parameters of y = x·W + b: inputs·outputs weights and, with `bias`, one for each output.

    Vaswani et al. 2017, section 3.3 (the W and b of equation 2); torch.nn.Linear.
    """
    return inputs * outputs + (outputs if bias else 0)


def attention(*, d: Size, q: Size, kv: Size, qkv_bias: bool, output_bias: bool) -> Size:
    """Parameters of the four projections of one attention layer.

    1. Queries: d -> q, where q = h·d_h is all heads side by side (Vaswani et al. 2017, section 3.2.2).
    2. Keys and values: d -> kv each, kv = k·d_h; k < h heads share them in groups (Ainslie et al. 2023,
       arXiv:2305.13245, section 2.2), else kv = q.
    3. Output: q -> d (the W^O of Vaswani et al. 2017, section 3.2.2).
    """
    queries = linear(inputs=d, outputs=q, bias=qkv_bias)
    keys_and_values = 2 * linear(inputs=d, outputs=kv, bias=qkv_bias)
    return queries + keys_and_values + linear(inputs=q, outputs=d, bias=output_bias)


def mlp(*, d: Size, f: Size, bias: bool) -> Size:
    """Parameters of the position-wise MLP: d -> f and f -> d (Vaswani et al. 2017, equation 2)."""
    return linear(inputs=d, outputs=f, bias=bias) + linear(inputs=f, outputs=d, bias=bias)


def gated_mlp(*, d: Size, f: Size, bias: bool) -> Size:
    """Parameters of a gated MLP: gate and up, d -> f each, then down, f -> d.

    Shazeer 2020, arXiv:2002.05202, equation 6.
    """
    return 2 * linear(inputs=d, outputs=f, bias=bias) + linear(inputs=f, outputs=d, bias=bias)


def layer_norm(*, d: Size) -> Size:
    """Parameters of LayerNorm: a gain and a shift for each of d features (Ba et al. 2016, arXiv:1607.06450, eq. 4)."""
    return 2 * d


def untied_head(*, V: Size, d: Size, untied: bool) -> Size:
    """Parameters of the LM head: none where it shares the embedding matrix, else V·d of its own.

    Sharing: Press and Wolf 2017, arXiv:1608.05859, section 3; Vaswani et al. 2017, section 3.4.
    """
    return V * d if untied else 0
