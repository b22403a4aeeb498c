"""Shell completion as the shells use it: the scripts, the answers, bash itself, and the installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
CASES = [
    ("hfcount ex", "explain"),
    ("hfcount gpt2-x", "gpt2-xl"),
    ("hfcount gpt2 --lora-t", "--lora-targets"),
    ("hfcount count mini-gpt-l", "mini-gpt-large"),
    ("hfcount memory gpt2 --grad", "--gradient-checkpointing"),
    ("hfcount gpt2 --by l", "layer"),
    ("hfcount --ver", "--version"),
]


def asked(**environment: str) -> str:
    """What the command answers a shell."""
    code = "from hfcount.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr, done.stderr[-500:]
    return done.stdout


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_answers_to_bash(typed: str, offered: str) -> None:
    position = str(len(typed.split()) - 1)
    answer = asked(_HFCOUNT_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=position)
    assert offered in answer.split(), answer


def test_answers_to_zsh_and_fish() -> None:
    assert '"explain"' in asked(_HFCOUNT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="hfcount ex")
    fish = {"_HFCOUNT_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": "hfcount ex"}
    assert asked(**fish, _TYPER_COMPLETE_FISH_ACTION="get-args").startswith("explain")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_this_command(shell: str) -> None:
    script = asked(_HFCOUNT_COMPLETE=f"source_{shell}")
    assert f"_HFCOUNT_COMPLETE=complete_{shell}" in script
    interpreter = shutil.which(shell)
    if interpreter is not None:
        assert subprocess.run([interpreter, "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
def test_bash_completes_after_the_installation(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash", "PATH": f"{BIN}:{os.environ['PATH']}"}
    # A second command keeps bash from becoming hfcount, which looks for the shell that called it.
    install = subprocess.run(
        ["bash", "-c", "hfcount --install-completion; true"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "bash completion installed" in install.stdout, install.stderr
    script = (
        f"source {tmp_path}/.bashrc\n"
        "COMP_WORDS=(hfcount gpt2-x); COMP_CWORD=1\n"
        "_hfcount_completion hfcount\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
        "complete -p hfcount\n"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == ["gpt2-xl", "complete -o default -F _hfcount_completion hfcount"], done.stderr
