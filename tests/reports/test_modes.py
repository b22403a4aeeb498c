"""One result in every output mode: the same figures in each, and the JSON as the interface fixes it."""

from __future__ import annotations

import csv as csv_module
import dataclasses
import io
import json
from pathlib import Path

import pytest

from hfcount.api import Count, compare, count, explain
from hfcount.reports import csv, document, markdown, terminal

GPT2_TOTAL = 124_439_808
GPT2_R8 = 294_912


@pytest.fixture(scope="module")
def gpt2() -> Count:
    return count("gpt2", lora_r=(8,))


@pytest.mark.parametrize("by", ["component", "layer", "module", "parameter"])
def test_every_mode_shows_the_total(gpt2: Count, by: str) -> None:
    table = terminal.to_text(terminal.count_report(gpt2, by=by))
    text = markdown.count_markdown(gpt2, by=by)
    rows = list(csv_module.DictReader(io.StringIO(csv.count_csv(gpt2, by=by))))
    parsed = json.loads(json.dumps(document.count_document(gpt2, by=by)))
    assert f"{GPT2_TOTAL:,}" in table
    assert f"{GPT2_TOTAL:,}" in text
    assert sum(int(row["parameters"]) for row in rows) == GPT2_TOTAL
    assert sum(row["parameters"] for row in parsed["breakdown"]["rows"]) == GPT2_TOTAL


def test_json_has_the_fixed_names(gpt2: Count) -> None:
    parsed = document.count_document(gpt2)
    assert list(parsed)[:11] == [
        "schema", "model", "model_class", "model_type", "source", "versions", "parameters", "components", "formula",
        "conventions", "lora",
    ]  # fmt: skip
    assert parsed["schema"] == 1
    assert parsed["model"] == "openai-community/gpt2"
    assert set(parsed["source"]) == {"kind", "location", "revision"}
    assert {"hfcount", "transformers", "torch", "peft", "accelerate"} <= set(parsed["versions"])
    assert parsed["parameters"] | {"buffers": 0} == {
        "total": GPT2_TOTAL,
        "embedding": 39_383_808,
        "lm_head": 0,
        "non_embedding": 85_056_000,
        "active": GPT2_TOTAL,
        "untied": 163_037_184,
        "buffers": 0,
    }
    assert set(parsed["components"][0]) == {"component", "parameters", "share", "formula"}
    assert parsed["components"][0]["formula"] == "V*d"
    assert parsed["formula"]["matches"] is True
    assert parsed["formula"]["origin"] == "family"
    lora = parsed["lora"][0]
    assert (lora["r"], lora["targets"], lora["trainable"], lora["all"]) == (8, ["c_attn"], GPT2_R8, 124_734_720)
    assert lora["trainable_percent"] == 0.2364
    assert lora["unreached_share"] == 0.8294
    assert lora["matches"] is True
    assert all({"name", "parameters", "published", "note"} <= set(each) for each in parsed["conventions"])


def test_without_a_form_the_formula_is_null_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcount.formulas.catalogue.PACKAGED", tmp_path)
    result = count("rwkv-4-169m-pile", lora_r=())
    assert result.form is None
    formula = document.count_document(result)["formula"]
    assert {formula[key] for key in ("text", "value", "matches", "origin")} == {None}
    assert document.count_document(result)["lora"] == []
    assert "no closed form" in terminal.to_text(terminal.count_report(result))
    assert "No closed form" in markdown.count_markdown(result)
    assert result.all_matches


def test_default_targets_that_peft_lacks_are_a_row_with_a_reason() -> None:
    result = count("mini-gpt", lora_r=4)
    row = document.count_document(result)["lora"][0]
    assert row["trainable"] is None
    assert "minigpt" in row["reason"]
    assert row["reason"] in terminal.to_text(terminal.count_report(result), width=200)
    assert row["reason"] in markdown.count_markdown(result)


def test_a_mismatch_is_shown_in_full_and_fails(gpt2: Count) -> None:
    assert gpt2.form is not None
    one = dataclasses.replace(gpt2.form.components[0], value=GPT2_TOTAL + 5)
    form = dataclasses.replace(gpt2.form, value=GPT2_TOTAL + 5, components=(one,))
    wrong = dataclasses.replace(gpt2, form=form)
    assert not wrong.all_matches
    text = terminal.to_text(terminal.count_report(wrong))
    assert "≠" in text
    assert "+5" in text


def test_explanations_in_every_mode() -> None:
    result, explanation = explain("gpt2", "137M")
    assert explanation.explained
    shown = [
        terminal.to_text(terminal.explanation_report(result, explanation)),
        markdown.explanation_markdown(result, explanation),
        json.dumps(document.explanation_document(result, explanation)),
        csv.explanation_csv(explanation),
    ]
    for text in shown:
        assert "137022720" in text.replace(",", "")


def test_comparisons_in_every_mode() -> None:
    results = compare(["mini-gpt-lab02", "mini-gpt-medium", "mini-gpt-large"])
    totals = [103_680, 799_488, 4_749_312]  # lab 02's scaling table
    assert [each.sizes.total for each in results] == totals
    texts = [terminal.to_text(terminal.comparison_report(results)), markdown.comparison_markdown(results)]
    for text in texts:
        assert all(f"{total:,}" in text for total in totals)
    rows = csv_module.DictReader(io.StringIO(csv.comparison_csv(results)))
    assert sum(int(row["parameters"]) for row in rows) == sum(totals)
    parsed = document.comparison_document(results)
    assert [each["parameters"]["total"] for each in parsed["models"]] == totals


def test_markdown_cells_keep_the_table_whole() -> None:
    table = markdown.markdown_table(["a", "b"], [["x|y", "1"]], right=(1,))
    assert table == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"
