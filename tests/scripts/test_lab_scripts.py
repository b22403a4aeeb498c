"""The labs' scripts, run as a student runs them, and the inventory that other code may import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import load_script

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def phase17() -> ModuleType:
    return load_script("phase17_param_inventory")


# Lab 02's own names for one block of d = 64 and f = 256.
BLOCK = {
    "attn.W_q": 4096, "attn.W_k": 4096, "attn.W_v": 4096, "attn.W_o": 4096,
    "ffn.W_1": 16384, "ffn.b_1": 256, "ffn.W_2": 16384, "ffn.b_2": 64,
    "ln1.gamma": 64, "ln1.beta": 64, "ln2.gamma": 64, "ln2.beta": 64,
}  # fmt: skip


def test_the_inventory_has_the_labs_keys(phase17: ModuleType) -> None:
    expected = {"E": 4096, "ln_final.gamma": 64, "ln_final.beta": 64}
    expected |= {f"block_{index}.{name}": size for index in (0, 1) for name, size in BLOCK.items()}
    assert phase17.inventory(phase17.build(phase17.Sizes())) == expected
    assert sum(expected.values()) == 103_680


@pytest.mark.parametrize(
    ("fields", "adds"),
    [
        ({}, 0),
        ({"attention_bias": True}, 384),
        ({"attention_bias": True, "attention_output_bias": True}, 512),
        ({"position_embedding": "learned"}, 32 * 64),
        ({"tie_word_embeddings": False}, 64 * 64),
        ({"mlp_bias": False}, -2 * 320),
        ({"norm": "rmsnorm"}, -(2 * 2 + 1) * 64),
        ({"gated_mlp": True}, 2 * (64 * 256 + 256)),
    ],
    ids=str,
)
def test_every_variant_has_a_name_for_each_parameter(phase17: ModuleType, fields: dict, adds: int) -> None:
    from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM

    locked = {"vocab_size": 64, "norm": "layernorm", "mlp_bias": True}
    model = MiniGPTForCausalLM(MiniGPTConfig(**{**locked, **fields}))
    counts = phase17.inventory(model)
    assert sum(counts.values()) == sum(each.numel() for each in model.parameters()) == 103_680 + adds


@pytest.mark.parametrize(
    ("name", "total"), [("Mini-GPT (locked)", 103_680), ("Mini-GPT-medium", 799_488), ("Mini-GPT-large", 4_749_312)]
)
def test_the_scaling_table(phase17: ModuleType, name: str, total: int) -> None:
    assert phase17.closed_form(phase17.VARIANTS[name]) == total
    assert phase17.checked(phase17.VARIANTS[name]) == total


def test_the_script_writes_its_plot_and_its_notes(tmp_path: Path) -> None:
    done = run("phase17_param_inventory.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "✓ equal" in done.stdout
    picture = (tmp_path / "out" / "distribution.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    notes = (tmp_path / "out" / "notes.md").read_text(encoding="utf-8")
    for figure in (
        "103,680",
        "104,064",
        "104,192",
        "799,488",
        "4,749,312",
        "124,439,808",
        "163,037,184",
        "116,929,536",
    ):
        assert figure in notes, f"{figure} is not in the notes"


def test_the_plot_has_the_labs_eight_bars(phase17: ModuleType) -> None:
    axes = phase17.distribution(phase17.build(phase17.Sizes())).axes[0]
    widths = [int(bar.get_width()) for bar in axes.patches]
    assert widths == [4_096, 16_384, 33_088, 256, 16_384, 33_088, 256, 128]


def test_every_variant_has_a_closed_form_that_equals_its_count(tmp_path: Path) -> None:
    done = run("lab_variants.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every closed form equals its count" in done.stdout
    for figure in ("+2,048", "+32,768", "+512", "3,604,480", "560,988,160", "525,568", "262,784"):
        assert figure in done.stdout, f"{figure} is not in the table"
