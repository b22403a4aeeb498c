"""FlashAttention: what it keeps and takes, by hand from flash_attn's own source, and what refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from small_benches import bench_of, run_of, wished

import hfcount
from hfcount.errors import BadInput
from hfcount.simulation.faking import without_memory
from hfcount.simulation.flash_attn import flash_attn_func, flash_attn_varlen_func, stand_in
from hfcount.simulation.ledger import Ledger
from hfcount.simulation.plan import values_of
from hfcount.simulation.simulate import simulate
from hfcount.simulation.step import CUDA_TRANSIENTS, TRANSIENTS
from hfcount.simulation.steps import steps_of

A100 = (8, 0)
FLASH = "flash_attention_2"
ROWS, TOKENS, HEADS, GROUPS = 2, 200, 4, 2


def ledger_of(run: Any) -> Ledger:
    """The storages that `run` makes on an A100."""
    transients = TRANSIENTS | CUDA_TRANSIENTS
    with without_memory(A100), Ledger(device="cuda", transients=transients) as ledger, torch.device("cuda"):
        run(ledger)
    return ledger


def made(width: int, heads: int) -> torch.Tensor:
    return torch.empty(ROWS, TOKENS, heads, width, dtype=torch.bfloat16, requires_grad=True)


@pytest.mark.parametrize(("width", "padded", "summed"), [(64, 64, 64), (80, 80, 96), (20, 24, 32), (160, 160, 192)])
def test_the_bytes_of_its_source(width: int, padded: int, summed: int) -> None:
    """By hand from flash_attn 2.8.

    FlashAttnFunc.forward pads heads to a multiple of 8 and saves q, k, v, out_padded, softmax_lse (fp32, batch x heads
    x tokens) and rng_state (two int64). mha_bwd allocates softmax_d (fp32, tokens padded to 128), dq_accum (fp32,
    heads' width padded to 32, beyond 128 to 64), and dk, dv for all heads where keys have fewer.
    """
    alive: list[int] = []

    def run(ledger: Ledger) -> None:
        q, k, v = made(width, HEADS), made(width, GROUPS), made(width, GROUPS)
        out = flash_attn_func(q, k, v, causal=True)
        alive.append(sum(each.bytes for each in ledger.entries if each.died is None))
        out.sum().backward()

    ledger = ledger_of(run)
    each = 2 * ROWS * TOKENS
    heads = HEADS + 2 * GROUPS
    copies = each * padded * heads if padded != width else 0
    assert alive == [each * width * heads + copies + each * padded * HEADS + 4 * ROWS * HEADS * TOKENS + 16]
    rows = ROWS * HEADS * 256
    assert taken(ledger) == [4 * rows, 4 * rows * summed, each * padded * HEADS, each * padded * HEADS]


def taken(ledger: Ledger) -> list[int]:
    """The bytes of what kernels allocate for themselves."""
    return [each.bytes for each in ledger.entries if each.kind == "temporary"]


def test_packed_rows_by_its_source() -> None:
    """mha_varlen_fwd: softmax_lse is heads x tokens; mha_varlen_bwd leaves 128 tokens between two rows."""

    def run(_: Ledger) -> None:
        q, k, v = (torch.empty(300, 4, 64, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
        begun = torch.tensor([0, 100, 300], dtype=torch.int32, device="cuda")
        flash_attn_varlen_func(q, k, v, begun, begun, 200, 200).sum().backward()

    ledger = ledger_of(run)
    assert taken(ledger) == [4 * 4 * (300 + 2 * 128), 4 * 4 * (300 + 2 * 128) * 64]
    kept = [each for each in ledger.entries if each.dtype == "float32" and each.kind != "temporary"]
    assert [each.shape for each in kept] == [(4, 300)]


@pytest.mark.parametrize("width", [64, 20])
def test_gradients_have_the_shapes_of_what_they_are_of(width: int) -> None:

    def run(_: Ledger) -> None:
        given = made(width, HEADS), made(width, GROUPS), made(width, GROUPS)
        out = flash_attn_func(*given, dropout_p=0.1)
        assert out.shape == given[0].shape
        out.sum().backward()
        assert all(each.grad is not None and each.grad.shape == each.shape for each in given)

    ledger_of(run)


SMALL = {
    "vocab_size": 160, "hidden_size": 80, "intermediate_size": 80, "num_hidden_layers": 6, "num_attention_heads": 4,
    "max_position_embeddings": 512,
}  # fmt: skip
CONFIGS = {
    "llama": (transformers.LlamaConfig(**SMALL, num_key_value_heads=2), "LlamaForCausalLM"),
    "bert": (transformers.BertConfig(**SMALL), "BertForMaskedLM"),
    "mistral": (
        transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=60),
        "MistralForCausalLM",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_its_form_is_the_step_of_every_layer(name: str, checkpointing: bool, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, *CONFIGS[name])
    what = wished("mixed-bf16", rank=4, attention=FLASH, checkpointing=checkpointing)
    for batch, seq in ((1, 250), (3, 100)):
        run = run_of(batch=batch, seq=seq, capability=A100)
        form = steps_of(bench).form(what, run)
        assert form is not None
        found, whole = form.at(values_of(what, run)), simulate(bench, what, run, whole=True)
        assert (found.phases, found.highest, found.flops) == (whole.phases, whole.highest, whole.flops)


def test_what_it_keeps_beside_torchs_own_flash(tmp_path: Path) -> None:
    """The same without a mask, but for dropout's state: two integers a layer, and in torch one more of 8 bytes."""
    bench = bench_of(tmp_path, *CONFIGS["bert"])
    run = run_of(batch=3, seq=100, capability=A100)
    kept = [simulate(bench, wished("bf16", attention=each), run).highest["activations"] for each in ("sdpa", FLASH)]
    assert kept[0] - kept[1] == 6 * 8


def test_no_mask_is_made_for_a_window(tmp_path: Path) -> None:
    """sdpa has one for the window of 60 tokens, batch x 1 x 100 x 100; FlashAttention has two numbers."""
    bench = bench_of(tmp_path, *CONFIGS["mistral"])
    run = run_of(batch=3, seq=100, capability=A100)
    shapes = {}
    for each in ("sdpa", FLASH):
        found = simulate(bench, wished("bf16", attention=each), run, whole=True)
        shapes[each] = found.highest["activations"]
    assert shapes[FLASH] < shapes["sdpa"]


@pytest.mark.parametrize(
    ("model", "way", "message"),
    [
        ("gpt2", {"precision": "fp32"}, "works in fp16 and bf16, and is given float32"),
        ("gpt2", {"capability": "7.5"}, "needs compute capability 8.0, and this is 7.5"),
        ("gpt2", {"device": "cpu"}, "has kernels of CUDA alone"),
        ("bigscience/bloom-560m", {}, "transformers has none for BloomForCausalLM"),
        ("openai/gpt-oss-20b", {}, "transformers keeps kernels-community/vllm-flash-attn3 attention for GptOss"),
    ],
)
def test_what_refuses_it_says_why(model: str, way: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        hfcount.memory(model, regimes=["full"], seq=64, attention=FLASH, **way)


def test_a_head_too_wide_is_refused(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**{**SMALL, "head_dim": 264})
    bench = bench_of(tmp_path, config, "LlamaForCausalLM")
    with pytest.raises(BadInput, match="heads of at most 256, and these are 264 wide"):
        simulate(bench, wished("bf16", attention=FLASH), run_of(capability=A100))


def test_transformers_is_left_as_it_was() -> None:
    from transformers import modeling_flash_attention_utils as utils

    before = {name: each for name, each in vars(utils).items() if not name.startswith("__")}
    with stand_in():
        assert utils.FLASH_ATTENTION_COMPATIBILITY_MATRIX[2]["general_availability_check"]()
        (flash, *_), _ = utils.lazy_import_flash_attention(FLASH)
        assert flash is flash_attn_func
    assert {name: each for name, each in vars(utils).items() if not name.startswith("__")} == before
