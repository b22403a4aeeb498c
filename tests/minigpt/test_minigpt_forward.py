"""What Mini-GPT computes: against Llama and GPT-2 of transformers, against the papers, and against itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from minigpt_models import VARIANTS, small, tokens
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, StaticCache

from hfcount.minigpt import modeling_minigpt

EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
LENGTH, PADDING = 9, 4


def same(got: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-5) -> None:
    """Equal up to rounding, relative to the largest number; far apart in nothing."""
    distance = (got - expected).abs().max() / expected.abs().max()
    assert distance < tolerance, f"differ by {distance:.2e} of the largest value"


def padded_left(ids: torch.Tensor, by: int = PADDING) -> dict[str, torch.Tensor]:
    """The ids with `by` arbitrary tokens before them, and the mask that hides those."""
    junk = tokens(ids.shape[0], by, seed=11)
    mask = torch.cat((torch.zeros_like(junk), torch.ones_like(ids)), dim=1)
    return {"input_ids": torch.cat((junk, ids), dim=1), "attention_mask": mask}


@pytest.mark.parametrize(("key_value_heads", "biases"), [(4, False), (2, True), (1, False)])
@torch.no_grad()
def test_computes_what_llama_computes(key_value_heads: int, biases: bool) -> None:
    sizes: dict[str, Any] = {"num_key_value_heads": key_value_heads, "attention_bias": biases, "mlp_bias": biases}
    model = small(hidden_act="silu", gated_mlp=True, attention_output_bias=biases, **sizes)
    config = LlamaConfig(
        vocab_size=48, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=32, tie_word_embeddings=True, **sizes,
    )  # fmt: skip
    llama = LlamaForCausalLM(config).eval()
    llama.load_state_dict(model.state_dict(), strict=True)
    ids = tokens(3, LENGTH)
    same(model(ids).logits, llama(ids).logits)


def as_gpt2(weights: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """Mini-GPT's weights under GPT-2's names: its linear layers are transposed, and q, k and v are one of them."""
    named = {
        "transformer.wte.weight": weights["model.embed_tokens.weight"],
        "transformer.wpe.weight": weights["model.embed_positions.weight"],
        "lm_head.weight": weights["lm_head.weight"],
    }
    blocks = {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.o_proj": "attn.c_proj"}
    norms = {"input_layernorm": "ln_1", "post_attention_layernorm": "ln_2"}
    for kind in ("weight", "bias"):
        named[f"transformer.ln_f.{kind}"] = weights[f"model.norm.{kind}"]
        for i in range(layers):
            own, theirs = f"model.layers.{i}", f"transformer.h.{i}"
            joined = torch.cat([weights[f"{own}.self_attn.{part}_proj.{kind}"] for part in "qkv"])
            named[f"{theirs}.attn.c_attn.{kind}"] = joined.T
            named |= {f"{theirs}.{new}.{kind}": weights[f"{own}.{old}.{kind}"].T for old, new in blocks.items()}
            named |= {f"{theirs}.{new}.{kind}": weights[f"{own}.{old}.{kind}"] for old, new in norms.items()}
    return named


@pytest.mark.filterwarnings("ignore:The use of `x.T`")  # of a bias, where it changes nothing
@torch.no_grad()
def test_computes_what_gpt2_computes() -> None:
    model = small(norm_eps=1e-5, **VARIANTS["learned-layernorm-biases"])
    config = GPT2Config(
        vocab_size=48, n_embd=32, n_layer=2, n_head=4, n_positions=32, activation_function="gelu",
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    gpt2 = GPT2LMHeadModel(config).eval()
    gpt2.load_state_dict(as_gpt2(model.state_dict(), layers=2), strict=True)
    ids = tokens(3, LENGTH)
    same(model(ids).logits, gpt2(ids).logits)


def test_the_sinusoids_are_those_of_the_paper() -> None:
    """Vaswani et al. 2017, section 3.5: sin and cos of t / 10000^(2i/d); there in turn, here in halves."""
    table = small(position_embedding="sinusoidal").model.embed_positions(torch.arange(32))
    for t in (0, 1, 31):
        angles = [t / 10_000 ** (2 * i / 32) for i in range(16)]
        same(table[t], torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles]))


def test_the_activations_are_what_their_names_say() -> None:
    written = {
        "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,  # Hendrycks and Gimpel 2016
        "relu": lambda x: max(x, 0.0),
        "relu2": lambda x: max(x, 0.0) ** 2,  # So et al. 2021
        "silu": lambda x: x / (1 + math.exp(-x)),
    }
    points = [-3.0, -0.5, 0.0, 0.7, 2.0]
    for name, function in written.items():
        for gated in (False, True):
            mlp = small(hidden_act=name, gated_mlp=gated).model.layers[0].mlp
            same(mlp.activation_fn(torch.tensor(points)), torch.tensor([function(x) for x in points]))


@torch.no_grad()
def test_the_attention_is_told_the_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flash attention, which these tests cannot run, tells packed texts apart by the position_ids it is handed."""
    told, ids, eager = [], tokens(1, LENGTH), modeling_minigpt.eager_attention_forward

    def record(*arguments: Any, **options: Any) -> Any:
        told.append(options["position_ids"])
        return eager(*arguments, **options)

    monkeypatch.setattr(modeling_minigpt, "eager_attention_forward", record)
    small()(ids)
    assert [positions.tolist() for positions in told] == [[list(range(LENGTH))]] * 2  # one for each layer


@torch.no_grad()
def test_without_positions_one_layer_sees_a_set() -> None:
    """Causal attention of one layer sums over what came before: its order shows only if positions are told."""
    ids = tokens(1, LENGTH)
    shuffled = torch.cat((ids[:, :-1].flip(1), ids[:, -1:]), dim=1)
    for kind in ("none", "rope", "learned", "sinusoidal"):
        model = small(position_embedding=kind, num_hidden_layers=1)
        blind = torch.allclose(model(ids).logits[:, -1], model(shuffled).logits[:, -1], atol=1e-4)
        assert blind == (kind == "none"), kind


@EVERY_VARIANT
@torch.no_grad()
def test_no_token_sees_a_later_one(variant: dict[str, Any]) -> None:
    model, ids = small(**variant), tokens(1, LENGTH)
    changed = ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 48
    before, after = model(ids).logits, model(changed).logits
    same(after[:, :5], before[:, :5])
    assert not torch.allclose(after[:, 5:], before[:, 5:], atol=1e-2)


@EVERY_VARIANT
@torch.no_grad()
def test_left_padding_does_not_change_logits(variant: dict[str, Any]) -> None:
    for attention in ("eager", "sdpa"):
        model, ids = small(attn_implementation=attention, **variant), tokens(2, LENGTH)
        alone, padded = model(ids).logits, padded_left(ids)
        same(model(**padded).logits[:, PADDING:], alone)
        assert not torch.allclose(model(padded["input_ids"]).logits[:, PADDING:], alone, atol=1e-2), "mask unneeded?"


@EVERY_VARIANT
@torch.no_grad()
def test_a_cache_changes_nothing_even_behind_padding(variant: dict[str, Any]) -> None:
    model, ids = small(**variant), tokens(2, LENGTH)
    full, padded = model(ids).logits, padded_left(ids)
    cache, logits = None, []
    for start, stop in ((0, PADDING + 3), (PADDING + 3, PADDING + 4), (PADDING + 4, PADDING + LENGTH)):
        mask = padded["attention_mask"][:, :stop]
        out = model(padded["input_ids"][:, start:stop], attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        logits.append(out.logits)
    assert cache is not None
    assert cache.get_seq_length() == PADDING + LENGTH
    same(torch.cat(logits, dim=1)[:, PADDING:], full)


@EVERY_VARIANT
@torch.no_grad()
def test_eager_is_sdpa(variant: dict[str, Any]) -> None:
    eager, sdpa = small(**variant), small(attn_implementation="sdpa", **variant)
    assert (eager.config._attn_implementation, sdpa.config._attn_implementation) == ("eager", "sdpa")
    ids = tokens(2, LENGTH)
    same(sdpa(ids).logits, eager(ids).logits)
    padded = padded_left(ids)
    same(sdpa(**padded).logits[:, PADDING:], eager(**padded).logits[:, PADDING:])


@EVERY_VARIANT
@torch.no_grad()
def test_texts_packed_into_one_row_do_not_see_each_other(variant: dict[str, Any]) -> None:
    model = small(attn_implementation="sdpa", **variant)
    first, second = tokens(1, 5), tokens(1, 7, seed=4)
    positions = torch.cat((torch.arange(5), torch.arange(7)))[None]
    packed = model(torch.cat((first, second), dim=1), position_ids=positions, use_cache=False).logits
    same(packed, torch.cat((model(first).logits, model(second).logits), dim=1))


def generate(model: Any, **options: Any) -> list[list[int]]:
    """The tokens that greedy generation adds, row by row."""
    new = model.generate(**options, max_new_tokens=12, do_sample=False, pad_token_id=0)
    return new[:, options["input_ids"].shape[1] :].tolist()


@EVERY_VARIANT
def test_generation_is_the_same_with_and_without_cache_padding_and_sdpa(variant: dict[str, Any]) -> None:
    model, ids = small(**variant), tokens(2, LENGTH)
    plain = generate(model, input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    assert len({tuple(row) for row in plain}) == 2, "both rows alike: too little to tell anything"
    by_hand = ids
    for _ in range(12):
        by_hand = torch.cat((by_hand, model(by_hand).logits[:, -1:].argmax(-1)), dim=1)
    assert plain == by_hand[:, LENGTH:].tolist()
    assert generate(model, input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True) == plain
    assert generate(model, **padded_left(ids), use_cache=True) == plain
    assert generate(model, **padded_left(ids), use_cache=False) == plain
    sdpa = small(attn_implementation="sdpa", **variant)
    assert generate(sdpa, **padded_left(ids)) == plain
    assert generate(sdpa, **padded_left(ids), cache_implementation="static") == plain


@torch.no_grad()
def test_a_static_cache_fits() -> None:
    model, ids = small(), tokens(1, LENGTH)
    cache = StaticCache(config=model.config, max_cache_len=16)
    first = model(ids[:, :6], past_key_values=cache).logits
    rest = model(ids[:, 6:], past_key_values=cache).logits
    same(torch.cat((first, rest), dim=1), model(ids).logits)


@torch.no_grad()
def test_what_a_call_can_ask_for() -> None:
    model, ids = small(), tokens(2, LENGTH)
    out = model(ids, output_hidden_states=True, output_attentions=True)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, LENGTH, 32)] * 3  # the embedding and two layers
    for weights in out.attentions:
        same(weights.sum(-1), torch.ones(2, 4, LENGTH))
        assert weights.triu(1).abs().max() == 0
    same(model(ids, logits_to_keep=2).logits, out.logits[:, -2:])
    same(model(ids, logits_to_keep=torch.tensor([0, 4])).logits, out.logits[:, [0, 4]])
    same(model(inputs_embeds=model.model.embed_tokens(ids)).logits, out.logits)
    same(model(ids, return_dict=False)[0], out.logits)
    assert model(ids, use_cache=False).past_key_values is None
    for wrong in ({}, {"input_ids": ids, "inputs_embeds": model.model.embed_tokens(ids)}):
        with pytest.raises(ValueError, match="exactly one"):
            model(**wrong)


@torch.no_grad()
def test_the_loss_is_the_mean_surprise_of_the_next_token() -> None:
    model, ids = small(), tokens(2, LENGTH)
    labels = ids.clone()
    labels[0, :4] = -100  # not counted
    surprise = [
        -math.log(torch.softmax(model(ids).logits[row, at].double(), dim=0)[ids[row, at + 1]].item())
        for row in range(2)
        for at in range(LENGTH - 1)
        if labels[row, at + 1] != -100
    ]
    loss = model(ids, labels=labels).loss.item()
    assert loss == pytest.approx(sum(surprise) / len(surprise), rel=1e-5)
