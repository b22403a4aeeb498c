"""Which symbol stands for a config's field: the field's own letters where it has some, else the field's name."""

from __future__ import annotations

import re
from collections.abc import Iterable

LETTERS: dict[str, tuple[str, ...]] = {
    "V": ("vocab_size", "n_vocab", "n_words"),
    "d": ("hidden_size", "n_embd", "d_model", "embed_dim", "emb_dim", "dim", "hidden_dim", "n_embed",
          "hidden_sizes", "embed_dims"),
    "L": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_layer", "depths"),
    "h": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "k": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "d_h": ("head_dim", "d_kv", "kv_channels", "attention_head_dim", "d_head", "dim_head"),
    "f": ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size", "d_inner", "inner_dim"),
    "f_e": ("moe_intermediate_size", "expert_ffn_hidden_size", "expert_hidden_size", "expert_intermediate_size"),
    "f_s": ("shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size"),
    "E": ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"),
    "E_s": ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"),
    "K": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "moe_topk", "top_k"),
    "T": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length"),
    "S": ("type_vocab_size",),
    "B": ("relative_attention_num_buckets",),
    "C": ("num_channels", "in_channels"),
    "P": ("patch_size",),
    "H": ("image_size",),
    "r_q": ("q_lora_rank",),
    "r_kv": ("kv_lora_rank",),
    "d_n": ("qk_nope_head_dim",),
    "d_r": ("qk_rope_head_dim",),
    "d_v": ("v_head_dim",),
    "p": ("word_embed_proj_dim", "embedding_size"),
    "L_d": ("first_k_dense_replace",),
    "L_enc": ("encoder_layers", "num_encoder_layers"),
    "L_dec": ("decoder_layers", "num_decoder_layers"),
    "h_enc": ("encoder_attention_heads",),
    "h_dec": ("decoder_attention_heads",),
    "f_enc": ("encoder_ffn_dim",),
    "f_dec": ("decoder_ffn_dim",),
    "d_state": ("state_size", "ssm_state_size", "mamba_d_state", "mamba_state_dim"),
    "d_conv": ("conv_kernel", "mamba_d_conv", "linear_conv_kernel_dim"),
    "r_dt": ("time_step_rank", "mamba_dt_rank"),
}  # fmt: skip
"""Symbol -> the fields that it stands for, in the papers' and the tables' own letters."""

_LETTER_OF = {field: letter for letter, fields in LETTERS.items() for field in fields}
_SCOPES = {"encoder": "enc", "decoder": "dec"}
_RESERVED = frozenset({"math", "len", "min", "max", "sum", "range", "int", "float", "round", "all", "any", "abs", "r"})


def named(atoms: Iterable[str]) -> dict[str, str]:
    """A symbol for each of `atoms` (expressions over fields): atom -> symbol, all distinct, valid Python names.

    >>> named(["vocab_size", "vision_config.hidden_size", "(hidden_size//num_attention_heads)"])
    {'vocab_size': 'V', 'vision_config.hidden_size': 'd_vision', '(hidden_size//num_attention_heads)': 'd_h'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for atom in sorted(atoms, key=_simple_first):
        name = next(each for each in _candidates(atom, names) if each not in taken)
        names[atom] = name
        taken.add(name)
    return {atom: names[atom] for atom in atoms}


def _simple_first(atom: str) -> tuple[int, int]:
    """Plain fields before expressions of them, the language model's before the towers'."""
    plain = re.fullmatch(r"[A-Za-z_][\w.]*", atom) is not None
    return (0 if plain else 1, atom.count("."))


def _candidates(atom: str, names: dict[str, str]) -> Iterable[str]:
    base = _field_symbol(atom) if re.fullmatch(r"[A-Za-z_][\w.]*", atom) else _expression_symbol(atom, names)
    if base not in _RESERVED and not base.endswith("_x"):
        yield base
    if re.fullmatch(r"[A-Za-z_][\w.]*", atom):
        yield atom.replace(".", "_")
    number = 1
    while True:
        yield f"{base.removesuffix('_x')}_{number}"
        number += 1


def _field_symbol(path: str) -> str:
    *scopes, field = path.split(".")
    letter = _LETTER_OF.get(field, field)
    inner = [scope.removesuffix("_config") for scope in scopes if scope not in ("text_config", "llm_config")]
    return "_".join((letter, *(_SCOPES.get(scope, scope) for scope in inner)))


def _expression_symbol(atom: str, names: dict[str, str]) -> str:
    """A symbol for an expression: the head's size, a number of layers, an element of a list, else n."""
    element = re.fullmatch(r"([A-Za-z_][\w.]*)((?:\[\d+\])+)", atom)
    if element:
        return _field_symbol(element.group(1)) + element.group(2).replace("[", "_").replace("]", "")
    heads = re.fullmatch(r"\(([\w.]+)//([\w.]+)\)", atom)
    if heads and _field_symbol(heads.group(1))[0] == "d" and _field_symbol(heads.group(2))[0] == "h":
        return "d_h" + _field_symbol(heads.group(2))[1:]
    if atom.isdigit():  # how many layers of a kind there are, where the config does not tell
        return "L_x"
    kind = re.search(r"== '(\w+?)(_attention)?'", atom)
    layers = re.search(r"\b(num_hidden_layers|n_layers?|num_layers|layer_types|layers)\b", atom)
    if atom.startswith("sum(1 for") or layers:
        return f"L_{kind.group(1)}" if kind else "L_e" if re.fullmatch(r"\([\w.]+ - [\w.]+\)", atom) else "L_x"
    return "n_x"
