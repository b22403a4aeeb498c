"""The manual page is what the command line says of itself now, and man can read it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import typer
from conftest import load_script

from hfcount.cli.app import app

build_man = load_script("build_man")


@pytest.mark.pinned  # typer's words for types and defaults are in it
def test_the_page_is_current() -> None:
    assert build_man.PAGE.read_text(encoding="utf-8") == build_man.page(), "python scripts/build_man.py"


def test_it_has_every_command_and_option() -> None:
    page = build_man.page().replace("\\-", "-")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        section = page.partition(f'.SS "hfcount {name}"\n')[2].partition("\n.S")[0]
        assert section, f"no section for {name}"
        names = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert names
        missing = {each for each in names if each not in section}
        assert not missing, f"{name}: {missing}"
    assert all(f"\n.B {code}\n" in page for code in (0, 1, 2, 3))


def test_what_would_be_a_request_is_text() -> None:
    assert build_man.wrapped(".png and 'so'") == ["\\&.png and 'so'"]
    assert build_man.escaped(r"a\b -c") == r"a\eb \-c"


@pytest.mark.parametrize(
    "reader", [["mandoc", "-T", "lint", "-W", "error"], ["groff", "-man", "-ww", "-z"], ["man", "-l"]]
)
def test_the_readers_of_pages_take_it(reader: list[str]) -> None:
    if shutil.which(reader[0]) is None:
        pytest.skip(f"there is no {reader[0]} here")
    done = subprocess.run([*reader, str(build_man.PAGE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
