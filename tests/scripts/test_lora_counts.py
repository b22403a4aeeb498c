"""The LoRA lab's script: its table, its report, its chart."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from conftest import load_script


@pytest.fixture(scope="module")
def lora_counts() -> ModuleType:
    return load_script("lora_counts")


@pytest.fixture(scope="module")
def written(lora_counts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora-lab")
    assert lora_counts.main(["--out", str(folder)]) == 0
    return folder


def test_the_labs_table_by_hand(lora_counts: ModuleType) -> None:
    """LoRA r = 8: fp16 base and adapters 2·(229,952 + 36,864), gradients 2·36,864, Adam 8·36,864, the rule 2 MiB."""
    table = lora_counts.table(lora_counts.lab_memory("lab"), by_rule=True)
    row = next(line for line in table.splitlines() if "LoRA r=8" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    kib = [2 * (229_952 + 36_864) / 1024, 2 * 36_864 / 1024, 8 * 36_864 / 1024, 2048.0]
    assert cells[:3] == ["LoRA r=8", "36,864", "229,952"]
    assert cells[3:8] == [f"{size:,.1f}" for size in (*kib, sum(kib))]
    full = 16 * 229_952 / 1024 + 2048
    assert cells[8] == f"{sum(kib) / full:.1%}"


def test_the_report_names_its_denominators(written: Path) -> None:
    report = (written / "REPORT.md").read_text(encoding="utf-8")
    for shown in (
        "18.75% of the 196,608 weights of the adapted Linears",
        "16.03% of the model's 229,952 parameters",
        "13.82% of the model with its adapters",
        "2·8/64 = 25%",
        "110,592",
        "| QLoRA r=8 |",
        "### huggyllama/llama-65b",
        "### mistralai/Mixtral-8x7B-v0.1",
    ):
        assert shown in report, shown
    ratios = report.split("## The ratios")[1].split("###")[0]
    paragraphs = [each for each in ratios.split("\n\n") if len(each) > 300]
    assert len(paragraphs) == 2


def test_the_chart_shows_the_table(lora_counts: ModuleType, written: Path) -> None:
    from hfcount.reports.bars import memory_bars

    assert (written / "memory_breakdown.png").read_bytes().startswith(b"\x89PNG")
    found = lora_counts.lab_memory("lab")
    stacks = {lora_counts.name_of(each): lora_counts.four_buckets(each, by_rule=True) for each in found.budgets}
    axes = memory_bars(stacks, title="").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "Full FT", "LoRA r=4", "LoRA r=8", "LoRA r=16", "QLoRA r=8",
    ]  # fmt: skip
    assert len(axes.patches) == 5 * 4
