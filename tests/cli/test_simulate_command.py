"""`hfcount memory --simulate` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfcount.cli.app import run
from hfcount.costing import memory

LAB = ["memory", "mini-gpt-lora-lab", "--batch", "2", "--seq", "32", "--precision", "bf16", "--simulate"]


def test_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--lora-r", "4", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["regime"] for each in document["regimes"]] == ["full", "lora", "qlora"]
    for each in document["regimes"]:
        assert each["method"] == "simulated"
        assert each["peak_phase"] in ("forward", "backward", "step")
        parts = ("weights", "master", "gradients", "optimizer", "activations", "temporary")
        assert each["total_bytes"] == sum(each[f"{name}_bytes"] for name in parts)
        assert each["flops"]["backward"] > each["flops"]["forward"] > 0
        assert each["flops"]["whole"] == each["flops"]["forward"] + each["flops"]["backward"]
        assert each["flops"]["per_token"] == round(each["flops"]["whole"] / 64)
        assert each["largest"][0]["bytes"] >= each["largest"][1]["bytes"]
    assert document["regimes"][0]["ratio_to_full"] == 1.0
    assert {each["difference"] for each in document["comparisons"]} == {0}
    assert len(document["comparisons"]) == 12


def test_on_the_cpu_the_closed_form_is_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--lora-r", "4", "--device", "cpu", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {each["difference"] for each in document["comparisons"]} == {0}
    assert len(document["comparisons"]) == 12


def test_the_default_precision_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A depth that is extrapolated gives numpy's integers, which JSON does not know."""
    assert run(["memory", "gpt2", "--simulate", "--regime", "full", "--seq", "16", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["regimes"]
    assert found["flops"]["whole"] > 0


def test_the_card_decides_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    """In bf16 an A100 has a fused kernel and a T4 has none, so it keeps the scores of every pair of tokens."""
    needed = {}
    for card in ("a100-40gb", "t4"):
        shape = ["--simulate", "--regime", "full", "--seq", "1024", "--format", "json"]
        assert run(["memory", "gpt2", *shape, "--gpu", card]) == 0
        needed[card] = json.loads(capsys.readouterr().out)["regimes"][0]["total_bytes"]
    assert needed["t4"] > needed["a100-40gb"] + 12 * (4 * 12 * 1024 * 1024)


def test_in_python_full_is_a_row_of_its_own() -> None:
    found = memory("mini-gpt-lora-lab", regimes=("full",), batch=2)
    assert found.full is found.budgets[0]
    with pytest.raises(LookupError):
        _ = memory("mini-gpt-lora-lab", regimes=("lora",), lora_r=4).full


def test_the_table_has_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, "--regime", "full"]) == 0
    out = capsys.readouterr().out
    for shown in ("Closed form beside the step", "kept activations", "✓", "peak", "floating-point operations"):
        assert shown in out
    assert "not explained" not in out


def test_the_timeline(tmp_path: Path) -> None:
    assert run([*LAB, "--regime", "full,lora", "--lora-r", "4", "--plot", str(tmp_path / "line.png"), "--quiet"]) == 0
    assert (tmp_path / "line.png").read_bytes().startswith(b"\x89PNG")


def test_the_timeline_is_the_curve() -> None:
    import hfcount
    from hfcount.reports.simulated import timeline

    found = hfcount.memory(
        "mini-gpt-lora-lab", batch=2, precision="bf16", regimes=["full"], method="simulated", curves=True
    )
    (lines,) = found.curves.values()
    assert lines["phase"].drop_duplicates().tolist() == ["forward", "backward", "step"]
    axes = timeline(found.curves, title="").axes[0]
    assert found.budgets[0].total_bytes == lines.drop(columns=["phase", "module"]).sum(axis=1).max()
    assert [each.get_text() for each in axes.texts][1:] == ["forward", "backward", "step"]


def test_what_runs_out_of_time_keeps_the_closed_form() -> None:
    from hfcount.budgeting import Asked, Way
    from hfcount.simulating import memory_of
    from hfcount.sources import resolve
    from hfcount.workbench import Workbench

    bench = Workbench(resolve("gpt2"), ())
    found = memory_of(bench, Way(seq=64), Asked.of(["full"], (), "default", ()), seconds=0.01)
    assert found.budgets[0].method == "closed-form"
    assert any("no peak, since the simulated step ran past its time limit" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stepping", "leaps"], "stepping 'leaps' is not known"),
        (["--accumulation", "0"], "--accumulation 0: give a positive integer"),
        (["--headroom", "1GiB"], "--headroom is of a GPU"),
    ],
)
def test_bad_input(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*LAB, *options]) == 2
    assert message in capsys.readouterr().err
