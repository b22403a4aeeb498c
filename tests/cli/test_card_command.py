"""`hfcount card` as a maintainer types it: what is printed, what is written, and the exit code."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hfcount
from hfcount.cli.app import run
from hfcount.errors import BadInput
from hfcount.reports.readme import BEGIN, END, PROVENANCE, section_of

CARDS = Path(hfcount.__file__).parent.parent / "model_cards"
Call = Callable[..., tuple[int, str, str]]
FRONT = "---\nlicense: mit\n---\n\n# Mini-GPT\n\nA small model.\n"
REASON = "no LoRA table: PEFT has no default targets for model type 'minigpt'; name them, or take all-linear"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def calling(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return calling


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model repository that is the working directory: Mini-GPT's config.json and a README.md."""
    folder = tmp_path / "mini-gpt"
    folder.mkdir()
    (folder / "config.json").write_bytes((CARDS / "hfcount/mini-gpt/config.json").read_bytes())
    (folder / "README.md").write_bytes(FRONT.encode())
    monkeypatch.chdir(folder)
    return folder


def change_config(repo: Path, **fields: object) -> None:
    config = json.loads((repo / "config.json").read_text())
    (repo / "config.json").write_text(json.dumps({**config, **fields}))


def test_the_section_is_printed_between_its_markers(call: Call) -> None:
    code, out, err = call("card", "gpt2")
    assert (code, err) == (0, "")
    assert out.startswith(f"{BEGIN}\n")
    assert out.endswith(f"{END}\n")
    assert "This model has 124,439,808 parameters (124.4M)" in out
    assert "| 8 | `c_attn` | 294,912 |" in out
    assert "| 16 | `c_attn` | 589,824 |" in out
    assert out.count("`hfcount card openai-community/gpt2 --write README.md`") == 1


def test_write_and_check_in_a_model_repository(call: Call, repo: Path) -> None:
    assert call("card", ".", "--check")[0] == 1
    assert (repo / "README.md").read_bytes() == FRONT.encode()
    code, out, err = call("card", ".", "--write")
    assert (code, out) == (0, "README.md: written\n")
    assert REASON in err
    data = (repo / "README.md").read_bytes()
    assert data.startswith(FRONT.encode())
    assert b"131,392" in data
    assert call("card", ".", "--write")[:2] == (0, "README.md: unchanged\n")
    assert call("card", ".", "--check")[:2] == (0, "README.md: current\n")
    assert (repo / "README.md").read_bytes() == data
    assert [each.name for each in sorted(repo.iterdir())] == ["README.md", "config.json"]


def test_a_config_that_changed_is_noticed_and_the_difference_shown(call: Call, repo: Path) -> None:
    call("card", ".", "--write")
    change_config(repo, vocab_size=1000)  # 1,000·64 instead of 512·64 of token embedding
    code, out, _ = call("card", ".", "--check")
    assert code == 1
    assert out.startswith("README.md: outdated; --write in place of --check renews it\n")
    assert "-| token embedding | 32,768 |" in out
    assert "+| token embedding | 64,000 |" in out
    assert call("card", ".", "--write")[:2] == (0, "README.md: written\n")
    assert call("card", ".", "--check")[0] == 0


def test_a_figure_changed_by_hand_is_noticed(call: Call, repo: Path) -> None:
    call("card", ".", "--write")
    readme = repo / "README.md"
    readme.write_text(readme.read_text().replace("131,392", "131,393", 1))
    assert call("card", ".", "--check")[0] == 1


def test_only_versions_differ_and_nothing_is_written(call: Call, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("card", ".", "--write", "--fast")
    data = (repo / "README.md").read_bytes()
    monkeypatch.setattr("hfcount.fast.count.versions", lambda: {"hfcount": "9.9", "transformers": "9.9"})
    assert "hfcount 9.9" in call("card", ".", "--fast")[1]
    assert call("card", ".", "--write", "--fast")[1] == "README.md: unchanged\n"
    assert (repo / "README.md").read_bytes() == data


def test_the_shown_command_writes_the_same_section(call: Call, repo: Path) -> None:
    options = ["--lora-targets", "q_proj,v_proj", "--lora-r", "4", "--set", "position_embedding=learned", "--fast"]
    assert call("card", "./config.json", "--write", "README.md", *options)[0] == 0
    section = section_of((repo / "README.md").read_text(), "README.md")
    assert section is not None
    assert "133,440" in section  # learned positions add T·d = 32·64
    shown = section.partition(PROVENANCE)[2].partition("`hfcount ")[2].partition("`")[0]
    assert shown.startswith("card . --lora-r 4 --lora-targets q_proj,v_proj --set position_embedding=learned --fast")
    assert call(*shlex.split(shown))[1] == "README.md: unchanged\n"


def test_a_readme_is_made_where_there_is_none(call: Call, repo: Path) -> None:
    (repo / "README.md").unlink()
    assert call("card", ".", "--check", "--no-lora")[0] == 1
    assert not (repo / "README.md").exists()
    assert call("card", ".", "--write", "--no-lora")[1:] == ("README.md: written\n", "")
    assert (repo / "README.md").read_text().startswith(f"{BEGIN}\n")
    assert call("card", ".", "--check", "--no-lora")[0] == 0


def test_another_file_and_a_bundled_card(call: Call, repo: Path) -> None:
    assert call("card", "gpt2", "--write", "GPT2.md", "--fast")[1] == "GPT2.md: written\n"
    assert "124,439,808" in (repo / "GPT2.md").read_text()
    assert (repo / "README.md").read_bytes() == FRONT.encode()
    assert call("card", "gpt2", "--check=GPT2.md", "--fast")[0] == 0


def test_json_has_the_count_the_section_and_the_state(call: Call, repo: Path) -> None:
    code, out, _ = call("card", ".", "--check", "--fast", "--format", "json")
    answer = json.loads(out)
    assert code == 1
    assert (answer["schema"], answer["parameters"]["total"]) == (1, 131_392)
    assert (answer["readme"], answer["state"]) == ("README.md", "outdated")
    assert answer["differences"]
    call("card", ".", "--write", "--fast")
    printed = json.loads(call("card", ".", "--fast", "--format", "json")[1])
    assert (printed["readme"], printed["state"], printed["differences"]) == (None, None, [])
    assert printed["section"].strip() == section_of((repo / "README.md").read_text(), "README.md")


def test_quiet_and_output(call: Call, repo: Path) -> None:
    assert call("card", ".", "--fast", "--no-lora", "-q") == (0, "131392\n", "")
    assert call("card", ".", "--fast", "--no-lora", "-q", "--check") == (1, "outdated\n", "")
    assert call("card", ".", "--fast", "--no-lora", "-o", "section.md") == (0, "", "")
    assert (repo / "section.md").read_text().startswith(BEGIN)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gpt2", "--write"], "--write: gpt2 is no folder with a config.json; name the file, as in --write README.md"),
        (["card:gpt2", "--check"], "--check: card:gpt2 is no folder with a config.json"),
        ([".", "--write", "--check"], "--write and --check: give one of them"),
        ([".", "--no-lora", "--lora-r", "4"], "--no-lora and --lora-r: give one of them"),
        ([".", "--write", "nowhere/README.md"], "the folder nowhere does not exist"),
        ([".", "--write", "."], "is a folder; name a file in it"),
        ([".", "--lora-r", "x"], "a rank is a positive integer"),
    ],
)
def test_bad_input_is_one_line(call: Call, repo: Path, arguments: list[str], complaint: str) -> None:
    code, out, err = call("card", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
    assert (repo / "README.md").read_bytes() == FRONT.encode()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (f"{BEGIN}\n", "the markers do not make one section (begin in line 1)"),
        (f"{END}\n{BEGIN}\n", "(end in line 1, begin in line 2)"),
        (f"{BEGIN}\n{END}\n\n{BEGIN}\n{END}\n", "(begin in line 1, end in line 2, begin in line 4, end in line 5)"),
        (f"- a list\n\n  {BEGIN}\n  {END}\n", "the marker in line 3 is in a list"),
    ],
)
@pytest.mark.parametrize("option", ["--write", "--check"])
def test_broken_markers_are_refused_before_anything_is_built(
    call: Call, repo: Path, monkeypatch: pytest.MonkeyPatch, body: str, complaint: str, option: str
) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise BadInput("it was counted")

    monkeypatch.setattr("hfcount.api.count", nothing)
    (repo / "README.md").write_text(body)
    code, out, err = call("card", ".", option)
    assert (code, out) == (2, "")
    assert complaint in err
    assert (repo / "README.md").read_text() == body


def test_what_is_refused_loads_no_torch(repo: Path) -> None:
    code = (
        "import sys\n"
        "from hfcount.cli.app import run\n"
        "assert run(['card', '--help']) == 0\n"
        "assert run(['card', 'gpt2', '--write']) == 2\n"
        "assert run(['card', '.', '--write', '--fast', '--no-lora']) == 0\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
