"""The example notebook runs from top to bottom in a real kernel, without a network, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of each code cell by the cell's source, as data by MIME type, after a run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}
    ).execute()
    # What libraries print beside it is theirs: tqdm asks for widgets, PEFT is ahead of transformers.
    return {
        cell.source: [output.data for output in cell.outputs if "data" in output]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def outputs(ran: dict[str, Any], ending: str) -> list[Any]:
    """The outputs of the one cell whose source ends so."""
    (found,) = [value for source, value in ran.items() if source.endswith(ending)]
    return found


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_an_answer_is_a_table(ran: dict[str, Any]) -> None:
    (shown,) = outputs(ran, "counted")
    assert "124,439,808" in shown["text/html"]
    assert "<table>" in shown["text/html"]
    assert shown["text/plain"].startswith("openai-community/gpt2 · GPT2LMHeadModel")


def test_every_chart_is_in_the_colours_of_the_page(ran: dict[str, Any]) -> None:
    charts = [value for source, value in ran.items() if source.endswith(".plot()")]
    assert len(charts) == 5
    for (shown,) in charts:
        assert "currentColor" in shown["text/html"]
        assert "#000000" not in shown["text/html"]
        assert shown["image/png"]


def test_the_figures_are_known_ones(ran: dict[str, Any]) -> None:
    (text,) = outputs(ran, "form.text, form.value")
    assert "124439808" in text["text/plain"]
    (sizes,) = outputs(ran, "sizes.assign(parameters=form.evaluate(sizes))")
    # The four sizes as transformers builds them; the paper's own figures were wrong (openai/gpt-2, README).
    for figure in (124439808, 354823168, 774030080, 1557611200):
        assert str(figure) in sizes["text/plain"]
