"""LoRA's closed form and count, held against derivations by hand and against PEFT's own count."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from hfcount.configs import load_config
from hfcount.lora import LoraCount, LoraOptions, count_lora
from hfcount.skeleton import build_empty, build_skeleton
from hfcount.sources import resolve

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def card(name: str) -> Callable[[], PreTrainedModel]:
    return lambda: build_skeleton(load_config(resolve(f"card:{name}"))).model


def made(class_name: str, **fields: Any) -> Callable[[], PreTrainedModel]:
    model_class = getattr(transformers, class_name)
    return lambda: build_empty(model_class, model_class.config_class(**fields), where=class_name)


def count(build: Callable[[], PreTrainedModel], **asked: Any) -> LoraCount:
    (result,) = count_lora(build, [LoraOptions(**asked)])
    assert result.matches, f"form {result.formula_value}, attached {result.trainable}: {result.formula}"
    assert eval(result.formula, {"r": asked["r"]}) == result.formula_value
    return result


def peft_count(build: Callable[[], PreTrainedModel], **settings: Any) -> tuple[int, int]:
    """PEFT's own (trainable, all)."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(build(), LoraConfig(**settings), low_cpu_mem_usage=True).get_nb_trainable_parameters()


def test_gpt2_as_published() -> None:
    result = count(card("gpt2"), r=8)
    assert result.targets == ("c_attn",)
    assert (result.trainable, result.all) == (294_912, 124_734_720)
    assert f"{result.trainable_percent:.4f}" == "0.2364"
    assert result.formula == "12*r*(768 + 2304)"
    assert f"{result.unreached_share:.4f}" == "0.8294"
    assert result.unreached_share == pytest.approx(1 - 12 * 768 * 2304 / 124_439_808)


def test_llama_7b_query_and_value() -> None:
    """32 layers, q and v of 4096 x 4096 each: 32 · 2 · 8 · 8192 (Hu et al. 2021, section 4.1)."""
    result = count(card("llama-7b"), r=8)
    assert result.targets == ("q_proj", "v_proj")
    assert result.trainable == 4_194_304
    assert result.all == 6_738_415_616 + 4_194_304
    assert result.unreached_share == pytest.approx(1 - 64 * 4096 * 4096 / 6_738_415_616)


def test_every_rank_is_counted_on_a_fresh_model() -> None:
    results = count_lora(card("gpt2"), [LoraOptions(r=r) for r in (1, 4, 16)])
    assert [each.trainable for each in results] == [36_864 * r for r in (1, 4, 16)]
    assert [each.all for each in results] == [124_439_808 + 36_864 * r for r in (1, 4, 16)]


@pytest.mark.parametrize(
    ("targets", "trainable"),
    [
        ("all-linear", 12 * 8 * (768 + 2304 + 768 + 768 + 2 * (768 + 3072))),
        ("attention", 12 * 8 * (768 + 2304 + 768 + 768)),
        ("mlp", 12 * 8 * 2 * (768 + 3072)),
        ("c_proj", 12 * 8 * (768 + 768 + 3072 + 768)),
        ("attn.c_proj", 12 * 8 * (768 + 768)),
        ("c_fc, mlp.c_proj", 12 * 8 * 2 * (768 + 3072)),
    ],
)
def test_gpt2_by_targets(targets: str, trainable: int) -> None:
    assert count(card("gpt2"), r=8, targets=targets).trainable == trainable


def mixtral_all_linear(*, d: int, f: int, kv: int, E: int, L: int, r: int) -> int:
    """All-linear on Mixtral: q, k, v, o; then E·[2r(d + 2f) + r(f + d)] for the fused experts and r(d + E)."""
    attention = r * (2 * (d + d) + 2 * (d + kv))
    return L * (attention + E * (2 * r * (d + 2 * f) + r * (f + d)) + r * (d + E))


@pytest.mark.parametrize("rank", [1, 8])
def test_mixtral_all_linear(rank: int) -> None:
    result = count(card("mistralai/Mixtral-8x7B-v0.1"), r=rank, targets="all-linear")
    by_hand = mixtral_all_linear(d=4096, f=14336, kv=1024, E=8, L=32, r=rank)
    assert result.trainable == by_hand == 22_479_104 * rank
    assert result.targets == ("down_proj", "gate", "gate_up_proj", "k_proj", "o_proj", "q_proj", "v_proj")
    # No adapter reaches the embedding, the head and the norms.
    unreached = 2 * 32_000 * 4096 + (2 * 32 + 1) * 4096
    assert result.unreached_share == pytest.approx(unreached / 46_702_792_704)


def test_qwen3_moe_all_linear() -> None:
    """48 layers, d 2048, q of 32 and k, v of 4 heads of 128, 128 experts of width 768."""
    d, q, kv, f, E, r = 2048, 4096, 512, 768, 128, 4
    attention = r * (2 * (d + q) + 2 * (d + kv))
    by_hand = 48 * (attention + E * (2 * r * (d + 2 * f) + r * (f + d)) + r * (d + E))
    assert count(card("Qwen/Qwen3-30B-A3B"), r=r, targets="all-linear").trainable == by_hand


def test_deepseek_v3_all_linear_passes_over_dense_and_shared_mlps() -> None:
    """PEFT reads gate_proj, up_proj, down_proj as the fused experts, so modules of these names get nothing."""
    build = made(
        "DeepseekV3ForCausalLM",
        **{**SMALL, "num_key_value_heads": 4},
        n_routed_experts=4,
        moe_intermediate_size=48,
        first_k_dense_replace=1,
        n_group=1,
        topk_group=1,
    )
    result = count(build, r=2, targets="all-linear")
    attention = 64 + 1536 + 1536 + 768 + 64 + 576 + 512 + 1024 + 512 + 64
    experts = 4 * (2 * (64 + 2 * 48) + (48 + 64)) + 64 + 4
    assert result.trainable == 2 * (2 * attention + experts)
    reached = 2 * (64 * 1536 + 1536 * 768 + 64 * 576 + 512 * 1024 + 512 * 64) + 4 * 3 * 64 * 48 + 4 * 64
    total = result.all - result.trainable
    assert result.unreached_share == pytest.approx(1 - reached / total)


@pytest.mark.parametrize("class_name", ["GptOssForCausalLM", "GraniteMoeForCausalLM"])
def test_mixtures_whose_experts_all_linear_does_not_reach(class_name: str) -> None:
    build = made(class_name, **SMALL, num_local_experts=4, **({"head_dim": 16} if "Oss" in class_name else {}))
    attention_only = 2 * 8 * (2 * (64 + 64) + 2 * (64 + 32))
    assert count(build, r=8, targets="all-linear").trainable == attention_only
    assert count(build, r=8, targets="attention").trainable == attention_only
    # Named as parameters, or as the MLP, they are reached: at rank r, since nobody asked for the two halves apart.
    experts = 2 * 4 * 8 * ((64 + 2 * 96) + (96 + 64))
    assert count(build, r=8, targets=(), target_parameters=("gate_up_proj", "down_proj")).trainable == experts
    mlp = count(build, r=8, targets="mlp")
    assert (mlp.trainable, mlp.targets) == (experts, ("down_proj", "gate_up_proj"))


def test_gpt_oss_20b_leaves_its_experts() -> None:
    result = count(card("gpt-oss-20b"), r=8, targets="all-linear")
    assert result.trainable == 24 * 8 * (2 * (2880 + 4096) + 2 * (2880 + 512))
    assert result.unreached_share == pytest.approx(1 - 24 * 2880 * (2 * 4096 + 2 * 512) / 20_914_757_184)


def test_old_names_of_mixtral_experts() -> None:
    build = made("MixtralForCausalLM", **SMALL, num_local_experts=4)
    result = count(build, r=4, targets="w1,w2,w3")
    assert result.formula == "2*4*2*r*(64 + 192) + 2*4*r*(96 + 64)"


def test_tied_embedding_as_target() -> None:
    """Of V x d = 50,257 x 768, the adapter of the embedding and the adapter of the head are two, unless tied."""
    one = 8 * (50_257 + 768)
    assert count(card("gpt2"), r=8, targets="wte").trainable == one
    assert count(card("gpt2"), r=8, targets="lm_head").trainable == one
    assert count(card("gpt2"), r=8, targets="wte,lm_head").trainable == 2 * one
    tied = count(card("gpt2"), r=8, targets="wte,lm_head", ensure_weight_tying=True)
    assert (tied.trainable, tied.all) == (one, 124_439_808 + one)
    assert tied.unreached_share == pytest.approx(1 - 50_257 * 768 / 124_439_808)
    # The head's adapter is a view of the embedding's, and PEFT's own total counts it again.
    printed = peft_count(card("gpt2"), r=8, target_modules=["wte", "lm_head"], ensure_weight_tying=True)
    assert printed == (2 * one, 124_439_808 + 2 * one)


def test_tied_adapter_shares_its_memory() -> None:
    """Why it counts once: on a real model, too, the head's B is the embedding's A, transposed, in the same memory."""
    from peft import LoraConfig, get_peft_model

    base = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20))
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["wte", "lm_head"], ensure_weight_tying=True))
    embedding, head = base.transformer.wte, base.lm_head
    assert head.lora_B["default"].weight.data_ptr() == embedding.lora_embedding_A["default"].data_ptr()
    assert head.lora_A["default"].weight.data_ptr() == embedding.lora_embedding_B["default"].data_ptr()
    assert model.get_nb_trainable_parameters()[0] == 2 * 2 * (20 + 8)


def test_tied_module_to_save_is_copied_for_each_name() -> None:
    lora, table = 36_864 * 4, 50_257 * 768
    assert count(card("gpt2"), r=4, modules_to_save=("wte",)).trainable == lora + table
    assert count(card("gpt2"), r=4, modules_to_save=("wte", "lm_head")).trainable == lora + 2 * table
    tied = count(card("gpt2"), r=4, modules_to_save=("wte", "lm_head"), ensure_weight_tying=True)
    assert tied.trainable == lora + table


def test_dora_adds_a_number_per_output() -> None:
    assert count(card("gpt2"), r=8, use_dora=True).trainable == 294_912 + 12 * 2304
    embedding = count(card("gpt2"), r=8, targets="wte", use_dora=True)
    assert embedding.trainable == 8 * (50_257 + 768) + 768


def test_biases() -> None:
    every = 12 * (2304 + 768 + 3072 + 768 + 2 * 768) + 768
    assert count(card("gpt2"), r=8, bias="lora_only").trainable == 294_912 + 12 * 2304
    assert count(card("gpt2"), r=8, bias="all").trainable == 294_912 + every


def test_rank_pattern() -> None:
    result = count(card("gpt2"), r=8, targets="all-linear", rank_pattern={r"h\.0\.attn\.c_attn": 2, "c_fc": 3})
    assert result.trainable == (2 + 11 * 8) * 3072 + 12 * 8 * (768 + 768 + 3840) + 12 * 3 * 3840


def test_convolutions_with_and_without_groups() -> None:
    """Wav2Vec2's positional convolution: 768 channels in 16 groups, kernel 128, weight-normed; A has one group."""
    build = made("Wav2Vec2ForCTC")
    layers = 16 * ((1 * 10 + 512) + 4 * (512 * 3 + 512) + 2 * (512 * 2 + 512))
    assert count(build, r=16, targets="conv").trainable == layers + 16 * 768 * 128 + 768
    patches = count(made("ViTForImageClassification"), r=4, targets="projection")
    assert patches.formula == "r*(768 + 768)"  # 3 colours of 16 x 16


def test_multihead_attention_has_two_matrices() -> None:
    result = count(made("SiglipModel"), r=4, targets="head.attention")
    assert result.trainable == 4 * ((768 + 3 * 768) + (768 + 768))


def test_a_new_head_is_trained_as_a_copy() -> None:
    result = count(made("BertForSequenceClassification", num_labels=3), r=8)
    assert result.trainable == 24 * 8 * 1536 + 3 * 769
    assert result.formula == "24*r*(768 + 768) + 2304 + 3"


def test_attention_of_an_encoder_decoder_is_in_both() -> None:
    """T5-small as the class makes it: 6 encoder and 6 + 6 decoder attentions of q, k, v, o, 512 x 512 each."""
    assert count(made("T5ForConditionalGeneration"), r=4, targets="attention").trainable == 18 * 4 * 4 * 1024


ranks = st.integers(1, 40)
heads = st.sampled_from([(1, 1), (2, 1), (4, 2), (4, 4)])


@settings(max_examples=25, deadline=None)
@given(
    rank=ranks,
    dims=st.tuples(st.integers(1, 8), st.integers(3, 50), st.integers(1, 3)),
    head=heads,
    targets=st.sampled_from([("q_proj",), ("k_proj", "o_proj"), ("gate_proj", "down_proj"), "all-linear"]),
    tied=st.booleans(),
)
def test_llama_agrees_with_peft(
    rank: int, dims: tuple[int, int, int], head: tuple[int, int], targets: Any, tied: bool
) -> None:
    build = made(
        "LlamaForCausalLM",
        **{
            **SMALL,
            "hidden_size": 8 * dims[0] * head[0],
            "intermediate_size": dims[1],
            "num_hidden_layers": dims[2],
            "num_attention_heads": head[0],
            "num_key_value_heads": head[1],
            "tie_word_embeddings": tied,
        },
    )
    result = count(build, r=rank, targets=targets)
    names = targets if isinstance(targets, str) else list(targets)
    assert (result.trainable, result.all) == peft_count(build, r=rank, target_modules=names, task_type="CAUSAL_LM")
    d, kv, f = 8 * dims[0] * head[0], 8 * dims[0] * head[1], dims[1]
    sides = {"q_proj": d + d, "k_proj": d + kv, "v_proj": d + kv, "o_proj": d + d}
    sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), d + f)
    chosen = sides if targets == "all-linear" else targets
    assert result.trainable == dims[2] * rank * sum(sides[name] for name in chosen)


@settings(max_examples=20, deadline=None)
@given(
    rank=ranks,
    width=st.integers(1, 12),
    layers=st.integers(1, 3),
    targets=st.sampled_from([("c_attn",), ("c_proj",), ("c_fc", "wte"), ("lm_head",), "all-linear"]),
    bias=st.sampled_from(["none", "all", "lora_only"]),
    use_dora=st.booleans(),
)
def test_gpt2_agrees_with_peft(rank: int, width: int, layers: int, targets: Any, bias: str, use_dora: bool) -> None:
    build = made("GPT2LMHeadModel", n_embd=2 * width, n_head=2, n_layer=layers, vocab_size=60, n_positions=7)
    result = count(build, r=rank, targets=targets, bias=bias, use_dora=use_dora)
    asked = {"target_modules": targets if isinstance(targets, str) else list(targets)}
    expected = peft_count(build, r=rank, task_type="CAUSAL_LM", bias=bias, use_dora=use_dora, **asked)
    assert (result.trainable, result.all) == expected
