"""Floating-point operations of a step by the rules that papers use.

Kaplan et al. 2020, arXiv 2001.08361, section 2.1; Chowdhery et al. 2022, arXiv 2204.02311, appendix B: for N weights
in matrices a token takes 2N forward and 4N backward, 6N in all, and attention 12·L·d·s more, of which a causal fused
kernel really does half. With a frozen base the gradients of its weights fall away: 4N, and 6 for each of the adapters'
weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def matrix_parameters(table: pd.DataFrame, *, tied_head: int = 0) -> int:
    """The weights that one token is multiplied by: matrices of the inventory `table`, the chosen experts' alone, an
    LM head that is tied to the embedding (`tied_head` elements) too, and no table that is only looked up."""
    looked_up = table["component"].isin(["token_embedding", "position_embedding"])
    matrices = table["shape"].map(len) > 1
    return int(table.loc[matrices & ~looked_up, "active"].sum()) + tied_head


def rule(*, matrices: int, adapters: int, tokens: int, layers: int, width: int, seq: int, twice: bool = False) -> int:
    """6N and attention's term for full training; 4N + 6n with `adapters` over a frozen base.

    With checkpointing the forward pass is run `twice`: 2N + 2n more, and a third more of attention's term.
    """
    weights = 4 * matrices + 6 * adapters if adapters else 6 * matrices
    attention = 12 * layers * width * seq
    if twice:
        weights, attention = weights + 2 * matrices + 2 * adapters, attention * 4 // 3
    return tokens * (weights + attention)
