"""`hfcount memory` as a user types it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from hfcount.cli.app import run

LAB = ["memory", "mini-gpt-lora-lab", "--batch", "16", "--seq", "32", "--precision", "mixed-fp16"]

REGIME_FIELDS = (
    "regime", "r", "trainable", "frozen", "weights_bytes", "master_bytes", "gradients_bytes", "optimizer_bytes",
    "activations_bytes", "temporary_bytes", "total_bytes", "ratio_to_full", "method", "peak_phase", "peak_plain_bytes",
    "peak_checkpointing_bytes", "phases", "form",
)  # fmt: skip


def test_the_document_has_the_fixed_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {name: document[name] for name in ("schema", "batch", "seq", "precision", "optimizer")} == {
        "schema": 1, "batch": 16, "seq": 32, "precision": "mixed-fp16", "optimizer": "adamw",
    }  # fmt: skip
    regimes = document["regimes"]
    assert [(each["regime"], each["r"]) for each in regimes] == [
        ("full", None), ("lora", 4), ("lora", 8), ("lora", 16), ("qlora", 8),
    ]  # fmt: skip
    for each in regimes:
        assert set(REGIME_FIELDS) <= set(each)
        assert each["method"] == "simulated"
        assert each["total_bytes"] == sum(each[name] for name in REGIME_FIELDS[4:10]) == each["peak_plain_bytes"]
        assert each["total_bytes"] == max(each["phases"].values()) == each["phases"][each["peak_phase"]]
        assert 0 < each["peak_checkpointing_bytes"] <= each["peak_plain_bytes"]
    assert regimes[0]["frozen"] == 0
    assert regimes[0]["ratio_to_full"] == 1.0
    assert regimes[4]["quantized_bytes"] == {"packed": 98304, "absmax": 12288, "nested": 0, "tables": 1536}
    assert document["versions"]["bitsandbytes"]


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(LAB) == 0
    out = capsys.readouterr().out
    for shown in ("QLoRA r=8", "36,864", "229,952", "Peak MiB", "98,304 bytes of codes", "batch 16 × 32 tokens"):
        assert shown in out
    assert all(len(line) <= 118 for line in out.splitlines())


def test_the_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--regime", "lora", "--lora-r", "8"]) == 0
    assert "b·s" not in capsys.readouterr().out
    assert run([*LAB, "--regime", "lora", "--lora-r", "8", "--formula"]) == 0
    assert "LoRA r=8: " in (shown := capsys.readouterr().out)
    assert "b·s" in shown


def test_csv_and_markdown_have_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert run([*LAB, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [int(row["total_bytes"]) for row in rows] == [each["total_bytes"] for each in document["regimes"]]
    assert run([*LAB, "--format", "markdown"]) == 0
    markdown = capsys.readouterr().out
    assert f"{rows[0]['trainable'][:3]},952" in markdown
    assert run([*LAB, "--quiet"]) == 0
    assert capsys.readouterr().out.split() == [row["total_bytes"] for row in rows]


def test_double_quantization_is_larger_for_tiny_tensors(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the 24 matrices brings its own 1,024 bytes of code for the statistics."""
    totals = []
    for options in ([], ["--double-quant"]):
        assert run([*LAB, "--regime", "qlora", "--format", "json", *options]) == 0
        (regime,) = json.loads(capsys.readouterr().out)["regimes"]
        totals.append(sum(regime["quantized_bytes"].values()))
    assert totals == [112_128, 98_304 + 3_072 + 192 + 24 * (64 + 1024)]


def test_the_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--plot", str(tmp_path / "bars.svg"), "--quiet"]) == 0
    drawn = (tmp_path / "bars.svg").read_text(encoding="utf-8")
    assert "<svg" in drawn
    assert run([*LAB, "--plot", str(tmp_path / "bars.gif")]) == 2
    assert "write a figure as" in capsys.readouterr().err


def test_the_bars_of_a_chart_are_the_buckets() -> None:
    import hfcount
    from hfcount.reports.bars import memory_bars, stacks_of

    found = hfcount.memory("mini-gpt-lora-lab", batch=16, seq=32)
    axes = memory_bars(stacks_of(found.budgets), title="").axes[0]
    drawn = sum(patch.get_height() for patch in axes.patches)
    assert drawn * 2**20 == pytest.approx(sum(each.total_bytes or 0 for each in found.budgets))
    assert axes.get_ylabel() == "MiB"


def test_a_gpu_and_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "gpt2", "--regime", "full", "--gpu", "t4,RTX 4090", "--format", "json"]) == 0
    fits = json.loads(capsys.readouterr().out)["fits"]
    assert [(each["gpu"], each["fits"], each["largest_batch"]) for each in fits] == [
        ("T4", True, None), ("RTX-4090", True, None),
    ]  # fmt: skip
    assert run(["memory", "gpt2", "--regime", "full", "--gpu", "t4", "--fit"]) == 0
    out = capsys.readouterr().out
    assert "T4: full fits\n" in out
    assert "the largest with the same verdict" in out
    assert "T4: 15.00 GiB (" in out
    assert run(["memory", "gpt2", "--regime", "full", "--fit", "--all", "--format", "csv"]) == 0
    assert capsys.readouterr().out.count("\n") > 40
    assert run(["memory", "gpt2", "--regime", "full", "--fit", "--format", "csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 2


def test_inference(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "gpt2", "--regime", "inference", "--seq", "1024"]) == 0
    assert "KV cache" in capsys.readouterr().out


def test_a_warning_goes_where_it_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    long = ["memory", "gpt2", "--regime", "full", "--seq", "2000"]
    assert run(long) == 0
    assert "warning: --seq 2,000 is beyond the model's 1,024 positions" in capsys.readouterr().out
    assert run([*long, "--quiet"]) == 0
    assert "beyond the model's 1,024 positions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "adamm"], "optimizer 'adamm' is not known: did you mean adamw"),
        (["--precision", "fp8"], "precision 'fp8' is not known: did you mean fp32"),
        (["--gpu", "4091"], "GPU '4091' is not known: did you mean 4090"),
        (["--batch", "0"], "--batch 0: give a positive integer"),
        (["--seq", "0"], "--seq 0: give a positive integer"),
        (["--batch", "many"], "should be a valid integer"),
        (["--regime", "lora,sparse"], "regime 'sparse' is not known"),
        (["--regime", ","], "--regime: give any of"),
        (["--headroom", "1GiB"], "--headroom is of a GPU"),
        (["--fit", "--headroom", "lots"], "--headroom 'lots'"),
        (["--quantization", "int8", "--double-quant"], "double quantization is for 4 bits"),
        (["--lora-r", "-1"], "--lora-r -1"),
        (["--lora-targets", "nowhere"], "no module has such a name"),
    ],
)
def test_bad_input_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "mini-gpt-lora-lab", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert message in shown.err


def test_the_exit_code_says_whether_anything_fits(capsys: pytest.CaptureFixture[str]) -> None:
    full = ["memory", "llama-7b", "--regime", "full", "--seq", "128", "--quiet"]
    assert run([*full, "--gpu", "t4"]) == 1
    assert run([*full, "--gpu", "t4,h200"]) == 0
    assert run(full) == 0
    capsys.readouterr()
