"""Single figures in documents: what an expression may be, how it is written, and that the pages use them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from doc_figures import BadFigure, value_of, with_figures, written  # noqa: E402

TOLD = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "coverage.md")]
FIGURE = re.compile(r"<!-- = .+? -->.*?<!-- end -->")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
MADE = re.compile(r"<!-- (\w+): [\w-]+ -->.*?<!-- \1: end -->", re.DOTALL)  # by a script of its own, as coverage.md is

# Figures that are not the program's to work out, by page.
TYPED = {
    "117m.md": {"40,478"},  # the rows of GPT-1's vocabulary, OpenAI's
    "peak.md": {"1,024"},  # a setting: tokens in a row
    "labs.md": {"131,136"},  # what the lab prints
    "memory.md": {
        "1,024",
        "4,096",
    },  # bitsandbytes' own: bytes of a code book, elements under which it keeps 32 bits
    # What Google prints of Gemma 3 and its projector's two sides; how many figures are drawn; a rate, measured.
    "audit.md": {"1,012", "1,416", "1,152", "2,560", "1,000", "100,000", "2,720"},
}


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
        # LLaMA-7B: 32 layers of four matrices of 4096 x 4096 and three of 4096 x 11008 (LLaMA paper, Table 2).
        ('2 * stored_in_nf4("llama-7b").packed', 32 * (4 * 4096**2 + 3 * 4096 * 11008)),
        # ZeRO (arXiv 1910.02054, section 3.1): 2 + 2 and K = 12 bytes a parameter with mixed-precision Adam.
        ('bytes_a_parameter("mixed-fp16")', 16),
        ('figure("117M").low', 116_500_000),
        ('constant("cli.progress.AFTER_SECONDS")', 2.0),
        ('constant("auditing.weighing.NOMINAL")', 0.25),
        ('entries("tests/conformance/hand_labelled.json")', 20),
        # README's list: count, formula, explain, compare, solve, memory, audit, report, callback.
        ("functions()", 9),
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
        "1 / 0",
        "count('no-such-model-here')",
        "constant('sources.cards.card_names')",
        "constant('no_such_module.NAME')",
        "entries('no_such_file.json')",
        "published('moment_ratio', 'max', named='nobody')",
        "published('moment_ratio', 'mean', named='compile')",
        "lowest('no-such-project')",
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
    assert written(9, "word") == "nine"
    assert written(2.0, "Word") == "Two"
    assert written("3.10", "s") == "3.10"
    with pytest.raises(BadFigure, match="up to 20"):
        written(21, "word")
    with pytest.raises(BadFigure, match="say how"):
        written(0.25, None)
    with pytest.raises(BadFigure):
        written("text", ".2f")


def test_cards_are_the_folders_of_the_bundled_cards() -> None:
    assert value_of("cards()") == len(list((ROOT / "model_cards").glob("*/*/config.json")))


def test_what_was_measured_is_read_from_its_record() -> None:
    lines = (ROOT / "benchmarks" / "memory" / "cpu.jsonl").read_text(encoding="utf-8").splitlines()
    assert value_of("measured_models()") == len(set(re.findall(r'"model": "([^"]+)"', "\n".join(lines))))
    wide = [int(re.findall(r'"peak_bytes": (\d+)', line)[0]) for line in lines if '"model": "llama-wide"' in line]
    assert value_of('measured_peak("llama-wide")') == max(wide)


def test_only_the_figure_is_renewed() -> None:
    text = "has <!-- = 2 * 500 -->?<!-- end --> and <!-- = 1 / 8 as .3f -->0<!-- end -->; 7 stays"
    assert with_figures(text) == (
        "has <!-- = 2 * 500 -->1,000<!-- end --> and <!-- = 1 / 8 as .3f -->0.125<!-- end -->; 7 stays"
    )


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_no_count_on_these_pages_is_typed(path: Path) -> None:
    """A number with separators outside an output is a figure; titles name what is published, and code is code."""
    text = FENCE.sub("", FIGURE.sub("", MADE.sub("", path.read_text(encoding="utf-8"))))
    text = re.sub(r"`[^`]*`|^#.*$", "", text, flags=re.MULTILINE)
    typed = TYPED.get(path.name, set()) if path.parent.name != "tutorial" else set()
    assert set(re.findall(r"\d{1,3}(?:,\d{3})+", text)) == typed


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_no_line_begins_with_a_figure(path: Path) -> None:
    """A line that begins with a comment is HTML to Markdown, and its text would not be read as such."""
    assert not re.search(r"^\s*<!-- = ", path.read_text(encoding="utf-8"), re.MULTILINE)
