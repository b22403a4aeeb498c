"""The pages to share in a real Chromium: what their charts show and do, light, dark, narrow and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import WAIT, browser, watched

from hfcount.api import compare, count
from hfcount.auditing.audits import audit
from hfcount.costing import memory
from hfcount.reports.html import audit_page, comparison_page, count_page, memory_page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
__all__ = ["browser"]  # a fixture

HOSTILE = "evil/<script>alert(1)</script>\"' onload='x\u202e}}{{7*7}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as files, as somebody opens them from the disk."""
    simulated = memory("mini-gpt-lora-lab", regimes=("full",), method="simulated", curves=True, batch=2, seq=16)
    pages = {
        "count": count_page(count("gpt2", lora_r=8), memory("gpt2", lora_r=8)),
        "memory": memory_page(simulated),
        "compare": comparison_page(compare(["gpt2", "mixtral-8x7b"])),
        "audit": audit_page(audit("gpt2")),
    }
    home = tmp_path_factory.mktemp("pages")
    for name, text in pages.items():
        (home / f"{name}.html").write_text(text, encoding="utf-8")
    return home


@pytest.fixture
def page(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page whose context has the settings of `request.param`; at its end nothing may have gone wrong."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **getattr(request, "param", {})})
    faults = watched(context, folder.as_uri())
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()
    assert faults == []


def lengths(page: Any, figure: str) -> list[float]:
    """How long a chart's bars are, without their outlines."""
    shown = f"[...document.querySelectorAll('{figure} [data-chart=bars] .mark-rect path')]"
    return page.evaluate(f"{shown}.map((each) => each.getBBox().width)")


@pytest.mark.parametrize("name", ["count", "memory", "compare", "audit"])
@pytest.mark.parametrize("width", [390, 1000])
def test_every_chart_is_drawn_within_the_page(page: Any, folder: Path, name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((folder / f"{name}.html").as_uri())
    drawn = page.locator("[data-chart] svg").count()
    assert drawn == page.locator("[data-chart]").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_bar_is_as_long_as_its_figure(page: Any, folder: Path) -> None:
    page.goto((folder / "count.html").as_uri())
    shown = lengths(page, ".one")
    counted = [each.parameters for each in count("gpt2").components]
    for length, parameters in zip(shown, counted, strict=True):
        assert length == pytest.approx(max(1, max(shown) * parameters / max(counted)), abs=0.01)


def test_pointing_at_a_bar_tells_its_figure_and_a_click_leads_to_its_layers(page: Any, folder: Path) -> None:
    page.goto((folder / "count.html").as_uri())
    attention = page.locator(".one [data-chart=bars] .mark-rect path").nth(2)
    box = attention.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    sync_api.expect(page.locator("#tip")).to_have_text("attention: 28,348,416 (28.3M), 22.78%")
    page.mouse.click(*middle)
    sync_api.expect(page.locator(".two [data-of=attention]")).to_have_attribute("aria-pressed", "true")
    texts = page.locator(".two [data-chart] svg").text_content()
    assert texts.count("2,362,368") == 12  # 4·768² + 4·768 of each layer, and no other component's
    page.click(".two [data-of=attention]")  # again: all of them
    sync_api.expect(page.locator(".two [data-chart] svg")).to_contain_text("7,087,872")  # 12·768² + 13·768


def test_the_step_is_read_zoomed_and_shown_whole_again(page: Any, folder: Path) -> None:
    page.goto((folder / "memory.html").as_uri())
    chart = page.locator("[data-chart=timeline] svg")
    chart.scroll_into_view_if_needed()
    labels = "[...document.querySelectorAll('[data-chart=timeline] svg text')].map((each) => each.textContent).sort()"
    whole = page.evaluate(labels)
    box = chart.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    sync_api.expect(page.locator("#tip")).to_contain_text("operation")
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    page.mouse.up()
    page.wait_for_function(f"(whole) => String({labels}) !== String(whole)", arg=whole)  # the axis has other numbers
    page.mouse.dblclick(x, y)
    page.wait_for_function(f"(whole) => String({labels}) === String(whole)", arg=whole)


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True)
def test_letters_in_a_chart_have_the_pages_colour(page: Any, folder: Path) -> None:
    page.goto((folder / "count.html").as_uri())
    fills = "[...document.querySelectorAll('.one svg text')].map((each) => getComputedStyle(each).fill)"
    assert set(page.evaluate(fills)) == {page.evaluate("getComputedStyle(document.body).color")}


def test_on_paper_everything_is_unfolded_and_fits(page: Any, folder: Path) -> None:
    page.goto((folder / "count.html").as_uri())
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.evaluate("[...document.querySelectorAll('details')].every((each) => each.open)")


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_a_chart_is_a_sentence(page: Any, folder: Path) -> None:
    page.goto((folder / "count.html").as_uri())
    assert "Parameters by component: token embedding 38,597,376" in page.inner_text(".one [data-chart]")


def test_a_hostile_name_is_text_in_a_chart(page: Any, folder: Path) -> None:
    from hfcount.reports.html.bars import Chart, Row, Segment
    from hfcount.reports.html.page import render

    part = Segment(name=HOSTILE, colour="#000000", value=1, figure=HOSTILE, tip=HOSTILE)
    chart = Chart(rows=(Row(name=HOSTILE, figure=HOSTILE, segments=(part,)),), legend=((HOSTILE, "#000000"),), says="")
    text = render(
        "comparison.html",
        charts=True,
        title="",
        results=(),
        chart=chart,
        shares=chart,
        rows=(),
        totals=(),
        versions={},
    )
    (folder / "hostile.html").write_text(text, encoding="utf-8")
    page.goto((folder / "hostile.html").as_uri())
    shown = page.locator(".one [data-chart] svg text").first
    assert shown.text_content().startswith("evil/<script>")
    assert "\u202e" not in page.locator("body").text_content().replace(page.locator("script").text_content(), "")
    assert page.locator("script").count() == 1
