"""`hfcount solve` as a user types it."""

from __future__ import annotations

import json

import pytest

from hfcount.cli.app import run


def test_a_table_and_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "gpt2", "--parameters", "1B", "--over", "n_layer", "--fast"]) == 0
    table = capsys.readouterr().out
    assert "parameters(n_layer) = 7,087,872·n_layer + 39,385,344" in table
    assert "135" in table
    assert run(["solve", "gpt2", "--parameters", "1B", "--over", "n_layer", "--fast", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["nearest"] == 136
    assert document["below"] == {
        "value": 135, "count": 996248064, "percent": None, "verified": False, "difference": 996248064 - 10**9,
    }  # fmt: skip


def test_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "gpt2", "--trainable", "1%"]) == 0
    out = capsys.readouterr().out
    assert "trained(r) = 36,864r" in out
    assert "0.9972%" in out


def test_quiet_is_the_nearest_value_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "gpt2", "--parameters", "1B", "--over", "n_layer", "--fast", "--quiet"]) == 0
    assert capsys.readouterr().out == "136\n"


@pytest.mark.parametrize(
    "arguments", [["--parameters", "10T", "--over", "n_layer", "--fast"], ["--trainable", "99.9999%"]]
)
def test_what_no_value_meets(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the reason; nothing at all where only the value was asked for."""
    assert run(["solve", "gpt2", *arguments]) == 1
    out = capsys.readouterr().out
    assert "the most that hfcount" in out
    assert run(["solve", "gpt2", *arguments, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["nearest"] is None
    assert run(["solve", "gpt2", *arguments, "--quiet"]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["gpt2"], ["gpt2", "--parameters", "1B", "--over", "foo"], ["gpt2", "--trainable", "200%"],
        ["mixtral-8x7b", "--trainable", "1%"], ["gpt2", "--trainable", "1%", "--format", "html"],
    ],
)  # fmt: skip
def test_bad_requests_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", *arguments, "--fast"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("hfcount: ")
    assert len(written.err.splitlines()) == 1
