"""`hfcount list`: what it prints is what other commands take."""

from __future__ import annotations

import csv
import io
import json

import pytest

from hfcount.cli.app import run


@pytest.mark.parametrize("kind", ["gpus", "cards", "recipes"])
def test_every_format_has_the_same_names(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", kind, "--format", "json"]) == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)[kind]]
    assert len(names) == len(set(names)) > 5
    assert run(["list", kind, "--format", "csv"]) == 0
    assert [each["name"] for each in csv.DictReader(io.StringIO(capsys.readouterr().out))] == names
    assert run(["list", kind, "--quiet"]) == 0
    assert capsys.readouterr().out.split() == names
    for written in ("table", "markdown"):
        assert run(["list", kind, "--format", written]) == 0
        out = capsys.readouterr().out
        assert all(name in out for name in names)


def test_each_listed_gpu_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "gpus", "--quiet"]) == 0
    names = capsys.readouterr().out.split()
    assert run(["memory", "mini-gpt", "--regime", "full", "--gpu", ",".join(names), "--format", "json"]) == 0
    assert [each["gpu"] for each in json.loads(capsys.readouterr().out)["fits"]] == names


def test_an_unknown_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "engines"]) == 2
    assert "gpus" in capsys.readouterr().err
