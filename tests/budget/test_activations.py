"""Bytes kept for the backward pass: the closed form against what autograd saves in real small models on the CPU.

What is measured comes from torch.autograd.graph.saved_tensors_hooks (see kept_by_autograd.py), real PEFT adapters and
real bitsandbytes layers; nothing of it comes from hfcount.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
import transformers
from kept_by_autograd import CORE, FAMILIES, TINY, Run, family_ids, kept_bytes, plain, smallest, trained, training_of

from hfcount.budget.activations import Setting, activations, closed_form, lab_rule, symbols_of, text_of
from hfcount.budget.activations.tape import KERNELS, Kernels

PRECISIONS: tuple[tuple[str, str | None], ...] = (
    ("float32", None),
    ("bfloat16", None),
    ("float16", None),
    ("float32", "bfloat16"),
    ("bfloat16", "bfloat16"),
)
ALL = ("all-linear",)
SOME = ("attention",)
"""The targets of an adapter on attention alone: what they are called, each family says."""
METHODS: tuple[dict[str, Any], ...] = (
    {},
    {"targets": ALL},
    {"targets": ALL, "upcast_adapters": False},
    {"targets": SOME},
    {"targets": ALL, "quantized": "raw"},
    {"targets": ALL, "quantized": "prepared"},
    {"targets": SOME, "quantized": "prepared", "upcast_adapters": False},
)


def runs(**fixed: Any) -> list[Run]:
    """All ways to train, or those with these `fixed`."""
    choices = itertools.product(PRECISIONS, ("sdpa", "eager"), METHODS, (False, True), (1, 2))
    every = [
        Run(
            weights=weights, autocast=autocast, attention=attention, checkpointing=checkpointing, batch=batch, **method
        )
        for (weights, autocast), attention, method, checkpointing, batch in choices
    ]
    return [run for run in every if all(getattr(run, name) == value for name, value in fixed.items())]


QUICK = [
    Run(weights=weights, autocast=autocast, attention=attention, batch=batch, **method)
    for (weights, autocast), attention, batch, method in zip(
        itertools.cycle(PRECISIONS),
        itertools.cycle(("sdpa", "eager", "sdpa")),
        itertools.cycle((2, 2, 1, 1)),
        METHODS * 3,
        strict=False,
    )
]
"""Every choice occurs with several others."""
FEW = [
    Run(),
    Run(weights="float32", attention="eager", batch=1),
    Run(weights="float32", autocast="bfloat16", targets=ALL),
    Run(targets=SOME, attention="eager", checkpointing=True),
    Run(targets=ALL, quantized="prepared"),
]


@pytest.fixture(autouse=True)
def _whatever_is_installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataflows are held to what is installed, whether or not a user would be told that they are."""
    if "installed" not in request.node.name:
        monkeypatch.setattr(closed_form, "other_versions", lambda: "")


def test_other_versions_than_the_installed_make_it_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "HELD_WITH", {"transformers": "1.2", "torch": torch.__version__[:4]})
    monkeypatch.setattr(closed_form, "other_versions", closed_form.other_versions.__wrapped__)
    kind, fields, _ = FAMILIES["llama"]
    found = activations(plain(kind, fields, Run()), training_of(trained(kind, fields, Run())), Run().setting)
    assert not found.exact
    assert "held to real steps with transformers 1.2, installed is 5." in found.basis
    assert "torch" not in found.basis


def check(family: str, run: Run) -> None:
    """Asserts that the closed form gives what a real model keeps."""
    kind, fields, attention = FAMILIES[family]
    if run.attention not in attention.kinds:
        pytest.skip(f"{family} has no {run.attention} attention")
    check_model(
        kind, fields, dataclasses.replace(run, targets=attention.targets if run.targets == SOME else run.targets)
    )


def check_model(kind: str, fields: dict[str, Any], run: Run) -> None:
    model = trained(kind, fields, run)
    measured = kept_bytes(model, run)
    found = activations(plain(kind, fields, run), training_of(model), run.setting)
    assert found.exact is not run.checkpointing, found.basis
    assert found.kept == measured, f"{found.kept:,} in closed form, {measured:,} kept: {found.kept - measured:+,}"


@pytest.mark.parametrize("run", QUICK, ids=str)
@pytest.mark.parametrize("family", CORE)
def test_equals_what_autograd_keeps(family: str, run: Run) -> None:
    check(family, run)


@pytest.mark.parametrize("run", runs(weights="bfloat16", autocast=None, checkpointing=True, quantized=""), ids=str)
@pytest.mark.parametrize("family", CORE)
def test_equals_what_autograd_keeps_of_checkpointed_layers(family: str, run: Run) -> None:
    check(family, run)


@pytest.mark.parametrize("run", FEW, ids=str)
@pytest.mark.parametrize("family", family_ids())
def test_families(family: str, run: Run) -> None:
    check(family, run)


@pytest.mark.slow
@pytest.mark.parametrize("family", family_ids(core=True))
def test_every_way_to_train(family: str) -> None:
    every = runs()
    for run in every[::2] if family in CORE else every[:: len(every) // 40 + 1]:
        try:
            check(family, run)
        except pytest.skip.Exception:
            continue
        except AssertionError as wrong:
            raise AssertionError(f"{family} {run}: {wrong}") from None


@pytest.mark.slow
def test_no_causal_language_model_is_wrong() -> None:
    """Every class of transformers that builds small: an estimate, or what autograd keeps."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    exact, wrong = [], {}
    for model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        kind, fields = smallest(model_type)
        if fields is None or not _said_exact(kind, fields):
            continue
        exact.append(model_type)
        for run in (Run(attention="eager"), Run(weights="float32", batch=1), Run(targets=ALL, autocast="bfloat16")):
            try:
                check_model(kind, fields, run)
            except ValueError:  # no fused attention
                continue
            except AssertionError as difference:
                wrong[model_type] = f"{run}: {difference}"
    assert not wrong
    assert len(exact) > 40


def _said_exact(kind: str, fields: dict[str, Any]) -> bool:
    run = Run(attention="eager")
    with torch.device("meta"):
        model = plain(kind, fields, run)
    if sum(each.numel() for each in model.parameters()) > 30_000_000:
        return False
    return activations(model, training_of(model), run.setting).exact


def whole(kind: str, run: Run, **fields: Any) -> Any:
    """The closed form of full fine-tuning."""
    model = plain(kind, {**TINY, **fields}, run)
    return activations(model, training_of(model), run.setting)


def test_llama_layer_by_hand() -> None:
    """One LLaMA layer in bf16, all trained, fused attention, every head with keys of its own; T = b·s tokens:

    1. input norm: its input in fp32, 4Td, 1/rms in fp32, 4T, and what its scale multiplies, 2Td
    2. queries, keys, values: one input, 2Td
    3. attention: q, k, v, and the result, which is the output projection's input, 4·2Td; a log-sum a head, 4Th
    4. second norm: 4Td + 4T + 2Td
    5. gate and up: one input, 2Td; silu's input, 2Tf; both factors of the product, 4Tf; the down input, 2Tf

    In all 24Td + 8Tf + 4Th + 8T. Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, count 34·s·b·h + 5·a·s²·b
    for a GPT layer with a 4d-wide MLP, dropout and attention written out.
    """
    d, f, h, tokens = 64, 96, 8, 2 * 24
    found = whole("LlamaConfig", Run(), num_key_value_heads=h)
    (kind,) = found.kinds
    assert kind.count == 2
    assert kind.terms.value({**found.sizes, **kind.sizes}) == tokens * (24 * d + 8 * f + 4 * h + 8)
    assert kind.terms.text == "8*b*s + 4*b*s*h + 8*b*s*h*d_h + 16*b*s*d + 8*b*s*f"


def test_what_stands_around_llama_layers_by_hand() -> None:
    """Token indices 8T; two rotary tables of 2·s·d_h; last norm 4Td + 4T + 2Td; the head's input 2Td; log-
    probabilities in fp32 4TV, labels 8T, and the number of them, 4."""
    d, head, vocabulary, seq, tokens = 64, 8, 128, 24, 2 * 24
    found = whole("LlamaConfig", Run())
    by_hand = 8 * tokens + 4 * seq * head + tokens * (8 * d + 4) + 4 * tokens * vocabulary + 8 * tokens + 4
    assert found.outside.value(found.sizes) == by_hand


@pytest.mark.parametrize(("weights", "width"), [("float32", 4), ("bfloat16", 2)])
def test_a_layer_that_is_run_again_by_hand(weights: str, width: int) -> None:
    """Held then: token indices 8T, each layer's input, the rotary tables, and one layer's own. In fp32 the first norm
    keeps the layer's input itself, which is held already."""
    d, head, seq, tokens = 64, 8, 24, 48
    plainly, again = (whole("LlamaConfig", Run(weights=weights, checkpointing=each)) for each in (False, True))
    (layer,) = plainly.kinds
    own = layer.terms.value({**plainly.sizes, **layer.sizes}) - (4 * tokens * d if weights == "float32" else 0)
    assert again.recomputed == 8 * tokens + 2 * width * tokens * d + 2 * width * seq * head + own


def test_a_frozen_base_keeps_less_but_not_little() -> None:
    """LoRA on queries and values in bf16 with fp32 adapters: a norm no longer keeps what it scales, a frozen matrix
    not its input; an adapter keeps its input in fp32, 4Td once a matrix, and its inner product, 4Tr."""
    run = Run(targets=("q_proj", "v_proj"))
    full, lora = (
        activations(plain("LlamaConfig", TINY, run), training_of(trained("LlamaConfig", TINY, each)), run.setting)
        for each in (dataclasses.replace(run, targets=()), run)
    )
    d, f, tokens, rank = 64, 96, 48, 4
    last = [each.terms.value({**found.sizes, **each.sizes}) for found in (full, lora) for each in found.kinds[-1:]]
    frozen = tokens * (2 * d + 2 * d + 2 * d + 2 * d + 2 * f)  # two norms' scaled inputs, q's and gate's input, down's
    adapters = tokens * 2 * (4 * d + 4 * rank)
    assert last[0] - last[1] == frozen - adapters


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", family_ids(core=True))
def test_the_text_is_the_figure(family: str, checkpointing: bool) -> None:
    kind, fields, attention = FAMILIES[family]
    run = Run(checkpointing=checkpointing, attention=attention.kinds[0])
    model = plain(kind, fields, run)
    found = activations(model, training_of(model), run.setting)
    assert eval(text_of(found), {"__builtins__": {}}, dict(symbols_of(found))) == found.kept


def test_an_unknown_layer_gives_an_estimate_that_names_it() -> None:
    model = plain("LlamaConfig", TINY, Run())
    model.model.layers[1].extra = torch.nn.Linear(64, 64)
    found = activations(model, training_of(model), Run().setting)
    assert not found.exact
    assert found.basis.startswith("estimate: no dataflow is known for LlamaDecoderLayer;")
    assert found.kept > 0
    assert text_of(found) == ""


def test_code_that_came_with_a_checkpoint_gives_an_estimate() -> None:
    class OwnLayer(transformers.models.llama.modeling_llama.LlamaDecoderLayer):
        pass

    model = plain("LlamaConfig", TINY, Run())
    model.model.layers[0] = OwnLayer(model.config, 0)
    found = activations(model, training_of(model), Run().setting)
    assert not found.exact
    assert "OwnLayer" in found.basis


@pytest.mark.parametrize(
    ("kind", "fields", "run", "reason"),
    [
        ("MistralConfig", {"sliding_window": 24}, Run(), "a sliding window of 24 tokens"),
        ("MixtralConfig", {"output_router_logits": True}, Run(), "output_router_logits"),
        ("MixtralConfig", {"router_jitter_noise": 0.1}, Run(), "router_jitter_noise"),
        ("LlamaConfig", {"hidden_act": "mish"}, Run(), "MishActivation"),
        ("OlmoConfig", {"clip_qkv": 8.0}, Run(), "clip_qkv"),
        ("OPTConfig", {"do_layer_norm_before": False, "ffn_dim": 96, "word_embed_proj_dim": 64}, Run(), "OPTDecoder"),
        ("OPTConfig", {"layerdrop": 0.1, "ffn_dim": 96, "word_embed_proj_dim": 64}, Run(), "layerdrop"),
        ("OPTConfig", {"ffn_dim": 96, "word_embed_proj_dim": 32}, Run(), "OPTDecoder"),
        ("GPT2Config", {"reorder_and_upcast_attn": True}, Run(attention="eager"), "reorder_and_upcast_attn"),
        ("StableLmConfig", {"qk_layernorm": True}, Run(), "StableLmLayerNormPerHead"),
    ],
)
def test_what_no_dataflow_has_is_an_estimate(kind: str, fields: dict[str, Any], run: Run, reason: str) -> None:
    found = whole(kind, run, **fields)
    assert not found.exact
    assert f"no dataflow is known for {reason}" in found.basis


def test_devices_differ_in_kernels_alone() -> None:
    names = {each.name for each in dataclasses.fields(Kernels)} - {"name"}
    assert names == {"mask", "stats", "fused_dropout", "wide_autocast", "wide_deltas"}
    for run in (Run(), Run(weights="float32", autocast="bfloat16"), Run(attention="eager", checkpointing=True)):
        model = plain("LlamaConfig", TINY, run)  # no dropout, no LayerNorm, no power under autocast, no wrapped weight
        cpu, cuda = (
            activations(model, training_of(model), dataclasses.replace(run.setting, device=device)).kept
            for device in ("cpu", "cuda")
        )
        assert cpu == cuda


def test_gpt2_on_cuda_by_hand() -> None:
    """GPT-2 in bf16 on CUDA, T tokens, against the CPU: masks take a byte, not two, for embeddings and two branches a
    layer; LayerNorm's two numbers a row are fp32, 4 bytes more, two norms a layer and one at the end; attention is
    fused although it drops, 4·2Td + 4Th a layer with 3·2Td of it in one storage, in place of q, k and v in fp32, 12Td,
    and three score matrices in fp32, 12·T·s·h, beside the output projection's input, 2Td, and q, k and v themselves,
    which nothing else keeps."""
    run = Run()
    model = plain("GPT2Config", FAMILIES["gpt2"][1], run)
    cpu, cuda = (
        activations(model, training_of(model), dataclasses.replace(run.setting, device=device)).kept
        for device in ("cpu", "cuda")
    )
    d, h, seq, tokens, layers = 64, 8, 24, 48, 2
    masks = tokens * d * (1 + 2 * layers)
    stats = 4 * tokens * (1 + 2 * layers)
    attention = layers * (tokens * (12 * d + 12 * seq * h + 2 * d) - tokens * (8 * d + 4 * h))
    assert cpu - cuda == masks - stats + attention
    assert KERNELS["cuda"].fused_dropout
    assert not KERNELS["cpu"].fused_dropout


def test_lab_rule() -> None:
    config = plain("LlamaConfig", TINY, Run()).config
    assert lab_rule(config, Setting(batch=2, seq=24)) == 2 * 24 * 64 * 2 * 16
    assert lab_rule(object(), Setting(batch=2, seq=24)) is None
