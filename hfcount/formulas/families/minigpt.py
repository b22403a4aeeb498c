"""Mini-GPT in every variant of its config: the small decoder that courses count by hand.

Symbols: V vocabulary, d hidden size, L layers, T positions, f MLP size; q and kv are the widths of all queries and
of all keys, h·d_h and k·d_h. The function takes integers or symbols alike.
"""

from __future__ import annotations

from hfcount.formulas.families.pieces import Components, Size, attention, gated_mlp, mlp, untied_head


def minigpt(
    *, V: Size, d: Size, L: Size, T: Size, f: Size, q: Size, kv: Size,
    learned_positions: bool, norm_gain: bool, norm_shift: bool, final_norm: bool, gated: bool,
    qkv_bias: bool, output_bias: bool, mlp_bias: bool, untied: bool,
) -> Components:  # fmt: skip
    """Parameters of a Mini-GPT, by component.

    1. Token embedding V·d. Positions: T·d where they are learned (Radford et al. 2019, section 2.3); rotary ones
       (Su et al. 2021, arXiv:2104.09864), sinusoids (Vaswani et al. 2017, section 3.5) and none at all cost nothing.
    2. Attention of each layer: d·q + 2·d·kv + q·d; biases on queries, keys and values are q + 2·kv, the output's is d.
    3. MLP: 2·d·f, gated 3·d·f (Shazeer 2020, arXiv:2002.05202); with biases one for each output.
    4. Norms: a gain of d, with LayerNorm a shift of d as well (Ba et al. 2016, arXiv:1607.06450), or neither. Two in
       each layer, and one after the last unless `final_norm` is off.
    5. The head: the embedding matrix, or V·d of its own.

    V = 512, d = 64, L = 2, f = 4d, RMSNorm, no biases, tied: V·d + L·(12d² + 2d) + d = 131,392.
    """
    norm = (d if norm_gain else 0) + (d if norm_shift else 0)
    per_mlp = gated_mlp(d=d, f=f, bias=mlp_bias) if gated else mlp(d=d, f=f, bias=mlp_bias)
    return {
        "token_embedding": V * d,
        "position_embedding": T * d if learned_positions else 0,
        "attention": L * attention(d=d, q=q, kv=kv, qkv_bias=qkv_bias, output_bias=output_bias),
        "mlp": L * per_mlp,
        "norm": L * (2 * norm) + (norm if final_norm else 0),
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }
