"""What commands send where: results to stdout, progress and colours to a terminal alone, and NO_COLOR is honoured."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hfcount.cli import progress
from hfcount.cli.app import run

ESCAPE = "\x1b"
COLOR = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[\d;]*)?m")
COMMANDS = (
    ["gpt2", "--fast", "--lora-r", "8"],
    ["formula", "gpt2", "--fast"],
    ["explain", "gpt2", "124M", "--fast"],
    ["compare", "gpt2", "mini-gpt", "--fast"],
    ["solve", "gpt2", "--trainable", "1%", "--fast"],
    ["mini-gpt"],
    ["memory", "mini-gpt"],
    ["audit", "gpt2"],
    ["card", "mini-gpt", "--fast", "--no-lora"],
    ["env"],
    ["--help"],
    ["memory", "--help"],
    ["gpt2", "--lora-r", "0"],
)
MARK = "=== next ==="
ALL = (
    "from hfcount.cli import progress\nprogress.AFTER_SECONDS = 600.0\n"  # a slow machine shows no line of progress
    "from hfcount.cli.app import run\n"
    f"for command in {COMMANDS!r}:\n"
    f"    run(command)\n    print({MARK!r}, flush=True)\n"
)


def on_terminal(code: str, *, also_stdout: bool = True, **environment: str) -> tuple[str, str]:
    """(what a Python process running `code` sent to a terminal, what it sent to stdout where that is a pipe)."""
    master, slave = pty.openpty()
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "HFCOUNT_LOG", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=slave if also_stdout else subprocess.PIPE,
        stderr=slave,
        stdin=subprocess.DEVNULL,
        env={**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(slave)
    shown = {master: b"", **({} if process.stdout is None else {process.stdout.fileno(): b""})}
    open_ends = set(shown)
    while open_ends:
        for end in select.select(list(open_ends), [], [])[0]:
            try:
                part = os.read(end, 65536)
            except OSError:  # how Linux says that the other end of a terminal is closed
                part = b""
            shown[end] += part
            if not part:
                open_ends.discard(end)
    process.wait()
    os.close(master)
    texts = [each.decode("utf-8").replace("\r\n", "\n") for each in shown.values()]
    return texts[0], texts[1] if len(texts) > 1 else ""


def test_every_command_has_colours_on_a_terminal_and_none_with_no_color() -> None:
    shown = dict(zip(map(" ".join, COMMANDS), on_terminal(ALL)[0].split(MARK), strict=False))
    uncolored = {"env", "card mini-gpt --fast --no-lora", "compare gpt2 mini-gpt --fast", "gpt2 --lora-r 0"}
    for command, text in shown.items():
        # What is bold or dim says so by an escape as well; a card is Markdown to be pasted, an error a bare line.
        assert (ESCAPE in text) == (command not in uncolored - {"compare gpt2 mini-gpt --fast"}), (
            f"{command}: {text!r}"
        )
    bare = on_terminal(ALL, NO_COLOR="1")[0]
    assert MARK in bare
    assert not COLOR.findall(bare), COLOR.findall(bare)[:3]


def test_no_command_sends_escapes_into_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.stdout.count(MARK) == len(COMMANDS), done.stderr[-500:]
    assert ESCAPE not in done.stdout
    assert done.stderr == "hfcount: --lora-r 0: a rank is a positive integer, as in --lora-r 4,8,16\n"


SOON = "from hfcount.cli import progress\nprogress.AFTER_SECONDS = 0.0\nfrom hfcount.cli.app import run\nrun({})\n"


def test_progress_is_on_the_terminal_and_gone_when_the_result_comes() -> None:
    terminal, result = on_terminal(SOON.format(["mini-gpt", "--lora-r", "8"]), also_stdout=False)
    assert terminal.startswith(progress.CLEAR)
    assert terminal.endswith(progress.CLEAR), terminal[-200:]
    assert "starting" in terminal
    assert ESCAPE not in result
    assert result.startswith("hfcount/mini-gpt · MiniGPTForCausalLM")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["mini-gpt", "-q"], {}), (["mini-gpt"], {"TERM": "dumb"}), (["mini-gpt", "--fast"], {"HFCOUNT_LOG": "error"})],
)
def test_no_progress_where_it_is_not_wanted(arguments: list[str], environment: dict[str, str]) -> None:
    terminal, result = on_terminal(SOON.format(arguments), also_stdout=False, **environment)
    assert terminal == ""
    assert result


def test_an_error_stands_alone_on_its_line() -> None:
    terminal, _ = on_terminal(SOON.format(["gpt2", "--set", "n_layer=1.5"]), also_stdout=False)
    assert re.search(r"\r\x1b\[2Khfcount: [^\x1b]*n_layer[^\x1b]*\n$", terminal), terminal[-300:]


def test_the_line_is_short_and_says_nothing_before_its_time() -> None:
    stream = io.StringIO()
    line = progress.Progress(stream, after=60)
    line.stop()
    assert stream.getvalue() == ""

    line = progress.Progress(stream, after=0)
    line.emit(logging.makeLogRecord({"msg": "building %s", "args": ("\x1b[31mx" * 500,)}))
    while "building" not in stream.getvalue():
        time.sleep(0.01)
    line.stop()
    drawn = stream.getvalue().split(progress.CLEAR)
    assert all(ESCAPE not in each and len(each) < 200 for each in drawn)
    assert stream.getvalue().endswith(progress.CLEAR)


def test_the_log_is_asked_for_by_its_level(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HFCOUNT_LOG", "info")
    assert run(["mini-gpt", "-q", "--output", str(tmp_path / "x.json")]) in (0, 2)
    assert "hfcount: building MiniGPTForCausalLM empty: " in capsys.readouterr().err
    monkeypatch.setenv("HFCOUNT_LOG", "loud")
    assert run(["mini-gpt", "-q"]) == 2
    assert capsys.readouterr().err == "hfcount: HFCOUNT_LOG=loud: one of debug, info, warning, error\n"
    monkeypatch.delenv("HFCOUNT_LOG")
    assert run(["mini-gpt", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert logging.getLogger("hfcount").level == logging.NOTSET


def test_the_library_is_silent_by_itself() -> None:
    said = "logging.getLogger('hfcount.x').error('never')"
    code = f"import logging, hfcount; {said}; print(hfcount.count('mini-gpt').sizes.total)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("131392", "")


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hfcount", "gpt2", "-q", "--fast"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "124439808\n")
    # What a spawned process imports again is no second run of the command.
    imported = subprocess.run(
        [sys.executable, "-c", "import hfcount.__main__"], capture_output=True, text=True, check=False
    )
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "", "")
