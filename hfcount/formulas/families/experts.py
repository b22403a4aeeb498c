"""Mixtures of experts: Mixtral, and DeepSeek-V3 with its latent attention.

Symbols beside those of LLaMA: E routed experts, E_s shared experts, f_e size of one expert's MLP. All experts
count, chosen or not. Every function returns component -> parameters, and takes integers or symbols alike.
"""

from __future__ import annotations

from hfcount.formulas.families.pieces import Components, Size, attention, gated_mlp, linear, untied_head


def mixtral(*, V: Size, d: Size, L: Size, f: Size, q: Size, kv: Size, E: Size, untied: bool) -> Components:
    """Parameters of Mixtral, by component (Jiang et al. 2024, arXiv:2401.04088).

    1. Embedding, attention d·q + 2·d·kv + q·d, two RMSNorms a layer and one at the end: as Mistral 7B
       (section 2: the same modifications).
    2. Every layer's MLP becomes E experts, each a SwiGLU of 3·d·f (section 2.1, equation for y).
    3. The router is one matrix without bias, d -> E (section 2.1: G(x) = Softmax(TopK(x·W_g))).
    4. A head of its own, V·d.
    """
    return {
        "token_embedding": V * d,
        "attention": L * attention(d=d, q=q, kv=kv, qkv_bias=False, output_bias=False),
        "router": L * linear(inputs=d, outputs=E, bias=False),
        "experts": L * (E * gated_mlp(d=d, f=f, bias=False)),
        "norm": L * (2 * d) + d,
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }


def latent_attention(
    *, d: Size, h: Size, d_n: Size, d_r: Size, d_v: Size, r_q: Size, r_kv: Size, query_latent: bool, bias: bool
) -> Size:
    """Parameters of one layer's multi-head latent attention, its two inner norms left out.

    DeepSeek-V2, arXiv:2405.04434, section 2.1 and appendix C; DeepSeek-V3, arXiv:2412.19437, section 2.1.1.

    1. Queries: d -> r_q -> h·(d_n + d_r), the part without positions and the part that turns (W^DQ, then W^UQ and
       W^QR; equations 6 to 9 of V3), or straight d -> h·(d_n + d_r) without a latent.
    2. Keys and values: d -> r_kv, the latent that is cached, and d -> d_r, the one rotary key that all heads share
       (W^DKV and W^KR, equations 1 and 3): one matrix d -> r_kv + d_r.
    3. From the latent r_kv -> h·(d_n + d_v): the heads' keys and values (W^UK and W^UV, equations 2 and 5).
    4. Output h·d_v -> d (W^O, equation 11).
    5. transformers' `attention_bias` puts biases on what leads out of d and back to it.
    """
    queries = linear(inputs=d, outputs=h * (d_n + d_r), bias=False)
    if query_latent:
        into = linear(inputs=d, outputs=r_q, bias=bias)
        queries = into + linear(inputs=r_q, outputs=h * (d_n + d_r), bias=False)
    latent = linear(inputs=d, outputs=r_kv + d_r, bias=bias)
    keys_and_values = linear(inputs=r_kv, outputs=h * (d_n + d_v), bias=False)
    return queries + latent + keys_and_values + linear(inputs=h * d_v, outputs=d, bias=bias)


def deepseek_v3(
    *, V: Size, d: Size, L: Size, L_d: Size, L_e: Size, f: Size, f_e: Size, E: Size, E_s: Size,
    h: Size, d_n: Size, d_r: Size, d_v: Size, r_q: Size, r_kv: Size,
    query_latent: bool, attention_bias: bool, untied: bool,
) -> Components:  # fmt: skip
    """Parameters of DeepSeek-V3, by component, without the multi-token-prediction module (arXiv:2412.19437).

    1. Embedding V·d and a head of its own, V·d. The prediction module of section 2.2 is no part of the model that
       answers; the Hub's 685B has it.
    2. Latent attention in all L layers: see `latent_attention`.
    3. The first L_d layers have a dense SwiGLU, 3·d·f (section 4.2: all but the first three are experts).
    4. Each of the other L_e layers has E routed experts, 3·d·f_e each, and E_s shared ones of the same size
       (section 2.1.2, equation 12), which transformers keeps as one MLP of size E_s·f_e.
    5. The router: a centroid of size d for each routed expert, E·d (equation 15). The bias b_i that balances the
       load (equation 16) is set by a rule and not learned, and is a buffer.
    6. Two RMSNorms a layer and one at the end, d each; in attention one over the latent of keys, r_kv, and one over
       that of queries, r_q (section 4.2: additional RMSNorm layers after the compressed latent vectors).
    """
    mla = latent_attention(
        d=d, h=h, d_n=d_n, d_r=d_r, d_v=d_v, r_q=r_q, r_kv=r_kv, query_latent=query_latent, bias=attention_bias
    )
    return {
        "token_embedding": V * d,
        "attention": L * mla,
        "mlp": L_d * gated_mlp(d=d, f=f, bias=False),
        "router": L_e * linear(inputs=d, outputs=E, bias=False),
        "experts": L_e * (E * gated_mlp(d=d, f=f_e, bias=False)),
        "shared_experts": L_e * gated_mlp(d=d, f=E_s * f_e, bias=False),
        "norm": L * (2 * d + r_kv + (r_q if query_latent else 0)) + d,
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }
