"""Every answer as HTML, Markdown, a data frame and a chart, held against the answer's own figures."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch import nn

import hfcount
from hfcount.errors import BadInput
from hfcount.memory_answer import BUCKETS
from hfcount.reports import views
from hfcount.shown import Charted, Shown

ANSWERS: dict[str, Callable[[], Any]] = {
    "count": lambda: hfcount.count("gpt2", lora_r=[4, 8], fast=True),
    "lora": lambda: hfcount.count("gpt2", lora_r=[4, 8], fast=True).lora,
    "one rank": lambda: hfcount.count("gpt2", lora_r=8, fast=True).lora[0],
    "explain": lambda: hfcount.explain("gpt2", "117M", fast=True),
    "compare": lambda: hfcount.compare(["gpt2", "mini-gpt", "gpt2"], fast=True),
    "formula": lambda: hfcount.formula("gpt2", fast=True),
    "memory": lambda: hfcount.memory("mini-gpt", batch=4),
    "audit": lambda: hfcount.audit("gpt2"),
    "solve": lambda: hfcount.solve("gpt2", trainable="1%", fast=True),
    "live": lambda: hfcount.report(nn.Sequential(nn.Linear(30, 20), nn.BatchNorm1d(20))),
}
# A figure that the report of each must have, in the form that people read.
TOLD = {
    "count": "124,439,808", "lora": "294,912", "one rank": "294,912", "explain": "116,929,536",
    "compare": "131,392", "formula": "56,669,184", "memory": "131,392", "audit": "124,439,808",
    "solve": "1,253,376", "live": "660",
}  # fmt: skip


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return {name: make() for name, make in ANSWERS.items()}


class Tags(html.parser.HTMLParser):
    """The tags that are open, and every tag and attribute that there was."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ANSWERS)
def test_html_is_whole_and_has_no_colour_of_its_own(answers: dict[str, Any], name: str) -> None:
    text = answers[name]._repr_html_()
    tags = Tags(text)
    assert tags.open == []
    assert {"div", "table", "td"} <= tags.seen
    assert tags.seen <= {
        "div",
        "h3",
        "h4",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "strong",
        "ul",
        "li",
    }
    assert not [
        value for key, value in tags.attributes if key == "style" and re.search("color|background", value or "")
    ]
    assert TOLD[name] in text


@pytest.mark.parametrize("name", ANSWERS)
def test_text_and_markdown_tell_the_figure(answers: dict[str, Any], name: str) -> None:
    answer = answers[name]
    assert TOLD[name] in str(answer)
    assert "\x1b" not in str(answer)
    assert TOLD[name] in answer.to_markdown()
    assert re.search(r"^\| ?-+:? \|", answer.to_markdown(), re.MULTILINE)


@pytest.mark.parametrize("name", ANSWERS)
def test_rich_prints_it(answers: dict[str, Any], name: str) -> None:
    from rich.console import Console

    console = Console(width=150, force_terminal=True, color_system="truecolor")
    with console.capture() as captured:
        console.print(answers[name])
    assert TOLD[name] in captured.get()
    assert "\x1b[" in captured.get()


def test_frames_are_exact(answers: dict[str, Any]) -> None:
    frames = {name: answer.to_frame() for name, answer in answers.items()}
    assert frames["count"]["parameters"].sum() == 124439808
    assert str(frames["count"]["parameters"].dtype) == "int64"
    # r·(768 + 2304) in each of 12 layers
    assert frames["lora"]["trainable"].tolist() == [12 * 4 * 3072, 12 * 8 * 3072]
    assert frames["one rank"]["trainable"].tolist() == [12 * 8 * 3072]
    assert frames["explain"].query("gives_it")["parameters"].tolist() == [124439808 - (50257 - 40478) * 768]
    assert frames["compare"].groupby("model")["parameters"].sum().to_dict() == {
        "openai-community/gpt2": 2 * 124439808, "hfcount/mini-gpt": 131392,
    }  # fmt: skip
    assert frames["formula"]["parameters"].sum() == 124439808
    memory = frames["memory"].set_index("regime")
    assert memory.loc["full", "trainable"] == 131392
    parts = [f"{name}_bytes" for name in BUCKETS]
    assert (memory[parts].fillna(0).sum(axis=1) == memory["total_bytes"]).all()
    assert set(frames["audit"]["verdict"]) == {"ok", "explained", "unverifiable"}
    assert frames["audit"]["expected"].dropna().tolist()[0] == 124439808
    assert frames["solve"]["count"].tolist() == [34 * 36864, 35 * 36864]
    assert frames["live"]["numel"].sum() == 30 * 20 + 20 + 2 * 20
    assert all(isinstance(frame, pd.DataFrame) for frame in frames.values())


@pytest.mark.parametrize("by", ["component", "layer", "module", "parameter"])
def test_a_count_by_any_grouping_adds_up(by: Any) -> None:
    counted = hfcount.count("mini-gpt")
    assert counted.to_frame(by=by)["parameters"].sum() == 131392


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "solve"])
def test_charts_are_figures_in_the_pages_colours(answers: dict[str, Any], name: str, tmp_path: Path) -> None:
    figure = answers[name].plot()
    assert isinstance(figure, Figure)
    shown = figure._repr_mimebundle_()
    svg = shown["text/html"]
    tags = Tags(re.sub(r"<([\w:]+)([^<>]*)/>", r"<\1\2></\1>", svg))
    assert tags.open == []
    assert "currentColor" in svg
    # Neither ink nor ground of its own: what is drawn in colour reads on white and on black.
    assert "#000000" not in svg
    assert not re.search(r'id="patch_1">\s*<path[^>]*fill: #ffffff', svg)
    assert svg == answers[name].plot()._repr_mimebundle_()["text/html"], "a notebook that is run again would change"
    figure.savefig(tmp_path / "chart.png")
    figure.savefig(tmp_path / "cut.png", bbox_inches=None)
    whole, cut = (imread(tmp_path / each) for each in ("chart.png", "cut.png"))
    assert whole.shape[1] > cut.shape[1], "names and figures beside the axes are cut off"


def test_bars_are_as_long_as_the_figures(answers: dict[str, Any]) -> None:
    def lengths(figure: Any) -> list[float]:
        return [patch.get_width() for patch in figure.axes[0].patches]

    assert lengths(answers["lora"].plot()) == [147456, 294912]
    found = [*answers["explain"].explanation.matches, *answers["explain"].explanation.misses]
    assert lengths(answers["explain"].plot()) == [each.convention.parameters for each in found]
    assert sum(lengths(answers["formula"].plot())) == 124439808
    assert sum(lengths(answers["compare"].plot())) == pytest.approx(3)  # each bar is a whole
    assert sum(lengths(answers["live"].plot())) == 660


def test_what_a_model_brings_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>|*x*"
    folder.mkdir()
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 1, "n_embd": 8, "n_head": 2}
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 20, "n_positions": 8}))
    text = hfcount.count(str(folder))._repr_html_()
    assert "img" not in Tags(text).seen
    assert "&lt;img" in text


def test_pairs_and_tuples_are_still_what_they_were(answers: dict[str, Any]) -> None:
    counted, explanation = answers["explain"]
    assert counted is answers["explain"].counted
    assert explanation.explained
    assert [each.model for each in answers["compare"]] == [
        "openai-community/gpt2",
        "hfcount/mini-gpt",
        "openai-community/gpt2",
    ]
    assert answers["compare"] == tuple(answers["compare"])
    assert hfcount.count("mini-gpt", fast=True).lora == ()


def test_nothing_to_draw_is_said_in_a_line() -> None:
    with pytest.raises(BadInput, match="nothing to draw: no rank asked"):
        hfcount.count("mini-gpt", fast=True).lora.plot()
    with pytest.raises(BadInput, match="nothing to draw: no model was compared"):
        hfcount.compare([]).plot()


def every(kind: type) -> list[type]:
    return [each for child in kind.__subclasses__() for each in (child, *every(child))]


@pytest.mark.parametrize(
    "kind", [each for each in every(Shown) if each is not Charted], ids=lambda kind: kind.__name__
)
def test_every_answer_has_every_view(kind: type) -> None:
    """A new answer cannot be forgotten: each way to look at one has a case for it."""
    for view in (views.report, views.markdown):
        assert view.dispatch(kind) is not view.dispatch(object), f"no {view.__name__} of {kind.__name__}"
    assert "to_frame" in vars(kind) or views.frame.dispatch(kind) is not views.frame.dispatch(object)
    if issubclass(kind, Charted):
        assert views.figure.dispatch(kind) is not views.figure.dispatch(object)
