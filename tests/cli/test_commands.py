"""The commands as a user types them: what comes out where, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfcount.cli.app import run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def calling(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return calling


def test_the_main_job(call) -> None:
    code, out, err = call("gpt2", "--lora-r", "8")
    assert (code, err) == (0, "")
    for figure in ("124,439,808", "163,037,184", "85,056,000", "137,022,720", "294,912", "124,734,720", "0.2364%"):
        assert figure in out, f"{figure} is missing"
    assert "V·d + T·d + L·(12d² + 13d) + 2d" in out
    assert "formula = count" in out


def test_count_is_what_a_bare_model_means(call) -> None:
    assert call("count", "mini-gpt", "--format", "json") == call("mini-gpt", "--format", "json")


def test_nothing_typed_shows_the_help(call) -> None:
    code, out, err = call()
    assert (code, err) == (0, "")
    assert "gpt2 --lora-r 8" in " ".join(out.split())


def test_options_may_come_first(call) -> None:
    code, out, _ = call("--format", "json", "mini-gpt")
    assert code == 0
    assert json.loads(out)["parameters"]["total"] == 131_392


def test_ranks_are_lists_and_repeatable(call) -> None:
    code, out, _ = call("gpt2", "--lora-r", "4,8", "--lora-r", "16", "--format", "json")
    assert code == 0
    assert [(row["r"], row["trainable"]) for row in json.loads(out)["lora"]] == [
        (4, 147_456),
        (8, 294_912),
        (16, 589_824),
    ]


def test_overrides_count_a_variant(call) -> None:
    """Learned positions add T·d = 32·64 to Mini-GPT."""
    _, out, _ = call("mini-gpt", "--set", "position_embedding=learned", "--format", "json")
    assert json.loads(out)["parameters"]["total"] == 131_392 + 32 * 64


def test_quiet_prints_bare_figures(call) -> None:
    assert call("gpt2", "--lora-r", "8", "--quiet") == (0, "124439808\n294912\n", "")
    assert (
        call("compare", "gpt2", "mini-gpt", "-q")[1] == "openai-community/gpt2\t124439808\nhfcount/mini-gpt\t131392\n"
    )


@pytest.mark.parametrize(("suffix", "starts"), [(".json", "{"), (".csv", "name,"), (".md", "# "), (".txt", "openai")])
def test_the_suffix_of_the_output_chooses_the_format(call, tmp_path: Path, suffix: str, starts: str) -> None:
    path = tmp_path / f"gpt2{suffix}"
    assert call("gpt2", "--output", str(path)) == (0, "", "")
    assert path.read_text(encoding="utf-8").startswith(starts)


def test_a_plot_beside_the_table(call, tmp_path: Path) -> None:
    path = tmp_path / "mass.png"
    code, out, _ = call("mini-gpt", "--plot", str(path))
    assert code == 0
    assert "131,392" in out
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("figure", "code", "expected"),
    [("117M", 0, "116,929,536"), ("124M", 0, "124,439,808"), ("137M", 0, "137,022,720"), ("163M", 0, "163,037,184"),
     ("85M", 0, "85,056,000"), ("119M", 1, "no convention")],
)  # fmt: skip
def test_explain(call, figure: str, code: int, expected: str) -> None:
    found, out, _ = call("explain", "gpt2", figure)
    assert found == code, out
    assert expected in out


def test_compare_shows_models_side_by_side(call) -> None:
    code, out, _ = call("compare", "mini-gpt-lab02", "mini-gpt-medium", "mini-gpt-large")
    assert code == 0
    assert all(total in out for total in ("103,680", "799,488", "4,749,312"))


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown"])
def test_env_tells_versions(call, format: str) -> None:
    import transformers

    code, out, _ = call("env", "--format", format)
    assert code == 0
    assert transformers.__version__ in out
    assert "bitsandbytes backend" in out


BAD = [
    (("gpt2", "--lora-r", "0"), "a rank is a positive integer"),
    (("gpt2", "--lora-r", "-3"), "a rank is a positive integer"),
    (("gpt2", "--lora-r", "many"), "a rank is a positive integer"),
    (("gpt2", "--lora-r", "8", "--lora-targets", "q_proj"), "c_attn"),
    (("gpt2", "--set", "n_layers=3"), "n_layer"),
    (("gpt2", "--set", "n_layer"), "KEY=VALUE"),
    (("gpt2", "--set", "n_layer=1000000000"), "absurd"),
    (("gpt2", "--set", "n_head=7"), "7 attention heads"),
    (("gpt2", "--class", "Trainer"), "no model class"),
    (("gpt2", "--class", "LlamaForCausalLM"), "LlamaConfig"),
    (("gpt2", "--format", "yaml"), "yaml"),
    (("gpt2", "--by", "head"), "head"),
    (("gpt2", "--timeout", "0"), "positive number of seconds"),
    (("gpt2", "--output", "/no/such/folder/out.json"), "does not exist"),
    (("gpt2", "--plot", "mass.gif"), ".png"),
    (("card:no-such-card",), "no bundled model card"),
    (("./no/such/folder",), "no such folder"),
    (("explain", "gpt2", "many"), "many"),
    (("explain", "gpt2"), "FIGURE"),
    (("gpt2", "--no-such-option"), "--no-such-option"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line_on_stderr(call, arguments: tuple[str, ...], expected: str) -> None:
    code, out, err = call(*arguments)
    assert code == 2, f"{code}: {out}{err}"
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("hfcount: ")
    assert expected in err


def test_offline_without_a_copy_is_exit_code_3(call) -> None:
    code, out, err = call("hf:nobody/nothing", "--offline")
    assert (code, out) == (3, "")
    assert "offline" in err
    assert err.count("\n") == 1


def shell(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hfcount", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_whole_process_prints_results_on_stdout_alone() -> None:
    """What libraries log at import (bitsandbytes, for one) must not reach a user's terminal or pipe."""
    done = shell(["gpt2", "--lora-r", "8", "--format", "json"])
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["parameters"]["total"] == 124_439_808


def test_a_fault_of_our_own_is_one_line_too(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **how: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("hfcount.api.count", broken)
    monkeypatch.delenv("HFCOUNT_DEBUG", raising=False)
    code, out, err = call("gpt2")
    assert (code, out) == (2, "")
    assert "ZeroDivisionError" in err
    assert err.count("\n") == 1
