"""Decoders with LayerNorm and a plain MLP: GPT-1, GPT-2, GPT-NeoX, OPT, BLOOM.

Symbols: V vocabulary, d hidden size, L layers, T positions, f MLP size, p width of the embeddings.
Every function returns component -> parameters, and takes integers or symbols alike.
"""

from __future__ import annotations

from hfcount.formulas.families.pieces import Components, Size, attention, layer_norm, linear, mlp, untied_head


def openai_gpt(*, V: Size, d: Size, L: Size, T: Size, f: Size, untied: bool) -> Components:
    """Parameters of GPT-1, by component.

    1. Token embedding W_e, V·d, and learned positions W_p, T·d (Radford et al. 2018, "Improving Language
       Understanding by Generative Pre-Training", section 3.1, equation 2); the output layer is W_e again.
    2. Each of L layers: attention, d -> 3d and d -> d with biases, 4d² + 4d (section 4.1, "Model
       specifications": a decoder-only Transformer as in Vaswani et al. 2017).
    3. Its MLP, d -> f -> d with biases, 2·d·f + f + d; f = 4d (3072 at d = 768, the same section).
    4. Two LayerNorms a layer, after each sub-layer, 2·2d. No norm follows the last layer: that came with GPT-2.
    """
    return {
        "token_embedding": V * d,
        "position_embedding": T * d,
        "attention": L * attention(d=d, q=d, kv=d, qkv_bias=True, output_bias=True),
        "mlp": L * mlp(d=d, f=f, bias=True),
        "norm": L * (2 * layer_norm(d=d)),
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }


def gpt2(*, V: Size, d: Size, L: Size, T: Size, f: Size, untied: bool) -> Components:
    """Parameters of GPT-2, by component.

    1. As GPT-1: embeddings V·d and T·d, attention 4d² + 4d, MLP 2·d·f + f + d with f = 4d unless `n_inner` is
       set (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3).
    2. LayerNorm moves before each sub-layer, still two a layer, 2·2d, and one more follows the last layer, 2d
       (the same section).
    3. The output layer is the token embedding (openai/gpt-2, src/model.py: logits = matmul(h, wte)).

    With f = 4d: V·d + T·d + L·(12d² + 13d) + 2d.
    """
    return {
        "token_embedding": V * d,
        "position_embedding": T * d,
        "attention": L * attention(d=d, q=d, kv=d, qkv_bias=True, output_bias=True),
        "mlp": L * mlp(d=d, f=f, bias=True),
        "norm": L * (2 * layer_norm(d=d)) + layer_norm(d=d),
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }


def gpt_neox(*, V: Size, d: Size, L: Size, f: Size, attention_bias: bool, untied: bool) -> Components:
    """Parameters of GPT-NeoX and Pythia, by component.

    1. Token embedding V·d; rotary positions have no parameters (Black et al. 2022, arXiv:2204.06745, section
       2.1.1).
    2. Each layer: attention 4d² and, with `attention_bias`, 4d; MLP 2·d·f + f + d (section 2.1, as GPT-3's).
    3. Attention and MLP run in parallel, yet each has a LayerNorm of its own, 2·2d a layer (section 2.1.2 tells
       that the one norm that was meant became two), and one follows the last layer, 2d.
    4. Embedding and output matrices are not tied, V·d again (Biderman et al. 2023, arXiv:2304.01373, section 2,
       on Pythia's architecture).
    """
    return {
        "token_embedding": V * d,
        "attention": L * attention(d=d, q=d, kv=d, qkv_bias=attention_bias, output_bias=attention_bias),
        "mlp": L * mlp(d=d, f=f, bias=True),
        "norm": L * (2 * layer_norm(d=d)) + layer_norm(d=d),
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }


def opt(
    *, V: Size, d: Size, L: Size, T: Size, f: Size, p: Size,
    projected: bool, bias: bool, norm_affine: bool, final_norm: bool, untied: bool,
) -> Components:  # fmt: skip
    """Parameters of OPT, by component.

    1. Token embedding V·p; p = d in all sizes but 350M, whose embeddings are 512 wide with d = 1024, so that a
       matrix p -> d leads in and one d -> p leads out, both without bias (Zhang et al. 2022, arXiv:2205.01068,
       section 2.1 gives the sizes; facebookresearch/metaseq, transformer decoder: project_in_dim, project_out_dim).
    2. Learned positions, (T + 2)·d: ids start after the padding id, and two rows are never read
       (metaseq, learned_positional_embedding.py; transformers modeling_opt.py, OPTLearnedPositionalEmbedding).
    3. Each layer as GPT-3's: attention 4d² + 4d, MLP 2·d·f + f + d, two LayerNorms 2·2d (section 2.1).
    4. A LayerNorm follows the last layer, 2d, in the models that normalise before each sub-layer, which 350M
       does not (metaseq pull request 164; transformers modeling_opt.py, OPTDecoder).
    5. The head is the embedding matrix; untied it is V·p.
    """
    norm = layer_norm(d=d) if norm_affine else 0
    projections = linear(inputs=p, outputs=d, bias=False) + linear(inputs=d, outputs=p, bias=False)
    return {
        "token_embedding": V * p,
        "position_embedding": (T + 2) * d,
        "projector": projections if projected else 0,
        "attention": L * attention(d=d, q=d, kv=d, qkv_bias=bias, output_bias=bias),
        "mlp": L * mlp(d=d, f=f, bias=bias),
        "norm": L * (2 * norm) + (norm if final_norm else 0),
        "lm_head": untied_head(V=V, d=p, untied=untied),
    }


def bloom(*, V: Size, d: Size, L: Size, f: Size, untied: bool) -> Components:
    """Parameters of BLOOM, by component.

    1. Token embedding V·d, followed by a LayerNorm of its own, 2d (Le Scao et al. 2022, arXiv:2211.05100,
       section 3.2.3, "Embedding LayerNorm").
    2. ALiBi replaces positions and has no parameters: its slopes are fixed (the same section; Press et al. 2022,
       arXiv:2108.12409, section 3).
    3. Each layer: attention 4d² + 4d, MLP 2·d·f + f + d with f = 4d always, two LayerNorms 2·2d; one more after
       the last layer, 2d (figure 5).
    4. The head is the embedding matrix (table 3, "tied").
    """
    return {
        "token_embedding": V * d,
        "attention": L * attention(d=d, q=d, kv=d, qkv_bias=True, output_bias=True),
        "mlp": L * mlp(d=d, f=f, bias=True),
        "norm": layer_norm(d=d) + L * (2 * layer_norm(d=d)) + layer_norm(d=d),
        "lm_head": untied_head(V=V, d=d, untied=untied),
    }
