"""Single figures in documents: what an expression may be, how it is written, and that the pages use them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from doc_figures import BadFigure, value_of, with_figures, written  # noqa: E402

TOLD = [path for folder in ("tutorial", "howto", "why") for path in sorted((ROOT / "docs" / folder).glob("*.md"))]
FIGURE = re.compile(r"<!-- = .+? -->.*?<!-- end -->")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 * 8 / 64", 0.25),
        ("4096**2", 16_777_216),
        # Lab 02's tables: 103,680 in all, 16,384 of attention a layer, 33,088 of MLP.
        ('count("mini-gpt-lab02").sizes.total', 103_680),
        ('rows("mini-gpt-lab02", "layers.0.self_attn")', 16_384),
        ('rows("mini-gpt-lab02", "layers.1.mlp")', 33_088),
        ('count("mini-gpt-lab02", "tie_word_embeddings=false").sizes.total', 103_680 + 4_096),
        # The LoRA lab: 9,216 a layer at r = 8, four layers.
        ('count("mini-gpt-lora-lab", lora_r=8, lora_targets="all-linear").lora[0].trainable', 4 * 9_216),
        # bitsandbytes of a 64 x 64 matrix: 2,048 bytes of codes, 64 blocks, one table of 16 fp32 values.
        ("nf4(64, 64).total", 2_048 + 64 * 4 + 64),
    ],
)
def test_a_figure_is_worked_out(expression: str, value: float) -> None:
    assert value_of(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').getcwd()",
        "count.__globals__",
        "count('gpt2').__class__",
        "open('secret')",
        "(lambda: 1)()",
        "[x for x in 'ab']",
        "2**99999999",
        "'a' * 10",
        "count(**{})",
        "count('mini-gpt').sizes.nothing",
        "component('mini-gpt', 'nothing')",
        "1 +",
    ],
)
def test_whatever_else_is_refused(expression: str) -> None:
    with pytest.raises(BadFigure):
        value_of(expression)


def test_how_a_figure_is_written() -> None:
    assert written(124_439_808, None) == "124,439,808"
    assert written(124_439_808, "short") == "124.4M"
    assert written(3 * 2**29, "GiB") == "1.50 GiB"
    assert written(0.25, ".1%") == "25.0%"
    assert written("4*d**2", "form") == "`4d²`"
    with pytest.raises(BadFigure, match="say how"):
        written(0.25, None)
    with pytest.raises(BadFigure):
        written("text", ".2f")


def test_only_the_figure_is_renewed() -> None:
    text = "has <!-- = 2 * 500 -->?<!-- end --> and <!-- = 1 / 8 as .3f -->0<!-- end -->; 7 stays"
    assert with_figures(text) == (
        "has <!-- = 2 * 500 -->1,000<!-- end --> and <!-- = 1 / 8 as .3f -->0.125<!-- end -->; 7 stays"
    )


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_no_count_on_these_pages_is_typed(path: Path) -> None:
    """A number with separators outside an output is a figure; titles name what is published, and code is code."""
    text = re.sub(r"`[^`]*`|^#.*$", "", FENCE.sub("", FIGURE.sub("", path.read_text(encoding="utf-8"))), flags=re.M)
    # The rows of GPT-1's vocabulary are OpenAI's; a row of 1,024 tokens is a setting.
    assert set(re.findall(r"\d{1,3}(?:,\d{3})+", text)) <= {"40,478", "1,024"}


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_no_line_begins_with_a_figure(path: Path) -> None:
    """A line that begins with a comment is HTML to Markdown, and its text would not be read as such."""
    assert not re.search(r"^\s*<!-- = ", path.read_text(encoding="utf-8"), re.MULTILINE)
