"""The pages: valid, whole in themselves, the same figures as the JSON, and deaf to what a config or a name says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import load_script

import hfcount.reports.html
from hfcount.api import compare, count, explain, formula
from hfcount.auditing.audits import audit
from hfcount.cli.app import run
from hfcount.components import COMPONENTS
from hfcount.costing import memory
from hfcount.reports.document import count_document
from hfcount.reports.html import (
    audit_page,
    comparison_page,
    count_page,
    explanation_page,
    formula_page,
    memory_page,
)
from hfcount.reports.html.bars import colour
from hfcount.reports.html.memory import memory_view
from hfcount.reports.html.symbols import values_in
from hfcount.reports.units import label
from hfcount.result import Count

VOID = {"meta", "link", "br", "hr", "img", "input", "source", "col"}
HOSTILE = "evil/<script>alert(1)</script>\"' onload='x\u202e}}{{7*7}}\ud800\x00"
VEGA = (Path(hfcount.reports.html.__file__).parent / "vega" / "vega.min.js").read_text(encoding="utf-8")
WHOLE = HOSTILE.replace("\ud800", "")  # a class cannot name a module with half a character


class Page(HTMLParser):
    """What a page holds, its tags checked for balance on the way."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def gpt2() -> Count:
    return count("gpt2", lora_r=(8, 16))


@pytest.fixture(scope="module")
def pages(gpt2: Count) -> dict[str, str]:
    simulated = memory("mini-gpt-lora-lab", regimes=("full",), method="simulated", curves=True, batch=2, seq=16)
    return {
        "count": count_page(gpt2, memory("gpt2", lora_r=8)),
        "memory": memory_page(simulated),
        "formula": formula_page(formula("gpt2")),
        "explain": explanation_page(*explain("gpt2", "117M")),
        "compare": comparison_page(compare(["gpt2", "llama-7b"])),
        "audit": audit_page(audit("gpt2")),
    }


NAMES = ("count", "memory", "formula", "explain", "compare", "audit")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_balanced_has_headings_in_order_and_names_its_tables(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    assert pages[name].startswith("<!DOCTYPE html>\n<html lang=")
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    assert all(
        attributes.get("aria-label") for _, attributes in page.tags if attributes.get("role") in ("img", "math")
    )
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links <= {f"#{each}" for each in ids}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_asks_the_network_for_nothing(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    fetching = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping", "manifest"}
    for tag, attributes in page.tags:
        assert not fetching & set(attributes), (tag, attributes)
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
    own = pages[name].replace(VEGA, "")  # that it loads nothing is seen in a browser, where nothing may be asked for
    assert "@import" not in own
    assert not re.search(r"url\(|fetch\(|XMLHttpRequest|import\(", own)


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_lets_the_pages_own_script_run_and_no_other(pages: dict[str, str], name: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", pages[name], flags=re.DOTALL)
    assert len(scripts) == 1
    assert pages[name].count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for t, a in Page(pages[name]).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.split("; ")[0] == "default-src 'none'"
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_figures_are_those_of_the_json(gpt2: Count, pages: dict[str, str]) -> None:
    document, words = count_document(gpt2), Page(pages["count"]).words
    figures = [document["parameters"][name] for name in ("total", "embedding", "non_embedding", "untied")]
    figures += [each["parameters"] for each in document["components"]]
    figures += [each["parameters"] for each in document["conventions"]]
    figures += [each[name] for each in document["lora"] for name in ("trainable", "all")]
    for figure in figures:
        assert f"{figure:,}" in words, figure
    for each in document["conventions"]:
        assert each["derivation"] in words
        assert each["note"] in words
    assert all(version in words for version in document["versions"].values())


def test_gpt2s_figures_tell_their_story(pages: dict[str, str]) -> None:
    """117M, 124M, 137M and 163M, each with its exact count: docs/labs.md has them from the labs."""
    words = Page(pages["count"]).words
    for figure in ("117M", "124M", "124,439,808", "163,037,184", "137,022,720", "116,929,536"):
        assert figure in words
    assert "−" not in words.split("The ways of counting")[0]
    assert pages["count"].count('role="math"') >= 6


def charts(page: str, kind: str) -> list[dict[str, Any]]:
    """What the charts of a kind show."""
    found = (attributes["data-values"] for _, attributes in Page(page).tags if attributes.get("data-chart") == kind)
    return [json.loads(each or "") for each in found]


def test_a_chart_shows_each_component_and_each_layer_once(gpt2: Count, pages: dict[str, str]) -> None:
    by_component, by_layer, _ = charts(pages["count"], "bars")
    shown = {each["name"]: each["value"] for each in by_component["parts"]}
    assert shown == {label(each.component): each.parameters for each in gpt2.components}
    assert sum(each["value"] for each in by_layer["parts"]) == 124439808
    # A block of GPT-2: 4·d² + 4·d of attention, 8·d² + 5·d of the MLP, two norms of 2·d.
    blocks = [each["row"] for each in by_layer["rows"] if each["name"].startswith("transformer.h.")]
    assert len(blocks) == 12
    for row in blocks:
        of_row = {each["name"]: each["value"] for each in by_layer["parts"] if each["row"] == row}
        assert of_row == {"attention": 4 * 768**2 + 4 * 768, "MLP": 8 * 768**2 + 5 * 768, "norm": 4 * 768}


def test_shares_fill_each_row(pages: dict[str, str]) -> None:
    _, shares = charts(pages["compare"], "bars")
    for row in shares["rows"]:
        assert sum(each["value"] for each in shares["parts"] if each["row"] == row["row"]) == pytest.approx(1)


def test_components_that_occur_together_have_colours_of_their_own() -> None:
    assert len({colour(each, COMPONENTS) for each in COMPONENTS}) == len(COMPONENTS)


def test_the_curve_has_the_peak_of_the_answer(pages: dict[str, str]) -> None:
    found = memory("mini-gpt-lora-lab", regimes=("full",), method="simulated", curves=True, batch=2, seq=16)
    (lines,) = found.curves.values()
    total = lines[[name for name in lines.columns if lines[name].dtype.kind == "i"]].sum(axis=1)
    (data,) = charts(pages["memory"], "timeline")
    assert data["operations"] == len(lines)
    assert data["peak"] == {"at": int(total.to_numpy().argmax()), "bytes": int(total.max())}
    highest = max(sum(point[1:]) for point in data["points"])
    assert highest == pytest.approx(int(total.max()), rel=0.01)  # buckets under a five-hundredth are not drawn
    assert [each["begins"] for each in data["phases"]][1:] == [each["ends"] for each in data["phases"]][:-1]
    assert f"{int(total.max()):,}" in Page(pages["memory"]).words


@pytest.mark.parametrize("way", [{}, {"gradient_checkpointing": True, "batch": 4}])
def test_the_form_of_a_peak_gives_what_it_is(way: dict[str, Any]) -> None:
    found = memory("gpt2", lora_r=8, seq=300, **way)
    forms = memory_view(found)["formulas"]
    assert len(forms) == 3
    for (_, form), budget in zip(forms, found.budgets, strict=True):
        value = eval(form, {"b": way.get("batch", 1), "s": 300, "r": 8})
        assert value == (budget.total_bytes or 0) - budget.temporary["rounding"]


def test_a_report_is_small_and_the_same_each_time(gpt2: Count, pages: dict[str, str]) -> None:
    assert len(pages["count"].encode()) - len(VEGA.encode()) < 300_000
    assert VEGA not in pages["formula"], "a page without a chart has no library for it"
    assert count_page(gpt2, memory("gpt2", lora_r=8)) == pages["count"]


def test_the_library_in_a_page_is_the_one_that_is_named() -> None:
    _, version = load_script("vendor_vega").VEGA.split("@")
    assert f'.version="{version}"' in VEGA
    assert "</script" not in VEGA


def hostile(result: Count) -> Count:
    form = result.form
    assert form is not None
    return dataclasses.replace(
        result,
        model=HOSTILE,
        model_class=HOSTILE,
        notes=(HOSTILE,),
        source=dataclasses.replace(result.source, model=HOSTILE, location=HOSTILE, revision=HOSTILE),
        conventions=tuple(
            dataclasses.replace(each, name=HOSTILE, note=HOSTILE, derivation=HOSTILE, published=(HOSTILE,))
            for each in result.conventions
        ),
        form=dataclasses.replace(form, source=HOSTILE, symbols=dict.fromkeys(form.symbols, HOSTILE)),
        lora=tuple(dataclasses.replace(each, targets=(HOSTILE,), formula=HOSTILE) for each in result.lora),
        parts=tuple(dataclasses.replace(each, name=f"{WHOLE}.0.x") for each in result.parts),
        versions={HOSTILE: HOSTILE},
    )


def test_what_a_config_says_stays_text(gpt2: Count) -> None:
    text = count_page(hostile(gpt2))
    page, plain = Page(text), Page(count_page(gpt2))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert text.count("<script") == 1
    assert "\u202e" not in text
    assert "\\u202e" in text, "a sign that turns the line round is told, not obeyed"
    assert "{{7*7}}" in text
    text.encode("utf-8")  # half a character would fail


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["gpt2", "--fast"], "no model was built"),
        (["count", "gpt2", "--set", "n_layer=3"], "a variant: n_layer=3"),
        (["formula", "gpt2"], "closed form"),
        (["explain", "gpt2", "117M"], "What gives it"),
        (["compare", "gpt2", "gpt2", "--fast"], "side by side"),
        (["audit", "gpt2"], "held against"),
    ],
)
def test_the_suffix_asks_for_a_page(tmp_path: Path, command: list[str], says: str) -> None:
    path = tmp_path / "report.html"
    assert run([*command, "--output", str(path)]) == 0
    assert says in Page(path.read_text(encoding="utf-8")).words


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "deepseek-v3", "gemma-3-4b-pt", "whisper-small"])
def test_symbols_have_the_configs_own_numbers(name: str, fast: bool) -> None:
    found = count(name, fast=fast)
    assert found.form is not None
    values = values_in(found.config, found.form)
    assert set(values) == set(found.form.symbols)
    raw = found.source.config
    for symbol, field in found.form.symbols.items():
        if field in raw:
            assert values[symbol] == raw[field]


def test_sizes_on_the_card_that_no_convention_gives_are_not_hidden() -> None:
    """Whisper's small model is published as 244M (openai/whisper README.md) and counts 241.7M."""
    words = Page(count_page(count("whisper-small"))).words
    assert "given by none of these ways" in words
    assert "244M" in words
    assert "244M" not in Page(count_page(count("whisper-small", settings=["encoder_layers=3"]))).words


def test_memory_beside_the_count_and_why_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mini-gpt-lora-lab", "--format", "html"]) == 0
    assert "QLoRA r=8" in capsys.readouterr().out
    assert run(["gpt2", "--fast", "--format", "html"]) == 0
    assert "Without --fast" in capsys.readouterr().out


def test_the_step_of_a_model_on_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mini-gpt-lora-lab", "--lora-r", "4", "--simulate", "--format", "html"]) == 0
    text = capsys.readouterr().out
    assert len(charts(text, "timeline")) == 3, "full, LoRA and QLoRA"
    full = memory("mini-gpt-lora-lab", regimes=("full",)).full
    assert f"{full.total_bytes:,}" in Page(text).words
    peaks = text.split('id="peaks"')[1]
    assert "base_model" not in peaks, "a tensor is told by the model's own names"
    assert "base_layer" not in peaks


@pytest.mark.parametrize("more", [[], ["--format", "json"], ["--format", "html", "--fast"]])
def test_a_step_wants_a_page(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert run(["gpt2", "--simulate", *more]) == 2
    assert "--simulate is for a page (--output report.html, without --fast)" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["env"], ["card", "gpt2"]])
def test_a_command_without_a_page_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    path = tmp_path / "report.html"
    assert run([*command, "--output", str(path)]) == 2
    assert "writes no html; ask for table, json, csv, markdown" in capsys.readouterr().err
    assert not path.exists()
