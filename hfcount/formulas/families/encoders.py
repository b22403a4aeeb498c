"""Encoders, and the encoder-decoder: BERT, T5, ViT.

Every function returns component -> parameters, and takes integers or symbols alike.
"""

from __future__ import annotations

from hfcount.formulas.families.pieces import (
    Components,
    Size,
    attention,
    gated_mlp,
    layer_norm,
    linear,
    mlp,
    untied_head,
)


def bert(
    *, V: Size, d: Size, L: Size, T: Size, S: Size, f: Size, K: Size,
    pooler: bool, masked_lm: bool, next_sentence: bool, labels: bool, untied: bool,
) -> Components:  # fmt: skip
    """Parameters of BERT, by component (Devlin et al. 2019, arXiv:1810.04805).

    1. Three embeddings are added: tokens V·d, positions T·d, segments S·d (section 3, "Input/Output
       Representations", figure 2), then a LayerNorm, 2d (google-research/bert, modeling.py,
       embedding_postprocessor).
    2. Each layer as in Vaswani et al. 2017: attention 4d² + 4d, MLP 2·d·f + f + d, a LayerNorm after each,
       2·2d (section 3, "Model Architecture"). None after the last.
    3. Pooler: d -> d with bias over the first token (modeling.py, BertModel: pooler).
    4. Masked LM: d -> d with bias, a LayerNorm 2d, then the embedding matrix again with a bias for each token, V
       (run_pretraining.py, get_masked_lm_output). Untied, transformers builds matrix and bias anew and keeps the
       head's other bias, so V·d + V more.
    5. Next sentence: d -> 2 with bias (section 3.1, task 2). A classifier over K labels: d -> K with bias
       (section 4.1).
    """
    transform = linear(inputs=d, outputs=d, bias=True)
    decoder = V + untied_head(V=V, d=d, untied=untied) + (V if untied else 0)
    classifier = (linear(inputs=d, outputs=2, bias=True) if next_sentence else 0) + (
        linear(inputs=d, outputs=K, bias=True) if labels else 0
    )
    return {
        "token_embedding": V * d,
        "position_embedding": T * d + S * d,
        "attention": L * attention(d=d, q=d, kv=d, qkv_bias=True, output_bias=True),
        "mlp": L * mlp(d=d, f=f, bias=True),
        "norm": layer_norm(d=d) + L * (2 * layer_norm(d=d)) + (layer_norm(d=d) if masked_lm else 0),
        "pooler": linear(inputs=d, outputs=d, bias=True) if pooler else 0,
        "lm_head": transform + decoder if masked_lm else 0,
        "classifier": classifier,
    }


def t5(
    *, V: Size, d: Size, L: Size, L_dec: Size, f: Size, q: Size, h: Size, B: Size, gated: bool, decoder: bool
) -> Components:
    """Parameters of T5, by component (Raffel et al. 2020, arXiv:1910.10683).

    1. One token embedding, V·d, serves encoder and decoder and, as the paper has it, the head
       (section 2.1). T5 1.1 and Flan-T5 had a head of their own; transformers 5 ties it whatever their configs say.
    2. Relative positions: a scalar for each of B buckets and each head, B·h (section 2.1), shared by all layers of a
       stack (there: "share the position embedding parameters across all layers"): once in the encoder, once in the
       decoder. Attention across has none.
    3. Attention without biases, q = h·d_h wide: d·q each for queries, keys and values, q·d for the output. One in
       each encoder layer, two in each decoder layer (section 2.1).
    4. MLP without biases, 2·d·f; gated in T5 1.1 and Flan-T5, 3·d·f (Shazeer 2020, arXiv:2002.05202).
    5. The norm has a gain only and stands before each sub-layer: 2d in an encoder layer, 3d in a decoder layer, and
       one after each stack, d (section 2.1: layer normalization "with no additive bias").
    """
    per_attention = attention(d=d, q=q, kv=q, qkv_bias=False, output_bias=False)
    per_mlp = gated_mlp(d=d, f=f, bias=False) if gated else mlp(d=d, f=f, bias=False)
    return {
        "token_embedding": V * d,
        "position_embedding": B * h + (B * h if decoder else 0),
        "attention": L * per_attention + (L_dec * (2 * per_attention) if decoder else 0),
        "mlp": L * per_mlp + (L_dec * per_mlp if decoder else 0),
        "norm": L * (2 * d) + d + (L_dec * (3 * d) + d if decoder else 0),
    }


def vit(
    *, d: Size, L: Size, f: Size, q: Size, N: Size, C: Size, P: Size, p: Size, K: Size,
    qkv_bias: bool, pooler: bool, labels: bool,
) -> Components:  # fmt: skip
    """Parameters of the Vision Transformer, by component (Dosovitskiy et al. 2021, arXiv:2010.11929).

    1. Each patch of P x P pixels in C channels is projected to d with a bias, C·P²·d + d (section 3.1, equation 1,
       the matrix E), and one class token is learned, d (x_class, the same equation).
    2. Positions: one vector for each of N patches and one for the class token, (N + 1)·d (E_pos, equation 1).
    3. Each layer: attention 4d² + 4d (queries, keys and values may lack their biases), MLP 2·d·f + f + d, a
       LayerNorm before each, 2·2d (equations 2 and 3); one more at the end, 2d (equation 4).
    4. transformers' ViTModel adds a pooler over the class token, d -> p with bias (p = d unless the config says
       else); the classifier over K labels reads the class token without it, d -> K with bias (section 3.1).
    """
    return {
        "vision": linear(inputs=C * P * P, outputs=d, bias=True) + d,
        "position_embedding": (N + 1) * d,
        "attention": L * attention(d=d, q=q, kv=q, qkv_bias=qkv_bias, output_bias=True),
        "mlp": L * mlp(d=d, f=f, bias=True),
        "norm": L * (2 * layer_norm(d=d)) + layer_norm(d=d),
        "pooler": linear(inputs=d, outputs=p, bias=True) if pooler else 0,
        "classifier": linear(inputs=d, outputs=K, bias=True) if labels else 0,
    }
