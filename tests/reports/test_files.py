"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfcount.errors import BadInput
from hfcount.reports.files import check_writable, write_figure, write_text


def test_text_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    write_text(path, "new · figures")
    assert path.read_text(encoding="utf-8") == "new · figures"
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]


def test_a_failure_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    class Breaking:
        def savefig(self, path: Path, **how: object) -> None:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    path = tmp_path / "chart.png"
    path.write_bytes(b"old")
    with pytest.raises(BadInput, match="No space left on device"):
        write_figure(path, Breaking())  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["chart.png"]


def test_places_that_cannot_be_written_are_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        check_writable(tmp_path / "missing" / "out.json")
    with pytest.raises(BadInput, match="is a folder"):
        check_writable(tmp_path)
