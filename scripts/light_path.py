"""Run what needs no torch on every supported Python that is there, and print a table.

Each Python gets an environment of its own, in a temporary folder, with the libraries that the light path imports and
nothing else; the commands run from this checkout. Exit code 1 where a command answers otherwise than it should.

    python scripts/light_path.py                      # the Pythons on PATH, of pyenv and of uv
    python scripts/light_path.py python3.10 /opt/py312/bin/python
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MINORS = (10, 11, 12, 13, 14)
LIBRARIES = ("huggingface_hub", "jinja2", "markdown-it-py", "platformdirs", "pyyaml", "rich", "typer")
GPT2 = "124439808"


class Case(NamedTuple):
    """A command line, the exit code that it should end with, and what it should print."""

    line: str
    code: int = 0
    prints: str = ""


CASES = (
    Case("--version", prints="hfcount"),
    Case("--help", prints="Usage"),
    Case("gpt2 --fast -q", prints=GPT2),
    Case("gpt2 --fast", prints="124,439,808"),
    Case("gpt2 --fast --lora-r 8", prints="294,912"),
    Case("gpt2 --fast --format json", prints=GPT2),
    Case("gpt2 --fast --format csv", prints="attention,28348416"),
    Case("gpt2 --fast --format markdown", prints="124,439,808"),
    Case("formula gpt2 --fast -q", prints="V*d"),
    Case("formula gpt2 --fast --format python", prints="def parameters"),
    Case("formula gpt2 --fast --format latex", prints="V"),
    Case("explain gpt2 124M --fast", prints="124"),
    Case("compare gpt2 llama-7b --fast -q", prints="6738415616"),
    Case("solve gpt2 --trainable 1% --fast", prints="trained(r)"),
    Case("card gpt2 --fast --no-lora", prints="124,439,808"),
    Case("audit gpt2 --workers 0 --format json", prints='"mismatch": 0'),
    Case("env", prints="hfcount"),
    Case("gpt2 --lora-r 0", 2),
    Case("--no-such-option", 2),
    Case("nowhere/to-be-found --offline --fast", 3),
    Case("./no-such-folder", 2),
    Case("gpt2 --fast --format html", 2, "cannot be imported"),
    Case("mini-gpt", 2, "cannot be imported"),
    Case("memory gpt2", 2, "cannot be imported"),
)


def main() -> None:
    """Print one row for each Python, and each command that answers otherwise; exit 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="interpreters (default: those that are found)")
    arguments = parser.parse_args()
    versions = {python: _version(python) for python in arguments.pythons or _candidates()}
    if unfit := [python for python in arguments.pythons if versions[python] is None]:
        raise SystemExit(f"{unfit[0]} does not start, or is no Python from 3.{MINORS[0]} to 3.{MINORS[-1]}")
    found = dict(filter(None, versions.values()))
    if not found:
        raise SystemExit(f"no Python from 3.{MINORS[0]} to 3.{MINORS[-1]} was found")
    wrong = 0
    for minor in sorted(found):
        with tempfile.TemporaryDirectory() as home:
            python = _environment(found[minor], Path(home))
            cases = [*CASES, *_helps(python)]
            faults = list(_faults(python, cases))
        wrong += len(faults)
        print(f"Python 3.{minor:<3} {len(cases) - len(faults):3} of {len(cases)} commands  {found[minor]}", flush=True)
        for fault in faults:
            print(f"  {fault}")
    missing = [f"3.{minor}" for minor in MINORS if minor not in found]
    if missing:
        print(f"not found: Python {', '.join(missing)}")
    raise SystemExit(1 if wrong else 0)


def _candidates() -> Iterator[str]:
    """Interpreters on PATH, of pyenv and of uv."""
    homes = [
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
    ]
    for minor in MINORS:
        name = f"python3.{minor}"
        yield from filter(None, [shutil.which(name)])
        yield from (str(each) for home in homes for each in sorted(home.glob(f"*/bin/{name}")))


def _version(python: str) -> tuple[int, str] | None:
    """(minor version, the interpreter's path), None for one that does not start or is not supported."""
    try:
        ran = subprocess.run(
            [python, "-c", "import sys, venv; print(*sys.version_info[:2], sys.executable)"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, path = ran.stdout.strip().split(" ", 2)
    return (int(minor), path) if major == "3" and int(minor) in MINORS else None


def _environment(python: str, home: Path) -> Path:
    """Make an environment with the light path's libraries in `home`; return its interpreter."""
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    made = home / "bin/python"
    pip = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *_requirements()], check=True, capture_output=True)
    return made


def _requirements() -> list[str]:
    """The light path's libraries as pyproject.toml asks for them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = re.findall(r'^  "(([\w-]+)[^"]*)",$', text, re.MULTILINE)
    return [requirement for requirement, name in asked if name in LIBRARIES]


def _helps(python: Path) -> Iterator[Case]:
    """`--help` of every command that the main help lists."""
    listed = re.findall(r"^│ (\w+) {2,}", _run(python, "--help")[1], re.MULTILINE)
    yield from (Case(f"{command} --help", prints="Usage") for command in listed)


def _faults(python: Path, cases: list[Case]) -> Iterator[str]:
    for case in cases:
        code, printed = _run(python, case.line)
        if "Traceback" in printed or "a fault in" in printed:
            yield f"hfcount {case.line}: {printed.strip().splitlines()[-1]}"
        elif code != case.code:
            yield f"hfcount {case.line}: exit code {code} for {case.code}: {' '.join(printed.split())[-200:]}"
        elif case.prints not in printed:
            yield f"hfcount {case.line}: {case.prints!r} is not in {' '.join(printed.split())[:200]}"


def _run(python: Path, line: str) -> tuple[int, str]:
    """(exit code, stdout and stderr) of `hfcount LINE`, from this checkout, with a cache of its own."""
    with tempfile.TemporaryDirectory() as empty:
        ran = subprocess.run(
            [str(python), "-W", "error::SyntaxWarning", "-m", "hfcount", *line.split()],
            capture_output=True, text=True, timeout=300, cwd=empty,
            env={"PATH": os.environ["PATH"], "HOME": empty, "PYTHONPATH": str(ROOT), "HFCOUNT_CACHE": empty,
                 "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100", "NO_COLOR": "1"},
        )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


if __name__ == "__main__":
    main()
