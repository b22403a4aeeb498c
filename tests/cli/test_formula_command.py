"""`hfcount formula` as a user types it: every format, the checks, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import hfcount
from hfcount.cli.app import run
from hfcount.formulas import catalogue


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run(["formula", *arguments, "--format", "json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFCOUNT_CACHE", str(tmp_path / "cache"))


def test_gpt2_as_a_person_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Radford et al. 2019: embeddings, 12d² + 13d in a layer, a norm at the end."""
    assert run(["formula", "gpt2", "--fast"]) == 0
    out = capsys.readouterr().out
    assert "V·d + T·d + L·(12d² + 13d) + 2d\n= 124,439,808\n" in out
    for line in ("n_embd", "tie_word_embeddings is true", "verified on 20 random configs", "from the catalogue"):
        assert line in out


@pytest.mark.parametrize("fast", [(), ("--fast",)])
def test_the_document_has_the_fixed_names(fast: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "gpt2", *fast)
    assert found["schema"] == 1
    assert found["value"] == 124439808
    assert found["text"] == "V*d + T*d + L*(12*d**2 + 13*d) + 2*d"
    assert found["latex"] == r"V d + T d + L \left(12 d^{2} + 13 d\right) + 2 d"
    assert found["symbols"] == {"V": "vocab_size", "d": "n_embd", "T": "n_positions", "L": "n_layer"}
    assert sum(each["value"] for each in found["components"]) == found["value"]
    assert [each["component"] for each in found["components"]][:2] == ["token_embedding", "position_embedding"]
    assert found["verified"] >= 20
    assert found["origin"] == "catalogue"
    assert "tie_word_embeddings" in found["guards"]
    assert found["check"] is None


def test_the_python_runs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["formula", "llama-7b", "--format", "python", "--fast"]) == 0
    names: dict[str, Any] = {}
    exec(capsys.readouterr().out, names)
    raw = dict(hfcount.formula("llama-7b", fast=True).raw)
    assert names["parameters"](raw) == 6738415616
    assert names["parameters"]({**raw, "num_hidden_layers": 1}) == 2 * 32000 * 4096 + 202383360 + 4096
    with pytest.raises(ValueError, match="tie_word_embeddings"):
        names["parameters"]({**raw, "tie_word_embeddings": True})


def test_formats_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, start in (("f.tex", "V d"), ("f.py", "def parameters"), ("f.json", "{"), ("f.txt", "openai")):
        assert run(["formula", "gpt2", "--fast", "--output", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text().startswith(start)
    assert capsys.readouterr().out == ""
    assert run(["formula", "gpt2", "--fast", "--quiet"]) == 0
    assert capsys.readouterr().out == "V*d + T*d + L*(12*d**2 + 13*d) + 2*d\n"


def test_a_variant_and_a_model_type(capsys: pytest.CaptureFixture[str]) -> None:
    untied = document(capsys, "gpt2", "--set", "tie_word_embeddings=false")
    assert untied["value"] == 163037184
    assert untied["text"] == "2*V*d + T*d + L*(12*d**2 + 13*d) + 2*d"
    assert untied["origin"] in ("catalogue", "traced")
    assert document(capsys, "llama", "--fast")["value"] == 6738415616


def test_more_configs_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert document(capsys, "gpt2", "--check", "3")["check"] == {"asked": 3, "agreed": 3, "failed": None}


def test_a_form_that_is_wrong_elsewhere_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPT-2's form with the depth of the published config written in: right there, wrong at other depths."""
    form = next(catalogue.forms("gpt2"))
    wrong = dataclasses.replace(form, symbols={**form.symbols, "L": "12"}, guards=())
    catalogue.write_forms(tmp_path / "gpt2.json", [wrong], default="GPT2LMHeadModel")
    monkeypatch.setattr(catalogue, "PACKAGED", tmp_path)
    found = document(capsys, "gpt2", "--check", "40", code=1)
    assert found["check"]["agreed"] < 40
    assert "against" in found["check"]["failed"]


def test_a_form_that_is_wrong_here_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    form = next(catalogue.forms("gpt2"))
    wrong = dataclasses.replace(form, rows=form.rows[1:])
    catalogue.write_forms(tmp_path / "gpt2.json", [wrong], default="GPT2LMHeadModel")
    monkeypatch.setattr(catalogue, "PACKAGED", tmp_path)
    found = document(capsys, "gpt2")
    assert found["origin"] == "traced"
    assert found["value"] == 124439808
    assert document(capsys, "gpt2")["origin"] == "traced"  # the packaged one is still asked first, and still wrong


def test_without_a_form_the_count_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hfcount.formulas.tracing import search

    def none(*_: Any, **__: Any) -> None:
        raise search.NoForm("it differs from the real class in a way that no field explains")

    monkeypatch.setattr(catalogue, "PACKAGED", tmp_path)
    monkeypatch.setattr(search, "find_form", none)
    found = document(capsys, "gpt2")
    assert found["value"] == 124439808
    assert [found[name] for name in ("text", "latex", "python", "origin")] == [None] * 4
    assert found["reason"].startswith("it differs")
    assert run(["formula", "gpt2"]) == 0
    assert "124,439,808 parameters, counted; no closed form could be verified" in capsys.readouterr().out
    assert run(["formula", "gpt2", "--format", "python"]) == 1
    assert "no verified closed form" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["gpt2", "--check", "-1"], ["gpt2", "--check", "5", "--fast"], ["gpt2", "--set", "n_head=5"], ["card:nosuch"]],
)
def test_bad_requests_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["formula", *arguments]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
