"""The page in a real Chromium: what a visitor sees, and that it asks no other host for anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import WAIT, browser, watched

pytest.importorskip("gradio", reason="the page needs Gradio: pip install 'hfcount[app]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
__all__ = ["browser"]  # a fixture

GPT2, GPT2_24_LAYERS = "124,439,808", f"{124_439_808 + 12 * (12 * 768**2 + 13 * 768):,}"
LLAMA_7B = "6,738,415,616"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from hfcount.app.serving import launch

    page, worker, url = launch()
    yield url
    page.close(verbose=False)
    worker.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page in a fresh context; at its end no error may have been written and no other host asked."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    faults = watched(context, address)
    context.set_default_timeout(WAIT)
    found = context.new_page()
    yield found
    context.close()
    assert faults == []


def opened(page: Any, address: str, query: str = "") -> None:
    page.goto(address + query)
    page.wait_for_selector("#total")


def total(page: Any, expected: str) -> None:
    sync_api.expect(page.locator("#total")).to_have_text(expected, timeout=WAIT)


def settled(page: Any) -> None:
    """The exact count has replaced the catalogue's, and the budget is there."""
    page.wait_for_selector("#status .good")
    page.wait_for_selector("#budget table")


def typed(page: Any, box: str, text: str) -> None:
    page.fill(f"#{box} textarea, #{box} input", text)


def test_it_opens_with_gpt2_counted_on_the_class(page: Any, address: str) -> None:
    opened(page, address)
    total(page, GPT2)
    settled(page)
    assert "equal to the catalogue's figures" in page.inner_text("#status")
    assert page.locator("#chart .bar").count() == 5
    assert "163,037,184" in page.inner_text("#conventions")
    assert "294,912" in page.inner_text("#lora")
    assert page.locator("#equations .katex").count() > 5  # set as mathematics
    assert not page.locator("#message p").count()


def test_a_changed_field_changes_the_figure_and_the_link(page: Any, address: str) -> None:
    opened(page, address)
    typed(page, "settings", "n_layer=24")
    total(page, GPT2_24_LAYERS)
    settled(page)
    assert "set=n_layer%3D24" in page.url
    typed(page, "ranks", "2")
    sync_api.expect(page.locator("#lora")).to_contain_text("147,456", timeout=WAIT)  # 24 layers, 2·(768 + 3·768)
    page.click("#checkpointing input")
    sync_api.expect(page).to_have_url(re.compile("checkpointing=1"), timeout=WAIT)


def test_a_field_of_the_config_is_picked_and_changed(page: Any, address: str) -> None:
    opened(page, address)
    settled(page)
    page.click("#fields input")
    page.get_by_role("option", name="n_layer = 12", exact=True).click()
    box = page.locator("#settings textarea")
    sync_api.expect(box).to_have_value("n_layer=12")
    total(page, GPT2)
    box.fill("n_layer=24")
    total(page, GPT2_24_LAYERS)


def test_another_model_is_typed_or_chosen(page: Any, address: str) -> None:
    opened(page, address)
    page.fill("#model input", "llama-7b")
    page.keyboard.press("Enter")
    total(page, LLAMA_7B)
    settled(page)


def test_a_config_is_pasted_and_edited(page: Any, address: str) -> None:
    opened(page, address, "?model=llama-7b")
    total(page, LLAMA_7B)
    page.click("#load-config")
    box = page.locator("#config textarea")
    sync_api.expect(box).not_to_have_value("")
    config = json.loads(box.input_value())
    typed(page, "config", json.dumps({**config, "num_hidden_layers": 1}))
    # 2·V·d of the embeddings, one layer of 4·d² + 3·d·f + 2·d, the last norm's d.
    total(page, f"{2 * 32000 * 4096 + 4 * 4096**2 + 3 * 4096 * 11008 + 3 * 4096:,}")
    sync_api.expect(page.locator("#headline")).to_contain_text("pasted config.json", timeout=WAIT)
    page.fill("#model input", "gpt2")
    page.keyboard.press("Enter")
    total(page, GPT2)
    assert box.input_value() == ""


BAD = (
    ("settings", "n_layer", "write it as KEY=VALUE"),
    ("settings", "n_layr=3", "did you mean n_layer"),
    ("settings", "n_layer=-4", "n_layer"),
    ("config", "{", "not valid JSON"),
    ("ranks", "many", "a rank is a positive integer"),
    ("batch", "0", "batch = 0"),
)


def test_bad_input_is_named_and_the_rest_stays(page: Any, address: str) -> None:
    opened(page, address)
    settled(page)
    alert = page.locator("#message [role=alert]")
    for box, text, said in BAD:
        typed(page, box, text)
        sync_api.expect(alert).to_contain_text(said, timeout=WAIT)
        total(page, GPT2)
        assert "Traceback" not in page.inner_text("body")
        typed(page, box, {"ranks": "8", "batch": "2"}.get(box, ""))
        sync_api.expect(alert).to_have_count(0)
        total(page, GPT2)


def test_a_link_restores_what_it_was_made_of(page: Any, address: str) -> None:
    query = "?model=gpt2&set=n_layer%3D24&r=8&batch=2&gpu=T4&figure=117M&precision=fp32&checkpointing=1"
    opened(page, address, query)
    total(page, GPT2_24_LAYERS)
    settled(page)
    assert page.input_value("#settings textarea") == "n_layer=24"
    assert page.input_value("#batch input") == "2"
    assert page.is_checked("#checkpointing input")
    assert "T4" in page.inner_text("#budget")
    assert "batch 2 × 1,024 tokens · fp32" in page.inner_text("#budget")
    page.wait_for_function("() => document.querySelector('#link textarea, #link input').value.includes('fp32')")
    link = page.input_value("#link textarea, #link input")
    other = page.context.new_page()
    opened(other, link)
    total(other, GPT2_24_LAYERS)
    sync_api.expect(other).to_have_url(link)


def test_a_bad_link_opens_the_page_and_says_so(page: Any, address: str) -> None:
    opened(page, address, "?batch=many")
    total(page, GPT2)
    assert "this link cannot be used" in page.inner_text("#link-fault")


def test_a_figure_is_explained(page: Any, address: str) -> None:
    opened(page, address)
    typed(page, "figure", "117M")
    sync_api.expect(page.locator("#explanation")).to_contain_text("116,929,536", timeout=WAIT)
    typed(page, "figure", "999M")
    sync_api.expect(page.locator("#explanation")).to_contain_text("no convention that is known gives 999M")


def test_results_are_downloaded(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address)
    settled(page)

    def data(suffix: str) -> bytes:
        with page.expect_download(timeout=WAIT) as download:
            page.click(f"#download-{suffix}")
        assert download.value.suggested_filename == f"gpt2.{suffix}"
        download.value.save_as(tmp_path / f"gpt2.{suffix}")
        return (tmp_path / f"gpt2.{suffix}").read_bytes()

    document = json.loads(data("json"))
    assert document["parameters"]["total"] == 124439808
    assert document["memory"]["regimes"]
    assert b"token_embedding,38597376" in data("csv")
    assert data("png").startswith(b"\x89PNG")
    assert b"124,439,808" in data("html")
    assert b"token_embedding,38597376" in data("csv"), "the same button again gives a file again"


@pytest.mark.parametrize("width", [400, 820, 1280])
def test_it_is_no_wider_than_the_screen(page: Any, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 860})
    opened(page, address, "?model=deepseek-ai%2FDeepSeek-V3&figure=671B")
    page.wait_for_selector("#conventions table")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('#answers').getBoundingClientRect().right") <= width


def test_it_is_served_on_loopback_alone(address: str) -> None:
    assert urlsplit(address).hostname == "127.0.0.1"
