"""The chart's groups: readable for two layers and for a hundred, and nothing lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfcount.api import count
from hfcount.errors import BadInput
from hfcount.reports.figures import check_figure_path, distribution, rows_of_groups
from hfcount.reports.files import write_figure


@pytest.mark.parametrize(
    "model",
    ["mini-gpt-lab02", "gpt2", "llama-3.1-405b", "deepseek-v3", "nemotron-h-56b-base-8k", "t5-base", "whisper-tiny"],
)
def test_groups_add_up_and_stay_few(model: str) -> None:
    result = count(model)
    rows = rows_of_groups(result.parts)
    assert int(rows.to_numpy().sum()) == result.sizes.total
    assert len(rows) <= 45, f"{len(rows)} bars are too many to read"


def test_lab_02_has_its_own_bars() -> None:
    """Embedding 4,096; each block 16,384 attention, 33,088 MLP, 256 norms; final norm 128 (lab 02)."""
    rows = rows_of_groups(count("mini-gpt-lab02").parts)
    assert rows.loc["token embedding"].sum() == 4_096
    assert rows.loc["norm"].sum() == 128
    for layer in ("model.layers.0", "model.layers.1"):
        assert rows.loc[layer, ["attention", "mlp", "norm"]].tolist() == [16_384, 33_088, 256]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_figures_are_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mass{suffix}"
    write_figure(path, distribution(count("mini-gpt").parts, title="mini-gpt"))
    assert path.stat().st_size > 2_000
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"mass\.gif: write a figure as \.png, \.svg, \.pdf"):
        check_figure_path(Path("mass.gif"))
