"""What a simulated step keeps on a GPU: torch's own rules for CUDA, and peaks that real cards had."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from conftest import load_script

from hfcount.simulation.cuda import CUDA_TRANSIENTS, ROUNDING, _guards, workspace_bytes
from hfcount.simulation.faking import without_memory
from hfcount.simulation.ledger import TRANSIENTS, Ledger

gpu_runs = load_script("gpu_runs")
RUNS = {run["id"]: run for run in json.loads(gpu_runs.RUNS.read_text(encoding="utf-8"))}
SMALL = [name for name in RUNS if "SmolLM2-135M-bs2-seq512" in name]

A100, T4, H100, RTX_5090 = (8, 0), (7, 5), (9, 0), (12, 0)
HALF = torch.float16


@pytest.mark.parametrize("name", SMALL)
def test_the_peaks_of_a_real_t4(name: str) -> None:
    """Measured by others with `torch.cuda.max_memory_allocated`; no constant here was fitted to them."""
    real, found = gpu_runs.measured(RUNS[name]), gpu_runs.simulated(RUNS[name])
    assert set(real) == {"whole", "forward", "backward", "step"}
    for phase, size in real.items():
        assert found[phase] == pytest.approx(size, rel=0.01), phase


def operations(run: Any, capability: tuple[int, int]) -> set[str]:
    """The operations of aten that `run` calls on a card."""
    with without_memory(capability), Ledger(device="cuda") as ledger, torch.device("cuda"):
        run()
    return {each.name for each in ledger.entries}


def attention(
    *,
    dtype: torch.dtype = HALF,
    heads: int = 4,
    groups: int = 4,
    mask: bool = False,
    width: int = 32,
    dropout: float = 0.0,
) -> Any:
    """A call of fused attention, causal where it has no mask, and its backward pass."""

    def run() -> None:
        query = torch.empty(2, heads, 64, width, dtype=dtype, requires_grad=True)
        key, value = (torch.empty(2, groups, 64, width, dtype=dtype, requires_grad=True) for _ in range(2))
        given = torch.ones(2, 1, 64, 64, dtype=torch.bool) if mask else None
        torch.nn.functional.scaled_dot_product_attention(
            query, key, value, given, dropout, is_causal=not mask, enable_gqa=heads != groups
        ).sum().backward()

    return run


FLASH = "aten._scaled_dot_product_flash_attention.default"
EFFICIENT = "aten._scaled_dot_product_efficient_attention.default"
CUDNN = "aten._scaled_dot_product_cudnn_attention.default"
PLAIN = "aten._safe_softmax.default"


@pytest.mark.parametrize(
    ("call", "capability", "kernel"),
    [
        (attention(), A100, FLASH),
        (attention(groups=2), A100, FLASH),
        (attention(), T4, EFFICIENT),  # flash needs 8.0
        (attention(mask=True), A100, EFFICIENT),  # flash takes no mask
        (attention(dtype=torch.float32), A100, EFFICIENT),  # flash is for 16 bits
        (attention(dtype=torch.bfloat16), T4, PLAIN),  # which has no kernel for bf16
        (attention(groups=2), T4, PLAIN),  # only flash groups heads
        (attention(), H100, CUDNN),  # which comes first on 9.0, 10.0 and 10.3
        (attention(mask=True, groups=2), H100, CUDNN),  # and takes masks and groups
        (attention(), RTX_5090, FLASH),
        (attention(width=36), H100, FLASH),  # cuDNN's heads are multiples of 8
        (attention(width=136), H100, FLASH),  # up to 128
        (attention(dropout=0.1), H100, FLASH),  # and its dropout is in sixteenths
        (attention(dropout=0.125), H100, CUDNN),
        (attention(dtype=torch.float32), H100, EFFICIENT),
    ],
)
def test_the_kernel_that_torch_chooses(call: Any, capability: tuple[int, int], kernel: str) -> None:
    """By the rules of torch 2.13 (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp)."""
    assert {CUDNN, FLASH, EFFICIENT, PLAIN} & operations(call, capability) == {kernel}


def test_what_cudnn_takes_in_the_backward_pass() -> None:
    """cudnn-frontend's CompositeSDPABackwardNode: softmax_sum, dQ_accum; dK and dV of all heads."""
    transients = TRANSIENTS | CUDA_TRANSIENTS
    with without_memory(H100), Ledger(device="cuda", transients=transients) as ledger, torch.device("cuda"):
        attention(groups=2)()
    taken = [each.bytes for each in ledger.entries if each.kind == "temporary"]
    each = 2 * 4 * 64
    assert taken == [4 * each, 4 * each * 32, 2 * each * 32, 2 * each * 32]


def test_a_dropout_mask_is_a_byte_and_statistics_of_norms_are_fp32() -> None:
    """As aten/src/ATen/native/Dropout.cpp and cuda/layer_norm_kernel.cu have them; the CPU's keep 2 bytes of each."""

    def run() -> None:
        rows = torch.empty(8, 32, dtype=HALF, requires_grad=True)
        normed = torch.nn.functional.layer_norm(rows, (32,))
        kept.extend([normed, torch.nn.functional.dropout(normed, 0.5)])

    kept: list[torch.Tensor] = []
    with without_memory(A100), Ledger(device="cuda") as ledger, torch.device("cuda"):
        run()
    made = {(each.name, each.dtype): each.bytes for each in ledger.entries if each.died is None}
    assert made[("aten.native_dropout.default", "bool")] == 8 * 32
    assert made[("aten.native_layer_norm.default", "float32")] == 8 * 4


def test_autocast_is_cudas() -> None:
    """A norm is computed in fp32 (torch's documentation, "CUDA Ops that can autocast to float32")."""
    with without_memory(A100), torch.device("cuda"), torch.autocast("cuda", dtype=torch.bfloat16):
        rows = torch.empty(8, 32, dtype=torch.bfloat16)
        assert torch.nn.functional.layer_norm(rows, (32,)).dtype == torch.float32
        assert torch.nn.functional.linear(rows.float(), torch.empty(4, 32)).dtype == torch.bfloat16


@pytest.mark.parametrize("is_reentrant", [False, True])
def test_a_layer_that_runs_again_runs_as_before(is_reentrant: bool) -> None:
    """Checkpointing compares the tensors of both runs; a layer that ran otherwise in the backward pass would raise."""
    from torch.utils.checkpoint import checkpoint

    def run() -> None:
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        rows = torch.empty(2, 8, 32, requires_grad=True)
        checkpoint(layer, rows, use_reentrant=is_reentrant).sum().backward()
        assert all(each.grad is not None and each.grad.device.type == "cuda" for each in layer.parameters())

    assert "aten.native_dropout.default" in operations(run, A100)


def test_torch_is_left_as_it_was() -> None:
    before, attend = list(_guards()), torch.nn.functional.scaled_dot_product_attention
    with without_memory(A100):
        assert list(_guards()) != before
    assert list(_guards()) == before
    assert torch.nn.functional.scaled_dot_product_attention is attend
    weight = torch.ones(3, requires_grad=True)
    weight.sum().backward()
    assert weight.grad is not None


def test_what_the_host_holds_is_not_on_the_card() -> None:
    """Adam's counters stay on the host (`capturable=False`)."""
    with without_memory(A100), Ledger(device="cuda") as ledger:
        with torch.device("cuda"):
            weight = torch.empty(5, requires_grad=True)
        weight.grad = torch.empty_like(weight)
        optimizer = torch.optim.AdamW([weight])
        optimizer.step()
        state = optimizer.state[weight]
        assert {name: each.device.type for name, each in state.items()} == {
            "step": "cpu", "exp_avg": "cuda", "exp_avg_sq": "cuda",
        }  # fmt: skip
        assert sum(each.bytes for each in ledger.entries if each.died is None) == 4 * 5 * 4


def test_cublas_takes_what_its_users_report() -> None:
    """8.125 MiB before Hopper: 16.2 of the 16.3 MiB that every small run on the T4 has beyond its tensors."""
    assert workspace_bytes(T4) == workspace_bytes(A100) == 2 * 8_519_680
    assert workspace_bytes((9, 0)) == 2 * 32 * 2**20
    assert ROUNDING == 512
