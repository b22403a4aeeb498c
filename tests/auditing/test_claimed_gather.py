"""All claims of a model in their order, each once; what hostile texts do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcount.auditing.claimed import claims_in_text, claims_of
from hfcount.auditing.claimed.markdown import MAX_CARD, MAX_LINE
from hfcount.auditing.claimed.text import MAX_CLAIMS
from hfcount.conventions import parse_figure
from hfcount.sources.described import Described
from hfcount.sources.headers import Checkpoint, Header, StoredTensor
from hfcount.sources.source import Claim


def checkpoint(index: dict[str, Any] | None = None, tensors: tuple[StoredTensor, ...] = ()) -> Checkpoint:
    return Checkpoint(header=Header(format="safetensors", tensors=tensors, index=index or {}))


def test_all_sources_in_their_order() -> None:
    described = Described(
        model="someone/Wren-7B",
        where="hub",
        card="# Wren\n- Parameters: 7.25B\n\nWren-7B has 7.25B parameters, or 7,248,023,552 parameters.\n",
        claims=(Claim(claim="7.2B", approx=7.2e9, source="a paper"),),
        hub_total=7_248_023_552,
        checkpoint=checkpoint({"total_size": 14496047104.0, "total_parameters": 7_248_023_552}),
    )
    assert [(claim.claim, claim.kind, claim.source) for claim in claims_of(described)] == [
        ("7.2B", "total", "a paper"),
        ("7.25B", "total", "README.md line 2"),
        ("7B", "total (nominal, from the name)", "the repository's name"),
        ("7,248,023,552", "total (Hub safetensors)", "safetensors.total"),
        ("7,248,023,552", "total (index file)", "the index file: total_parameters"),
        ("14,496,047,104", "bytes (index file)", "the index file: total_size"),
    ]


def test_what_a_card_repeats_is_one_claim() -> None:
    card = "- Parameters: 7.25B\n- Total parameters: 7.25B\n- Parameters: 7.2B\n- Parameters: 7.20B\n"
    claims = claims_of(Described(model="someone/wren", where="card", card=card))
    assert [(claim.claim, claim.details) for claim in claims] == [
        ("7.25B", {"also": ("README.md line 2",)}),
        ("7.2B", {}),
        ("7.20B", {}),  # printed to another precision
    ]


def test_lines_of_peft_with_different_totals_stay_apart() -> None:
    card = "".join(f"trainable params: 8 || all params: {total} || trainable%: 1.0\n\n" for total in (100, 200, 100))
    claims = claims_of(Described(model="someone/wren", where="hub", card=card))
    assert [claim.details["all_params"] for claim in claims] == [100, 200]


@pytest.mark.parametrize("where", ["card", "folder", "hub", "row"])
def test_names_count_where_somebody_gave_them(where: Any) -> None:
    assert len(claims_of(Described(model="someone/Wren-7B", where=where))) == 1


def test_the_name_of_a_file_claims_nothing() -> None:
    assert claims_of(Described(model="wren-7b.safetensors", where="file")) == ()


def test_the_name_of_an_adapter_is_about_its_base() -> None:
    (claim,) = claims_of(Described(model="someone/alpaca-lora-7b", where="hub", adapter_config={"peft_type": "LORA"}))
    assert claim.details == {"of": "base model"}


@pytest.mark.parametrize("value", [None, True, "7", [7], -1, 1.5, float("nan"), float("inf"), {}])
def test_an_index_that_says_nonsense_claims_nothing(value: Any) -> None:
    described = Described(model="wren", where="hub", checkpoint=checkpoint({"total_parameters": value}))
    assert claims_of(described) == ()


# --- Texts that nobody meant well ---

_WORDS = st.sampled_from(
    [
        *("7B", "1.3 billion", "124,439,808", "parameters", "params:", "Parameters: 7B", "This model has", "Wren-7B"),
        *(
            "Llama 2",
            "and",
            "with",
            "total",
            "activated",
            "of which",
            "12-layer,",
            "参数量：",
            "1-1-1",
            "é",
            "…",
            "：",
        ),
        *("|", "|---|", "\n", "\n\n", "```", "~~~", "<!--", "-->", "<table>", "</table>", "[x](", ")", "![", "**"),
        *("---", "(", "~", "> ", "# ", "- ", "\\(", "\t", "\x00", "<a ", "&amp;", "\r"),
        "trainable params: 1 || all params: 2 || trainable%: 50.0",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(_WORDS, max_size=80).map(" ".join)))
def test_any_text_is_read(card: str) -> None:
    lines = card.split("\n")
    claims = claims_in_text(card, "someone/Wren-7B")
    assert len(claims) <= MAX_CLAIMS
    numbers = [int(claim.source.removeprefix("README.md line ")) for claim in claims]
    assert numbers == sorted(numbers)
    for claim, number in zip(claims, numbers, strict=True):
        digits = claim.claim.split()[0].lstrip("~≈").rstrip("BbMmKkTt")
        assert digits in lines[number - 1], f"{claim.claim!r} is not in line {number}: {lines[number - 1]!r}"
        if claim.kind != "trainable (PEFT printed)":
            assert parse_figure(claim.claim).value == (claim.value or claim.approx)


@given(st.integers(0, 30), st.integers(0, 5))
def test_front_matter_is_not_read_but_counted(yaml_lines: int, blank: int) -> None:
    front = "---\n" + "Parameters: 9B\n" * yaml_lines + "---\n" + "\n" * blank
    (claim,) = claims_in_text(f"{front}- Parameters: 7B", "someone/Wren-7B")
    assert (claim.claim, claim.source) == ("7B", f"README.md line {yaml_lines + blank + 3}")


def test_windows_line_ends() -> None:
    (claim,) = claims_in_text("---\r\nx: 1\r\n---\r\n\r\n- Parameters: 7B\r\n", "someone/Wren-7B")
    assert claim.source == "README.md line 5"


def test_limits() -> None:
    assert len(claims_in_text("- Parameters: 7B\n" * 1000, "x")) == MAX_CLAIMS
    assert claims_in_text(f"{'x' * MAX_LINE}\n\nThis model has 7B parameters.", "x") != ()
    assert claims_in_text(f"{' ' * MAX_LINE}This model has 7B parameters.", "x") == ()
    assert claims_in_text("\n" + " " * MAX_CARD + "\n- Parameters: 7B", "x") == ()


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "1-",
            "1,",
            "7B ",
            "7B parameters, ",
            "a A1 ",
            "the x ",
            "(",
            "[",
            "![",
            "<a ",
            "<!--",
            "|",
            "*",
            "- ",
            "x: ",
        ),
        *(
            "7B total total ",
            "1-1 1-1",
            "a, an ",
            "not ",
            "trainable params: 1 || ",
            "Parameters: 7B, ",
            "~ ",
            "0.",
            ":",
        ),
    ],
)
def test_repetition_comes_to_an_end(unit: str) -> None:
    """A pattern that backtracks over any of these would not return within anybody's patience."""
    assert len(claims_in_text(unit * (100_000 // len(unit)), "someone/Wren-7B")) <= MAX_CLAIMS


# --- Adapters ---
