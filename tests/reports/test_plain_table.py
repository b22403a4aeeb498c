"""A table on a narrow terminal: no figure is cut, no column is lost, and each row keeps its name."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hfcount.reports.plain_table import plain_table


def shown(figures: list[list[int]], width: int) -> list[str]:
    table = plain_table(("Regime", "left"), *((f"c{number}", "right") for number in range(len(figures[0]))))
    for number, row in enumerate(figures):
        table.add_row(f"row{number}", *(f"{each:,}" for each in row))
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue().splitlines()


@given(
    st.integers(1, 9).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(0, 10**12), min_size=columns, max_size=columns), min_size=1, max_size=4
        )
    ),
    st.integers(30, 130),
)
def test_every_figure_is_there_beside_its_row(figures: list[list[int]], width: int) -> None:
    lines = shown(figures, width)
    assert all(len(line) <= width for line in lines)
    for number, row in enumerate(figures):
        words = [word for line in lines if line.startswith(f"row{number} ") for word in line.split()[1:]]
        assert words == [f"{each:,}" for each in row]


def test_what_fits_is_one_table() -> None:
    assert len(shown([[1, 2, 3]], 40)) == 2
    assert "" in shown([[10**12] * 4], 40)


def test_a_row_that_two_columns_name_keeps_both() -> None:
    table = plain_table(("GPU", "left"), ("Regime", "left"), ("Needs", "right"), ("Offers", "right"), names=2)
    for regime in ("LoRA", "QLoRA"):
        table.add_row("H100-80GB", regime, "196.02 GiB", "78.65 GiB")
    out = io.StringIO()
    Console(file=out, width=32).print(table)
    rows = [line.split() for line in out.getvalue().splitlines() if line.startswith("H100")]
    assert [row[:2] for row in rows] == 2 * [["H100-80GB", "LoRA"], ["H100-80GB", "QLoRA"]]
