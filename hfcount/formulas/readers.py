"""How each family reads its sizes from a config: config -> the arguments of the family's function.

A reader gets the sizes, the class's head ("lm", "body", ...), and returns keyword arguments. Where two sizes of a
config coincide in the way people expect (h·d_h = d, as many keys as queries, f = 4d by default), it passes one for
the other, so that the form reads as it would be written by hand. It raises NotModelled for what the form does not
describe: no form is better than a wrong one.
"""

from __future__ import annotations

from typing import Any

from hfcount.formulas.sizes import NotModelled, Sizes

Arguments = dict[str, Any]


def gpt1(sizes: Sizes, head: str) -> Arguments:
    d = sizes.read("d", "n_embd")
    _need_whole_heads(sizes, "n_embd", "n_head")
    return {
        "V": sizes.read("V", "vocab_size"),
        "d": d,
        "L": sizes.read("L", "n_layer"),
        "T": sizes.read("T", "n_positions"),
        "f": 4 * d,
        "untied": _untied(sizes, head),
    }


def gpt2(sizes: Sizes, head: str) -> Arguments:
    sizes.refuse("add_cross_attention")
    arguments = gpt1(sizes, head)
    if sizes.value("n_inner") is not None:
        arguments["f"] = sizes.read("f", "n_inner")
    return arguments


def gpt_neox(sizes: Sizes, head: str) -> Arguments:
    _need_whole_heads(sizes, "hidden_size", "num_attention_heads")
    return {
        **_stack(sizes),
        "f": sizes.read("f", "intermediate_size"),
        "attention_bias": sizes.flag("attention_bias"),
        "untied": _untied(sizes, head),
    }


def opt(sizes: Sizes, head: str) -> Arguments:
    _need_whole_heads(sizes, "hidden_size", "num_attention_heads")
    stack = _stack(sizes)
    projected = sizes.number("word_embed_proj_dim") != sizes.number("hidden_size")
    removed = bool(getattr(sizes.config, "_remove_final_layer_norm", False))
    return {
        **stack,
        "T": sizes.read("T", "max_position_embeddings"),
        "f": sizes.read("f", "ffn_dim"),
        "p": sizes.read("p", "word_embed_proj_dim") if projected else stack["d"],
        "projected": projected,
        "bias": sizes.flag("enable_bias"),
        "norm_affine": sizes.flag("layer_norm_elementwise_affine"),
        "final_norm": sizes.flag("do_layer_norm_before") and not removed,
        "untied": _untied(sizes, head),
    }


def bloom(sizes: Sizes, head: str) -> Arguments:
    _need_whole_heads(sizes, "hidden_size", "n_head")
    stack = _stack(sizes, layers="n_layer")
    return {**stack, "f": 4 * stack["d"], "untied": _untied(sizes, head)}


def llama(sizes: Sizes, head: str) -> Arguments:
    """LLaMA as transformers has it: biases on all of attention, or on all of the MLP, if the config asks."""
    return {
        **_llama_like(sizes, head),
        "qkv_bias": sizes.flag("attention_bias"),
        "output_bias": sizes.flag("attention_bias"),
        "mlp_bias": sizes.flag("mlp_bias"),
    }


def mistral(sizes: Sizes, head: str) -> Arguments:
    return _llama_like(sizes, head)


def qwen2(sizes: Sizes, head: str) -> Arguments:
    return {**_llama_like(sizes, head), "qkv_bias": True}


def gemma(sizes: Sizes, head: str) -> Arguments:
    """Also OLMo's reading of biases: `attention_bias` alone."""
    bias = sizes.flag("attention_bias")
    return {**_llama_like(sizes, head), "qkv_bias": bias, "output_bias": bias}


def gemma2(sizes: Sizes, head: str) -> Arguments:
    return {**gemma(sizes, head), "norms": 4}


def qwen3(sizes: Sizes, head: str) -> Arguments:
    arguments = gemma(sizes, head)
    return {**arguments, "qk_norm": 2 * _head_size(sizes)}


def olmo(sizes: Sizes, head: str) -> Arguments:
    return {**gemma(sizes, head), "norm": 0}


def olmo2(sizes: Sizes, head: str) -> Arguments:
    arguments = gemma(sizes, head)
    return {**arguments, "qk_norm": arguments["q"] + arguments["kv"]}


def nanochat(sizes: Sizes, head: str) -> Arguments:
    stack = _stack(sizes)
    return {
        **stack,
        **_query_and_key_widths(sizes, stack["d"]),
        "f": sizes.read("f", "intermediate_size"),
        "attention_bias": sizes.flag("attention_bias"),
        "untied": _untied(sizes, head),
    }


def mixtral(sizes: Sizes, head: str) -> Arguments:
    stack = _stack(sizes)
    return {
        **stack,
        **_query_and_key_widths(sizes, stack["d"]),
        "f": sizes.read("f", "intermediate_size"),
        "E": sizes.read("E", "num_local_experts"),
        "untied": _untied(sizes, head),
    }


def deepseek_v3(sizes: Sizes, head: str) -> Arguments:
    latent = sizes.value("q_lora_rank") is not None
    return {
        **_stack(sizes),
        **_dense_and_expert_layers(sizes),
        "f": sizes.read("f", "intermediate_size"),
        "f_e": sizes.read("f_e", "moe_intermediate_size"),
        "E": sizes.read("E", "n_routed_experts"),
        "E_s": sizes.read("E_s", "n_shared_experts"),
        "h": sizes.read("h", "num_attention_heads"),
        "d_n": sizes.read("d_n", "qk_nope_head_dim"),
        "d_r": sizes.read("d_r", "qk_rope_head_dim"),
        "d_v": sizes.read("d_v", "v_head_dim"),
        "r_q": sizes.read("r_q", "q_lora_rank") if latent else 0,
        "r_kv": sizes.read("r_kv", "kv_lora_rank"),
        "query_latent": latent,
        "attention_bias": sizes.flag("attention_bias"),
        "untied": _untied(sizes, head),
    }


def bert(sizes: Sizes, head: str) -> Arguments:
    """`head`: "body" (with its pooler), "lm", "pretraining" (masked LM and next sentence), "sequence" or "token"."""
    sizes.refuse("add_cross_attention")
    _need_whole_heads(sizes, "hidden_size", "num_attention_heads")
    masked_lm = head in ("lm", "pretraining")
    labels = head in ("sequence", "token")
    return {
        **_stack(sizes),
        "T": sizes.read("T", "max_position_embeddings"),
        "S": sizes.read("S", "type_vocab_size"),
        "f": sizes.read("f", "intermediate_size"),
        "K": sizes.read("K", "num_labels") if labels else 0,
        "pooler": head in ("body", "pretraining", "sequence"),
        "masked_lm": masked_lm,
        "next_sentence": head == "pretraining",
        "labels": labels,
        "untied": masked_lm and not sizes.flag("tie_word_embeddings"),
    }


def t5(sizes: Sizes, head: str) -> Arguments:
    """`head`: "decoder" for encoder and decoder, "encoder" for the encoder alone."""
    decoder = head == "decoder"
    sizes.need(decoder or not sizes.flag("is_decoder"), "an encoder that is called a decoder")
    sizes.need(sizes.number("num_layers") > 0, "relative positions stand in the first layer, and there is none")
    L = sizes.read("L", "num_layers")
    L_dec: Any = 0
    if decoder:
        sizes.need(sizes.number("num_decoder_layers") > 0, "no decoder layer to hold the relative positions")
        alike = sizes.number("num_decoder_layers") == sizes.number("num_layers")
        L_dec = L if alike else sizes.read("L_dec", "num_decoder_layers")
    d, h = sizes.read("d", "d_model"), sizes.read("h", "num_heads")
    square = sizes.number("num_heads") * sizes.number("d_kv") == sizes.number("d_model")
    return {
        "V": sizes.read("V", "vocab_size"),
        "d": d,
        "L": L,
        "L_dec": L_dec,
        "f": sizes.read("f", "d_ff"),
        "q": d if square else h * sizes.read("d_h", "d_kv"),
        "h": h,
        "B": sizes.read("B", "relative_attention_num_buckets"),
        "gated": sizes.flag("is_gated_act"),
        "decoder": decoder,
    }


def vit(sizes: Sizes, head: str) -> Arguments:
    """`head`: "body" with its pooler, or "image" for the classifier without it."""
    d = sizes.read("d", "hidden_size")
    image, patch = _side(sizes, "image_size"), _side(sizes, "patch_size")
    sizes.need(patch > 0, "patches without pixels")
    square_pooler = sizes.number("pooler_output_size") == sizes.number("hidden_size")
    return {
        "d": d,
        "L": sizes.read("L", "num_hidden_layers"),
        "f": sizes.read("f", "intermediate_size"),
        "q": _query_and_key_widths(sizes, d, keys=None)["q"],
        "N": sizes.name("N", "(image_size // patch_size) ** 2", (image // patch) ** 2),
        "C": sizes.read("C", "num_channels"),
        "P": sizes.name("P", "patch_size", patch),
        "p": d if square_pooler else sizes.read("p", "pooler_output_size"),
        "K": sizes.read("K", "num_labels") if head == "image" else 0,
        "qkv_bias": sizes.flag("qkv_bias"),
        "pooler": head == "body",
        "labels": head == "image" and sizes.number("num_labels") > 0,
    }


_MINIGPT_NORMS = {"layernorm": (True, True), "rmsnorm": (True, False), "rmsnorm-no-weight": (False, False)}
_MINIGPT_POSITIONS = {"learned": True, "rope": False, "sinusoidal": False, "none": False}


def minigpt(sizes: Sizes, head: str) -> Arguments:
    norm, positions = sizes.value("norm"), sizes.value("position_embedding")
    sizes.need(norm in _MINIGPT_NORMS, f"a norm called {norm!r}")
    sizes.need(positions in _MINIGPT_POSITIONS, f"positions called {positions!r}")
    _need_whole_heads(sizes, "hidden_size", "num_attention_heads")
    gain, shift = _MINIGPT_NORMS[norm]
    stack = _stack(sizes)
    d = stack["d"]
    four = sizes.number("intermediate_size") == 4 * sizes.number("hidden_size")
    return {
        **stack,
        **_query_and_key_widths(sizes, d),
        "T": sizes.read("T", "max_position_embeddings"),
        "f": 4 * d if four else sizes.read("f", "intermediate_size"),
        "learned_positions": _MINIGPT_POSITIONS[positions],
        "norm_gain": gain,
        "norm_shift": shift,
        "final_norm": sizes.flag("final_norm"),
        "gated": sizes.flag("gated_mlp"),
        "qkv_bias": sizes.flag("attention_bias"),
        "output_bias": sizes.flag("attention_output_bias"),
        "mlp_bias": sizes.flag("mlp_bias"),
        "untied": _untied(sizes, head),
    }


def _stack(sizes: Sizes, layers: str = "num_hidden_layers") -> Arguments:
    """V, d and L under the names that most configs use."""
    return {
        "V": sizes.read("V", "vocab_size"),
        "d": sizes.read("d", "hidden_size"),
        "L": sizes.read("L", layers),
    }


def _untied(sizes: Sizes, head: str) -> bool:
    """Whether there is an LM head with a matrix of its own."""
    return head == "lm" and not sizes.flag("tie_word_embeddings")


def _llama_like(sizes: Sizes, head: str) -> Arguments:
    """What LLaMA's descendants share, without biases and with two norms of size d in each layer."""
    stack = _stack(sizes)
    return {
        **stack,
        **_query_and_key_widths(sizes, stack["d"]),
        "f": sizes.read("f", "intermediate_size"),
        "qkv_bias": False,
        "output_bias": False,
        "mlp_bias": False,
        "norms": 2,
        "norm": stack["d"],
        "qk_norm": 0,
        "untied": _untied(sizes, head),
    }


def _query_and_key_widths(sizes: Sizes, d: Any, keys: str | None = "num_key_value_heads") -> Arguments:
    """q and kv, the widths of all query heads and of all key heads: d where h·d_h = d, q where k = h.

    `keys` is the config field with the number of key-value heads; None: as many as query heads.
    """
    heads = sizes.number("num_attention_heads")
    h, d_h = sizes.read("h", "num_attention_heads"), _head_size(sizes)
    q = d if heads * sizes.values["d_h"] == sizes.number("hidden_size") else h * d_h
    if keys is None or sizes.number(keys) == heads:
        return {"q": q, "kv": q}
    return {"q": q, "kv": sizes.read("k", keys) * d_h}


def _head_size(sizes: Sizes) -> Any:
    """d_h: the config's head_dim where it has one, else what the hidden size gives each head."""
    if getattr(sizes.config, "head_dim", None) is not None:
        sizes.need(sizes.number("head_dim") > 0, "heads without features")
        return sizes.read("d_h", "head_dim")
    heads = sizes.number("num_attention_heads")
    sizes.need(heads > 0, "no attention heads")
    return sizes.name("d_h", "hidden_size // num_attention_heads", sizes.number("hidden_size") // heads)


def _need_whole_heads(sizes: Sizes, width: str, heads: str) -> None:
    """Where every head has d / h features, h must divide d: transformers builds no other model."""
    count = sizes.number(heads)
    sizes.need(count > 0 and sizes.number(width) % count == 0, f"{heads} does not divide {width}")


def _dense_and_expert_layers(sizes: Sizes) -> Arguments:
    """L_d and L_e: how many layers come before the first with experts, and how many have them."""
    layers, dense = sizes.number("num_hidden_layers"), sizes.number("first_k_dense_replace")
    if dense >= layers:
        return {"L_d": sizes.read("L", "num_hidden_layers"), "L_e": 0}
    if dense == 0:
        return {"L_d": 0, "L_e": sizes.read("L", "num_hidden_layers")}
    experts = sizes.name("L_e", "num_hidden_layers - first_k_dense_replace", layers - dense)
    return {"L_d": sizes.read("L_d", "first_k_dense_replace"), "L_e": experts}


def _side(sizes: Sizes, field: str) -> int:
    """The side of a square in pixels, which configs give as a number or as a pair of equal numbers."""
    value = sizes.value(field)
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise NotModelled(f"{field} is {value!r}, not the side of a square")
    return value
