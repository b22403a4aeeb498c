"""Streams, folders, addresses and libraries that are broken: one line on stderr and the right exit code."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hfcount.cli.app import run
from hfcount.environment import cannot_import
from hfcount.errors import BadInput
from hfcount.formulas import catalogue
from hfcount.reports.files import write_bytes, write_text
from hfcount.sources.hub_errors import check_endpoint

HFCOUNT = f"{shlex.quote(sys.executable)} -m hfcount"
FAST = f"{HFCOUNT} gpt2 --fast"
TOTAL = "124439808"


def shell(line: str, **environment: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a line for bash."""
    done = subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


LOST = "hfcount: stdout: the result cannot be written ({}); give --output FILE\n"
CLOSED, FULL = LOST.format("Bad file descriptor"), LOST.format("No space left on device")


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        (f"{FAST} >&-", 2, "", CLOSED),
        (f"{HFCOUNT} --help >&-", 2, "", CLOSED),
        (f"{HFCOUNT} --version >&-", 2, "", CLOSED),
        (f"{FAST} > /dev/full", 2, "", FULL),
        (f"{FAST} --format json > /dev/full", 2, "", FULL),
        (f"{FAST} -q > /dev/full", 2, "", FULL),
        (f"{HFCOUNT} --help > /dev/full", 2, "", FULL),
        (f"{FAST} -q 2>&-", 0, f"{TOTAL}\n", ""),
        (f"{FAST} -q --lora-r 0 2>&-", 2, "", ""),
        (f"{FAST} -q --lora-r 0 2> /dev/full", 2, "", ""),
        (f"{FAST} -q >&- 2>&-", 2, "", ""),
        (f"{FAST} -q <&-", 0, f"{TOTAL}\n", ""),
        (f"{FAST} -q <&- >&- 2>&-", 2, "", ""),
        (f"{HFCOUNT} audit --from - <&-", 2, "", "hfcount: --from -: standard input is closed; give a file of ids\n"),
        (f"{FAST} --format json | true; echo ${{PIPESTATUS[0]}}", 0, "0\n", ""),
        (f"{HFCOUNT} --help | true; echo ${{PIPESTATUS[0]}}", 0, "0\n", ""),
    ],
)
def test_streams(line: str, code: int, out: str, err: str) -> None:
    assert shell(line) == (code, out, err)


def test_a_closed_stdout_is_no_file_that_is_opened_next(tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    assert shell(f"{FAST} -o {out} >&- 2>&-") == (0, "", "")
    assert json.loads(out.read_text())["parameters"]["total"] == int(TOTAL)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16", "ascii:replace"])
def test_encodings_of_stdout(encoding: str) -> None:
    code, _, err = shell(f"{FAST} | cat > /dev/null; exit ${{PIPESTATUS[0]}}", PYTHONIOENCODING=encoding)
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "1"},
        {"HOME": ""},
        {"HOME": "/nonexistent"},
        {"HFCOUNT_CACHE": "/dev/null/x"},
        {"HF_HOME": "/dev/null/x"},
        {"TERM": "nonsense"},
    ],
)
def test_environments_in_which_a_count_needs_nothing(environment: dict[str, str]) -> None:
    code, out, err = shell(FAST, **environment)
    assert (code, err) == (0, "")
    assert "124,439,808" in out


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    gone = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && "
    assert shell(f"{gone}{FAST} -q") == (0, f"{TOTAL}\n", "")
    said = "hfcount: the working folder is gone; change to one that is there\n"
    assert shell(f"{gone}{HFCOUNT} mini-gpt -q") == (2, "", said)
    code, _, err = shell(f"{gone}{FAST} -o x.json")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("address", ["http://[::1", "http://[", "https://me:hf_secret@host:99999", "http://h:x"])
def test_an_endpoint_that_is_no_address(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    for command in (["org/model"], ["org/model", "--fast"], ["audit", "org/model"], ["card", "org/model"]):
        assert run(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("hfcount: HF_ENDPOINT=http")
        assert said.err.endswith(": no address; write it as https://HOST, or unset it\n")
        assert "secret" not in said.err
    assert run(["--help"]) == 0
    with pytest.raises(BadInput):
        check_endpoint()


def test_an_endpoint_that_is_no_address_is_one_line_in_a_process_of_its_own() -> None:
    code, out, err = shell(f"{HFCOUNT} org/model", HF_ENDPOINT="http://[::1")
    assert (code, out) == (2, "")
    assert err == "hfcount: HF_ENDPOINT=http://[::1: no address; write it as https://HOST, or unset it\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise OSError('libx.so: cannot open shared object file')", "libx.so: cannot open shared object file"),
        ("import surely_not_there", "No module named 'surely_not_there'"),
        ("raise ImportError('cannot import name x')", "cannot import name x"),
        ("def build():\n    raise RuntimeError('broken')\nbuild()", "broken"),
        ("try:\n    import surely_not_there\nexcept ImportError as e:\n    raise RuntimeError('lazy') from e", "lazy"),
    ],
)
def test_a_library_that_is_missing_or_broken(
    body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        import broken_library  # noqa: F401
    sys.modules.pop("broken_library", None)
    told = cannot_import(caught.value)
    assert told is not None
    assert said in told
    assert told.endswith("install it again: pip install hfcount")


def test_a_fault_of_ours_is_none_of_a_library() -> None:
    assert cannot_import(ImportError("x", name="hfcount.nowhere")) is None
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert cannot_import(caught.value) is None


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_without_a_library_a_command_is_one_line(library: str, tmp_path: Path) -> None:
    (tmp_path / library).mkdir()
    missing = f"raise ModuleNotFoundError('No module named {library}', name={library!r})"
    (tmp_path / library / "__init__.py").write_text(missing)
    path = f"{tmp_path}{os.pathsep}{Path.cwd()}"
    code, out, err = shell(f"{HFCOUNT} mini-gpt", PYTHONPATH=path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"hfcount: {library} cannot be imported (")
    assert shell(f"{FAST} -q", PYTHONPATH=path) == (0, f"{TOTAL}\n", "")


QUIET = [
    ("gpt2 --fast", TOTAL),
    ("formula gpt2 --fast", "L*(12*d"),
    ("explain gpt2 124M --fast", "as built"),
    ("compare gpt2 gpt2-xl --fast", TOTAL),
    ("solve gpt2 --trainable 1% --fast", ""),
    ("card gpt2 --fast --no-lora", f"{int(TOTAL):,}"),
    ("audit gpt2", "explained"),
    ("env", ""),
]


@pytest.mark.parametrize(("command", "bare"), QUIET)
def test_quiet_with_an_output_writes_the_file(
    command: str, bare: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table's place has the bare figures; JSON, CSV, Markdown and HTML are what they are without --quiet."""
    formats = [".json", ".csv", ".md", ".html", ".txt"]
    written = []
    for suffix in formats:
        loud, quiet = tmp_path / f"loud{suffix}", tmp_path / f"quiet{suffix}"
        code = run([*command.split(), "-o", str(loud)])
        if code != 0:  # a format that this command does not write
            assert run([*command.split(), "-q", "-o", str(quiet)]) == code
            continue
        assert run([*command.split(), "-q", "-o", str(quiet)]) == 0
        written.append(suffix)
        if suffix == ".txt":
            assert bare in quiet.read_text()
        elif suffix == ".json":
            assert json.loads(quiet.read_text()).keys() == json.loads(loud.read_text()).keys()
        else:
            assert quiet.read_text()
    assert ".json" in written
    assert ".txt" in written
    assert capsys.readouterr().out == ""


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    """So do devices: /dev/null must not become a file, whoever runs the command."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadInput, match="cannot be written"):
        write_text(pipe, "nobody reads")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    while not read:
        try:
            write_text(pipe, "the result")
            break
        except BadInput:  # the reader is not there yet
            pass
    reader.join(20)
    assert read == ["the result"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(BadInput, match="no regular file"):
        write_bytes(pipe, b"x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_ctrl_c() -> None:
    """While a count is at work: as a shell has it, 130."""
    code = (
        "import os, signal, time\n"
        "from hfcount.cli import main\n"
        "def stuck(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)\n"
        "import hfcount.api\nhfcount.api.count = stuck\n"
        "main(['gpt2', '--fast'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda form: form.pop("rows"),
        lambda form: form.update(rows=[{"name": 1}]),
        lambda form: form["rows"][0].update(shape=["__import__('os')"]),
        lambda form: form["rows"][0].update(shape=[7]),
        lambda form: form["rows"][0].update(shape=["unknown +"]),
        lambda form: form["rows"][0].update(name=None),
        lambda form: form.update(guards=[None]),
        lambda form: form.update(symbols=["V"]),
        lambda form: form.update(rows=[]),
        lambda form: form.update(verified="many"),
        lambda form: form.update(unheard_of=1),
    ],
)
def test_a_broken_form_in_the_cache_is_passed_by(
    spoil: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cache is asked where the package has no form: under a name of its own, the answer says so in one line."""
    document = json.loads((catalogue.PACKAGED / "gpt2.json").read_text())
    form = next(each for each in document["forms"] if each["model_class"] == "GPT2LMHeadModel")
    spoil(form)  # type: ignore[operator]
    monkeypatch.setenv("HFCOUNT_CACHE", str(tmp_path))
    (tmp_path / "forms").mkdir()
    path = tmp_path / "forms" / "gpt2.json"
    path.write_text(json.dumps({**document, "forms": [form]}))
    for kept in (catalogue.read, catalogue._document):
        kept.cache_clear()
    assert catalogue.read(path, "cache") == ()
    assert run(["gpt2", "--fast", "-q"]) == 0
    assert capsys.readouterr() == (f"{TOTAL}\n", "")


@pytest.mark.parametrize("text", ["", "[", "null", "[]", '{"schema": 2}', '{"schema": 1, "forms": 3}', "[" * 99999])
def test_a_file_of_the_cache_that_is_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gpt2.json"
    path.write_text(text)
    assert catalogue.read(path, "cache") == ()
