"""The scanner of front matters, against huggingface_hub's own pattern, and on cards that made patterns hang."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from watchdog import seconds_of_work

from hfcount.auditing.claimed.markdown import body
from hfcount.errors import BadInput
from hfcount.reports.readme import BEGIN, END, section_of, spliced
from hfcount.sources.claims import front_matter
from hfcount.sources.front_matter import split_front_matter

HUB_BLOCK = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
"""huggingface_hub.repocard.REGEX_YAML_BLOCK as of version 1.6, written out so that older ones do not matter."""

LINES = st.sampled_from(["---", "--- ", "----", " ---", "a: 1", "", " ", "- x", "---\t"])
TEXTS = st.lists(LINES, max_size=8).map("\n".join)


@given(text=TEXTS, end=st.sampled_from(["\n", "\r\n", "\r"]))
@example(text="---\n---\nx\n---\n", end="\n")
@example(text="---\n\n---", end="\r\n")
def test_a_front_matter_is_what_the_hub_takes(text: str, end: str) -> None:
    """Whatever the line ends; blanks behind the first dashes, which the Hub does not take, are no difference here."""
    theirs = HUB_BLOCK.match(re.sub(r"\A(\s*---)[ \t]+(?=\n)", r"\1", text))
    block, behind = split_front_matter(text.replace("\n", end))
    assert block == (f"{theirs[2]}\n" if theirs else "").replace("\n", end)
    assert text.replace("\n", end)[behind:] == (theirs.string[theirs.end() :] if theirs else text).replace("\n", end)


def test_lone_carriage_returns_and_a_byte_order_mark() -> None:
    assert split_front_matter("\ufeff\r\r---\ra: 1\r---\rtext") == ("a: 1\r", 16)
    assert front_matter("---\ra: 1\rb: 2\r---\r") == {"a": 1, "b": 2}
    assert body("---\na: 1\n---\n\ntext\r\n") == [(4, ""), (5, "text"), (6, "")]


PIECES = ["\n", "\r", "\r\n", " ", "\t", "---", "---\r", "\n---", "---\n---x\n", "\n--- x", "- ", "a: 1\n", "\n\n---y"]


@pytest.mark.parametrize("head", ["", "---", "---\n"], ids=ascii)
def test_no_card_makes_its_readers_slow(head: str) -> None:
    """Thirteen cards of 100 kB for each beginning: a pattern takes more than a lifetime for one."""
    for piece in PIECES:
        card = head + piece * (100_000 // len(piece)) + "x"
        with seconds_of_work(20):
            split_front_matter(card)
            body(card)
            section_of(f"{card}\n\n{BEGIN}\n{END}\n", "README.md")
            with contextlib.suppress(BadInput):
                front_matter(card)


def test_the_card_of_six_kilobytes() -> None:
    card = "---\n" + "\n" * 6000 + BEGIN
    with seconds_of_work(20):
        assert spliced(f"{card}\nold\n{END}", "new", "README.md") == f"{card}\n\nnew\n\n{END}"
