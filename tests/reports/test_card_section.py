"""The section of a model card: its figures, and how it gets into a README without touching anything else."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hfcount.api import Count, count
from hfcount.errors import BadInput
from hfcount.reports.card import card_section, without_lora
from hfcount.reports.readme import (
    BEGIN,
    END,
    PROVENANCE,
    compare_section,
    differences,
    same_figures,
    section_of,
    spliced,
    write_section,
)
from hfcount.sources.cards import card_names
from hfcount.sources.described import Described

SECTION = f"## Parameters\n\nMany of them.\n\n{PROVENANCE}\n\nhfcount 0.1.0: `hfcount card . --write`\n"
OTHER = SECTION.replace("Many", "More")


@pytest.fixture(scope="module")
def gpt2() -> Count:
    return count("gpt2", lora_r=(8, 16), fast=True)


def tables(section: str) -> list[list[list[str]]]:
    """The tables of a section, rows of cells each, as a CommonMark parser with tables reads them."""
    found: list[list[list[str]]] = []
    kind = ""
    for token in MarkdownIt("commonmark").enable("table").parse(section):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and kind in ("th_open", "td_open"):
            found[-1][-1].append(token.content)
        kind = token.type
    return found


def test_the_tables_have_the_published_figures(gpt2: Count) -> None:
    """GPT-2's counts as transformers and nanoGPT print them, and PEFT's printed line for r = 8."""
    section = card_section(gpt2, "hfcount card gpt2")
    components, totals, ways, lora = tables(section)
    parts = {row[0]: row[1] for row in components[1:]}
    assert parts["**total**"] == "**124,439,808**"
    assert sum(int(value.replace(",", "")) for name, value in parts.items() if "total" not in name) == 124_439_808
    assert dict(totals) == {
        "Totals": "Count",
        "Total parameters": "124,439,808",
        "Non-embedding parameters": "85,056,000",
        "Token and position embeddings": "39,383,808",
        "Active for one token": "124,439,808",
    }
    others = {row[0]: row[1] for row in ways}
    assert others["LM head counted again"] == "163,037,184"
    assert others["without position embeddings"] == "123,653,376"  # what nanoGPT prints as 123.65M
    assert [row[:5] for row in lora[1:]] == [
        ["8", "`c_attn`", "294,912", "124,734,720", "0.2364%"],
        ["16", "`c_attn`", "589,824", "125,029,632", "0.4717%"],
    ]
    assert "`V·d + T·d + L·(12d² + 13d) + 2d` = 124,439,808" in section


NAMES = (None, "somebody/total-mlp-attention-8", "trained/count-share-gpt2-of-all")
MODELS = ("gpt2", "mixtral-8x7b", "llama-7b", "mini-gpt", "qwen3-30b-a3b", "t5-base", "google/vit-base-patch16-224")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_the_section_passes_the_audit(model: str, name: str | None) -> None:
    """Whatever the model is called: a name that is like a row's label must not make a component its total."""
    verdicts = audited(model, name)
    assert "total" in {kind for kind, _ in verdicts}
    assert {verdict for _, verdict in verdicts} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("model", card_names())
def test_the_section_of_every_card_passes_the_audit(model: str) -> None:
    assert {verdict for _, verdict in audited(model)} <= {"ok"}


def audited(model: str, name: str | None = None) -> list[tuple[str, str]]:
    """The kinds and verdicts of what is claimed in the section of a bundled card, as a model of that name."""
    from hfcount.auditing.claimed.text import claims_in_text
    from hfcount.auditing.judge import judge
    from hfcount.auditing.truth import Truth

    result = count(model, lora_r=8, lora_targets="all-linear", fast=True)
    described = Described(model=name or result.model, where="card", config=result.source.config)
    claims = claims_in_text(card_section(result, "hfcount card ."), described.model)
    return [(claim.kind, judge(claim, Truth(described)).verdict) for claim in claims]


def test_a_mixture_says_what_is_active() -> None:
    """Mixtral's 12.9B active of 46.7B (arXiv:2401.04088)."""
    section = card_section(count("mixtral-8x7b", fast=True), "hfcount card mixtral-8x7b")
    assert "46,702,792,704 parameters (46.70B), of which 12,879,925,248 are active for one token" in section
    assert dict(tables(section)[1])["LM head, not tied"] == "131,072,000"


def test_nothing_above_the_provenance_depends_on_name_or_versions(gpt2: Count) -> None:
    renamed = dataclasses.replace(gpt2, model="repo", versions=dict.fromkeys(gpt2.versions, "99.0"))
    old, new = card_section(gpt2, "hfcount card gpt2"), card_section(renamed, "hfcount card .")
    assert old != new
    assert same_figures(old, new)
    assert "99.0" in new
    assert "99.0" not in new.partition(PROVENANCE)[0]


def test_without_targets_there_is_no_table_but_a_reason() -> None:
    result = count("mini-gpt", lora_r=8, fast=True)
    assert "LoRA" not in card_section(result, "hfcount card mini-gpt")
    assert "minigpt" in without_lora(result)[0]


def test_a_form_that_misses_the_count_is_left_out(gpt2: Count) -> None:
    assert gpt2.form is not None
    one = dataclasses.replace(gpt2.form.components[0], value=7)
    wrong = dataclasses.replace(gpt2, form=dataclasses.replace(gpt2.form, value=7, components=(one,)))
    assert "closed form `" not in card_section(wrong, "hfcount card gpt2")


# What READMEs are made of: markers in places where they are none, all line ends, code that is closed or not.
LINES = st.sampled_from(
    [
        "", "text", "# Title", "---", "- item", "> quoted", "   ", "\tindented", "<div>", "</div>", "<!-- note -->",
        "<!--", "```", "```python", "~~~", "`` ` ``", "| a | b |", "| --- | --- |", f"see {BEGIN}", f"`{END}`",
        "hfcount: x", "\ufeff", "naïve · ü", "<pre>", "</details>", "\x0b", "\u2028", "===", "1. one", "  - two",
    ]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.lists(st.tuples(LINES, ENDS), max_size=12).map(lambda lines: "".join(a + b for a, b in lines))
FRONT = st.sampled_from(
    ["", "---\nlicense: mit\ntags:\n- x\n---\n", "\ufeff---\r\nlicense: mit\r\n---\r\n", "---\nopen\n"]
)
READMES = st.builds(
    lambda front, text, cut: (front + text)[: len(front + text) - cut], FRONT, TEXTS, st.integers(0, 2)
)
MARKER_LINES = st.sampled_from([BEGIN, END, "<!--hfcount:begin-->", "  <!-- hfcount:end -->", f"{BEGIN}{END}"])


def outcome(readme: str) -> str | BadInput:
    """`readme` with the section, or why it is refused."""
    try:
        return spliced(readme, SECTION, "README.md")
    except BadInput as error:
        return error


def ends_in_code(body: str) -> bool:
    """Whether what is put behind `body` would be code."""
    tokens = MarkdownIt("commonmark").parse(f"{body}\n\nbehind")
    return any(token.type == "fence" and token.content.endswith("behind") for token in tokens)


@given(readme=READMES)
@example(readme="a\r")
@example(readme="```\nnever closed")
@example(readme="> ```\n> closed by the end of the quotation\n")
def test_a_new_section_leaves_the_rest_byte_for_byte(readme: str) -> None:
    once = outcome(readme)
    if isinstance(once, BadInput):  # a code block is open to the end, by the parser's own account
        assert re.search("code block is open", str(once))
        assert any(
            ends_in_code(readme[start:]) for start in (0, *(match.end() for match in re.finditer("---", readme)))
        )
        return
    assert once.startswith(readme)
    assert spliced(once, SECTION, "README.md") == once
    twice = spliced(once, OTHER, "README.md")
    assert section_of(twice, "README.md") == OTHER.strip()
    assert twice == once.replace("Many", "More")


@given(
    before=READMES,
    old=TEXTS,
    after=TEXTS,
    end=ENDS,
    marks=st.sampled_from([(BEGIN, END), ("<!--hfcount:begin-->", END)]),
)
def test_a_section_is_replaced_and_the_rest_is_left_byte_for_byte(
    before: str, old: str, after: str, end: str, marks: tuple[str, str]
) -> None:
    begin, close = marks
    head, tail = f"{before}{end}{end}{begin}", f"{close}{end}{end}{after}"
    readme = f"{head}{end}{old}{end}{tail}"
    new = outcome(readme)
    if isinstance(new, BadInput):
        assert re.search("markers do not make one|code block is open|in a list", str(new))
        return
    assert spliced(new, SECTION, "README.md") == new
    if not new.startswith(readme):  # else the markers were in code, and the section is new at the end
        assert new.startswith(head)
        assert new.endswith(tail)


@given(parts=st.lists(st.one_of(MARKER_LINES, st.just("text")), min_size=1, max_size=5))
def test_markers_make_one_section_or_are_refused(parts: list[str]) -> None:
    text = "".join(f"{part}\n" for part in parts)
    order = re.findall(r"hfcount:(begin|end)", text)
    if order in ([], ["begin", "end"]):
        assert section_of(spliced(text, SECTION, "README.md"), "README.md") == SECTION.strip()
    else:
        with pytest.raises(BadInput, match="the markers do not make one section"):
            spliced(text, SECTION, "README.md")


@pytest.mark.parametrize(
    ("readme", "found"),
    [
        (f"```\n{BEGIN}\n{END}\n```\n", None),
        (f"    {BEGIN}\n    {END}\n", None),
        (f"---\nx: |\n  {BEGIN}\n  {END}\n---\n", None),
        (f"write {BEGIN}\nand {END}\n", None),
        (f"{BEGIN} {END}", " "),
        (f"<details>\n{BEGIN}\nold\n{END}\n</details>\n", "old"),
        (f"a paragraph\n{BEGIN}\nold\n{END}\n", "old"),
    ],
)
def test_where_a_marker_is_one(readme: str, found: str | None) -> None:
    assert section_of(readme, "README.md") == found


def test_markers_in_a_list_are_refused_with_their_line() -> None:
    with pytest.raises(BadInput, match=r"cards/README.md: the marker in line 3 is in a list"):
        spliced(f"- item\n\n  {BEGIN}\n  {END}\n", SECTION, "cards/README.md")


def test_the_hub_reads_the_same_metadata_before_and_after() -> None:
    front = "---\nlicense: mit\nlanguage:\n- en\nmodel-index:\n- name: x\n  results: []\n---\n# Title\n"
    before, after = ModelCard(front), ModelCard(spliced(front, SECTION, "README.md"))
    assert after.data.to_dict() == before.data.to_dict()
    assert after.data.license == "mit"
    # A front matter that is open must not be closed by the section.
    opened = "---\nlicense: mit\n"
    assert "\n---\n" not in spliced(opened, SECTION, "README.md")


def test_no_line_of_a_section_closes_a_front_matter(gpt2: Count) -> None:
    assert "---" not in card_section(gpt2, "hfcount card gpt2").splitlines()


def test_line_ends_are_the_files_own(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n# Title\r\n")
    assert write_section(readme, SECTION).state == "written"
    data = readme.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n# Title\r\n\r\n<!-- hfcount:begin -->\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")
    assert write_section(readme, SECTION).state == "unchanged"
    readme.write_bytes(data.replace(b"\r\n", b"\n"))  # as a checkout on another system has it
    assert compare_section(readme, SECTION).state == "current"


def test_versions_alone_change_nothing(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    write_section(readme, SECTION)
    data = readme.read_bytes()
    assert write_section(readme, SECTION.replace("0.1.0", "0.2.0")).state == "unchanged"
    assert readme.read_bytes() == data
    assert write_section(readme, OTHER.replace("0.1.0", "0.2.0")).state == "written"
    assert b"0.2.0" in readme.read_bytes()


def test_the_file_keeps_its_permissions_and_a_link_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "CARD.md", tmp_path / "README.md"
    target.write_text("# Title\n")
    target.chmod(0o640)
    link.symlink_to(target)
    write_section(link, SECTION)
    assert link.is_symlink()
    assert BEGIN in target.read_text(encoding="utf-8")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["CARD.md", "README.md"]


def test_what_is_no_utf8_is_refused_and_left(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes("na\u00efve".encode("latin-1"))
    with pytest.raises(BadInput, match=r"README.md: is not UTF-8 text \(byte 2\); save it as UTF-8 first"):
        write_section(readme, SECTION)
    assert readme.read_bytes() == b"na\xefve"


def test_a_write_that_fails_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BadInput, match="No space left"):
        write_section(readme, SECTION)
    assert readme.read_text() == "# Title\n"
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


def test_differences_are_lines_fit_for_a_terminal() -> None:
    assert differences("a\n\x1b[31mb", "a\nc") == ("-\\x1b[31mb", "+c")
    many = differences(None, "\n".join(f"line {i}" for i in range(100)))
    assert len(many) == 41
    assert many[-1] == "... and 60 lines more"
