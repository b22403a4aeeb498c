"""Decoders after LLaMA: RMSNorm, rotary positions, gated MLP; and nanochat, its sibling without norm weights.

Symbols: V vocabulary, d hidden size, L layers, f MLP size; q and kv are the widths of all queries and of all keys,
h·d_h and k·d_h. Every function returns component -> parameters, and takes integers or symbols alike.
"""

from __future__ import annotations

from hfcount.formulas.families.pieces import Components, Size, attention, gated_mlp, mlp, untied_head


def llama(
    *, V: Size, d: Size, L: Size, f: Size, q: Size, kv: Size,
    qkv_bias: bool, output_bias: bool, mlp_bias: bool, norms: Size, norm: Size, qk_norm: Size, untied: bool,
) -> Components:  # fmt: skip
    """Parameters of LLaMA and the models built as it is, by component.

    1. Token embedding V·d; rotary positions have no parameters (Touvron et al. 2023, arXiv:2302.13971, section
       2.2, "Rotary Embeddings"; Su et al. 2021, arXiv:2104.09864).
    2. Attention of each layer: d·q + 2·d·kv + q·d, without biases. LLaMA has q = kv = d, so 4d². kv < q with
       grouped queries (Llama 2, arXiv:2307.09288, section 2.2; Mistral 7B, arXiv:2310.06825, section 2); q is
       not d where the config sets the heads' size, as in Gemma 7B (16 x 256 with d = 3072; arXiv:2403.08295,
       table 1). Qwen2 has biases on queries, keys and values only (arXiv:2407.10671, section 2.2.1).
    3. MLP: gate, up and down, 3·d·f (LLaMA section 2.2, "SwiGLU"; GeGLU in Gemma, section 2, has the same size).
    4. RMSNorm has a gain alone, d parameters (Zhang and Sennrich 2019, arXiv:1910.07467, section 3): `norms` of
       size `norm` in each layer, and one after the last. Two a layer; Gemma 2 has four (arXiv:2408.00118,
       section 2, "Post-norm and pre-norm with RMSNorm"); OLMo's norms have no parameters, `norm` = 0
       (arXiv:2402.00838, section 2.1).
    5. `qk_norm`: the norms of queries and keys in each layer. 2·d_h in Qwen3, shared by the heads
       (arXiv:2505.09388, section 2); q + kv in OLMo 2, over all heads (arXiv:2501.00656, section 2.1).
    6. The head: V·d of its own, or tied to the embedding.

    LLaMA-7B: 2·V·d + L·(4d² + 3·d·f + 2d) + d.
    """
    return {
        "token_embedding": V * d,
        "attention": L * attention(d=d, q=q, kv=kv, qkv_bias=qkv_bias, output_bias=output_bias),
        "mlp": L * gated_mlp(d=d, f=f, bias=mlp_bias),
        "norm": L * (norms * norm + qk_norm) + norm,
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }


def nanochat(
    *, V: Size, d: Size, L: Size, f: Size, q: Size, kv: Size, attention_bias: bool, untied: bool
) -> Components:
    """Parameters of nanochat, by component (karpathy/nanochat, nanochat/gpt.py, in the order of its docstring).

    1. Token embedding V·d and a head of its own, V·d ("untied weights for token embedding and lm_head").
    2. Rotary positions and all norms, those of queries and keys included, have no parameters ("rotary
       embeddings", "no learnable params in rmsnorm").
    3. Each layer: attention d·q + 2·d·kv + q·d ("no bias in linear layers"; transformers can add them), and a
       plain MLP, 2·d·f, with relu² between ("relu^2 activation in MLP").

    With k = h and f = 4d: 2·V·d + 12·L·d².
    """
    return {
        "token_embedding": V * d,
        "attention": L * attention(d=d, q=q, kv=kv, qkv_bias=attention_bias, output_bias=attention_bias),
        "mlp": L * mlp(d=d, f=f, bias=False),
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }
