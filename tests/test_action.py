"""What other people's CI runs: the scripts of the GitHub Action, and the hooks of pre-commit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hfcount.reports.readme import BEGIN, section_of

ROOT = Path(__file__).resolve().parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"]}
SCRIPTS = [name for name, step in STEPS.items() if "run" in step]
MINI_GPT = ROOT / "model_cards/hfcount/mini-gpt"

# Writes its arguments as a JSON line beside itself, prints $STUB_PRINTS and exits with $STUB_CODE.
STUB = f"""#!{sys.executable}
import json, os, pathlib, sys
with (pathlib.Path(__file__).parent / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
print(os.environ.get("STUB_PRINTS", ""), end="")
sys.exit(int(os.environ.get("STUB_CODE", "0")))
"""

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
pytestmark = bash


def make_stub(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(STUB)
    (folder / name).chmod(0o755)
    return folder / name


def calls_of(folder: Path) -> list[list[str]]:
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_step(name: str, runner: Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as a runner does for `shell: bash`; inputs that are not given are the defaults."""
    values = {key: value for key, value in STEPS[name]["env"].items() if not key.startswith("GITHUB_")}
    for key, expression in values.items():
        given = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", expression)
        if given and key not in environment:
            environment[key] = ACTION["inputs"][given[1]]["default"]
    files = {"RUNNER_TEMP": runner, "GITHUB_OUTPUT": runner / "output", "GITHUB_STEP_SUMMARY": runner / "summary"}
    script = runner / f"{name}.sh"
    script.write_text(STEPS[name]["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=cwd,
        env={**os.environ, **{key: str(path) for key, path in files.items()}, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    folder = tmp_path / "runner temp"  # runners of one's own have such paths
    folder.mkdir()
    return folder


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder with a hfcount that records how it is called."""
    return make_stub(tmp_path / "stub bin", "hfcount").parent


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A model repository: Mini-GPT's config.json and card."""
    folder = tmp_path / "repo"
    shutil.copytree(MINI_GPT, folder)
    return folder


def test_the_action_is_composite_and_its_inputs_are_all_used() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert all(each.get("shell") == "bash" for each in STEPS.values() if "run" in each)
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(ACTION["inputs"])
    assert set(re.findall(r"steps\.([\w-]+)\.", text)) <= set(STEPS)
    assert all({"description", "default"} <= set(each) for each in ACTION["inputs"].values())


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_expression_stands_in_a_script(name: str) -> None:
    """An expression is pasted into a script before the shell reads it; through the environment it stays a value."""
    assert "${{" not in STEPS[name]["run"]
    names = set(re.findall(r"\$\{?([A-Z_]+)\b", STEPS[name]["run"]))
    runners = {"RUNNER_TEMP", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RANDOM"}
    assert names <= set(STEPS[name]["env"]) | runners


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_pass_shellcheck(name: str, tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("shellcheck")
    checker = str(beside) if beside.exists() else shutil.which("shellcheck")
    script = tmp_path / "script.sh"
    script.write_text(STEPS[name]["run"])
    command = [checker, "--shell=bash", "--enable=quote-safe-variables"] if checker else ["bash", "-n"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_audit_with_the_defaults(runner: Path, bin_folder: Path, tmp_path: Path) -> None:
    done = run_step("audit", runner, tmp_path, BIN=str(bin_folder), STUB_PRINTS="| a |\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert calls_of(bin_folder) == [["audit", "--format", "markdown", "--fail-on", "mismatch", "--", "."]]
    assert (runner / "summary").read_text() == "| a |\n"
    assert (runner / "output").read_text() == f"report={runner}/hfcount-audit.md\n"
    assert (runner / "hfcount-audit.md").read_text() == "| a |\n"


@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_verdict_of_the_audit_is_that_of_the_step(
    runner: Path, bin_folder: Path, tmp_path: Path, code: int
) -> None:
    done = run_step("audit", runner, tmp_path, BIN=str(bin_folder), STUB_CODE=str(code), STUB_PRINTS="report")
    assert done.returncode == code
    assert (runner / "summary").read_text() == "report"


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "' \" touch pwned",
    "*",
    "a b",
    "-rf",
    "--output=x",
    "$HOME",
]


def test_inputs_are_values_whatever_they_hold(runner: Path, bin_folder: Path, tmp_path: Path) -> None:
    done = run_step(
        "audit",
        runner,
        tmp_path,
        BIN=str(bin_folder),
        TARGETS="\r\n".join(["", *HOSTILE, "  "]),
        ARGS="--workers\n2\n\n$(touch pwned)",
        FAIL_ON="mismatch; touch pwned",
    )
    assert done.returncode == 0, done.stderr
    assert calls_of(bin_folder) == [
        [
            *("audit", "--format", "markdown", "--fail-on", "mismatch; touch pwned"),
            *("--workers", "2", "$(touch pwned)", "--", *HOSTILE),
        ]
    ]
    assert not list(tmp_path.rglob("pwned"))


def test_what_a_report_says_is_no_command_of_the_workflow(runner: Path, bin_folder: Path, tmp_path: Path) -> None:
    done = run_step("audit", runner, tmp_path, BIN=str(bin_folder), STUB_PRINTS="::error::forged\nno line end")
    lines = done.stdout.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert lines == [f"::stop-commands::{token}", "::error::forged", "no line end", f"::{token}::"]


def test_a_report_alone_fails_nothing(runner: Path, bin_folder: Path, tmp_path: Path) -> None:
    run_step("audit", runner, tmp_path, BIN=str(bin_folder), FAIL_ON="")
    assert calls_of(bin_folder) == [["audit", "--format", "markdown", "--", "."]]


def test_the_card_of_every_folder(runner: Path, bin_folder: Path, repo: Path, tmp_path: Path) -> None:
    targets = f"{repo}\nopenai-community/gpt2\nrepo\n"
    options = {"BIN": str(bin_folder), "TARGETS": targets, "ARGS": "--lora-r\n4,8"}
    done = run_step("card", runner, tmp_path, CARD="check", **options)
    assert done.returncode == 0, done.stderr
    assert calls_of(bin_folder) == [
        ["card", f"--check={folder}/README.md", "--lora-r", "4,8", "--", str(folder)] for folder in (repo, "repo")
    ]
    assert run_step("card", runner, tmp_path, CARD="write", STUB_CODE="1", **options).returncode == 1
    assert calls_of(bin_folder)[2][1] == f"--write={repo}/README.md"
    wrong = run_step("card", runner, tmp_path, CARD="$(touch pwned)", **options)
    assert (wrong.returncode, len(calls_of(bin_folder))) == (2, 4)
    assert "is none of check, write, off" in wrong.stderr
    assert not list(tmp_path.rglob("pwned"))


def test_the_card_step_runs_after_a_mismatch_but_not_without_hfcount() -> None:
    condition = STEPS["card"]["if"]
    assert "!cancelled()" in condition
    assert "steps.install.outcome == 'success'" in condition
    assert "inputs.card != 'off'" in condition


def python_stub(folder: Path) -> Path:
    """A python whose `-m venv FOLDER` puts a recording python into FOLDER."""
    recording = make_stub(folder / "made", "python")
    stub = folder / "python"
    stub.write_text(f'#!/bin/bash\nmkdir -p "$3/bin"\nln -s "{recording}" "$3/bin/python"\n')
    stub.chmod(0o755)
    return stub


@pytest.mark.parametrize(
    ("version", "index", "installs"),
    [
        ("", "https://torch.example/cpu", ["torch", "ACTION"]),
        ("0.2.0", "", ["hfcount==0.2.0"]),
    ],
)
def test_what_is_installed(runner: Path, tmp_path: Path, version: str, index: str, installs: list[str]) -> None:
    python = python_stub(tmp_path)
    done = run_step(
        "install", runner, tmp_path, PYTHON=str(python), ACTION_PATH="ACTION", VERSION=version, TORCH_INDEX=index
    )
    assert done.returncode == 0, done.stderr
    assert (runner / "output").read_text() == f"bin={runner}/hfcount/bin\n"
    calls = calls_of(runner / "hfcount/bin") or calls_of(tmp_path / "made")
    assert [call[-1] for call in calls] == installs
    assert all(call[:3] == ["-m", "pip", "install"] for call in calls)
    assert [index in call for call in calls if index] == [name == "torch" for name in installs if index]


@pytest.mark.parametrize("version", ["1.0; touch pwned", "1 @ https://else.example/x.whl", "$(touch pwned)", "--pre"])
def test_a_version_is_a_version(runner: Path, tmp_path: Path, version: str) -> None:
    done = run_step(
        "install", runner, tmp_path, PYTHON=str(python_stub(tmp_path)), ACTION_PATH="ACTION", VERSION=version
    )
    assert done.returncode == 2
    assert "is no release; write it as 1.2.3" in done.stderr
    assert not (runner / "hfcount").exists()


REAL = Path(sys.executable).parent
has_hfcount = pytest.mark.skipif(not (REAL / "hfcount").exists(), reason="hfcount is not installed beside this python")


@has_hfcount
def test_the_real_card_step(runner: Path, repo: Path) -> None:
    options = {"BIN": str(REAL), "ARGS": "--fast\n--no-lora"}
    before = (repo / "README.md").read_bytes()
    stale = run_step("card", runner, repo, CARD="check", **options)
    assert (stale.returncode, stale.stderr) == (1, "")
    assert "README.md: outdated" in stale.stdout
    assert run_step("card", runner, repo, CARD="write", **options).returncode == 0
    assert (repo / "README.md").read_bytes().startswith(before)
    assert "131,392" in (section_of((repo / "README.md").read_text(encoding="utf-8"), "README.md") or "")
    assert run_step("card", runner, repo, CARD="check", **options).returncode == 0


@has_hfcount
def test_the_real_audit_step(runner: Path, repo: Path) -> None:
    """The section that hfcount writes passes; a figure that is wrong by half fails the step."""
    readme = repo / "README.md"
    readme.write_text("# A small model\n", encoding="utf-8")
    run_step("card", runner, repo, BIN=str(REAL), CARD="write", ARGS="--fast\n--no-lora")
    right = run_step("audit", runner, repo, BIN=str(REAL))
    assert right.returncode == 0, right.stdout + right.stderr
    assert "131,392" in (runner / "summary").read_text(encoding="utf-8")
    readme.write_text(readme.read_text(encoding="utf-8") + "\nThis model has 197,088 parameters.\n", encoding="utf-8")
    wrong = run_step("audit", runner, repo, BIN=str(REAL))
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "mismatch" in wrong.stdout
    assert "197,088" in (runner / "summary").read_text(encoding="utf-8")
    assert run_step("audit", runner, repo, BIN=str(REAL), FAIL_ON="").returncode == 0


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=outside_git())


def outside_git() -> dict[str, str]:
    """The environment without what git sets where the tests themselves run in a hook."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}


def run_hook(repo: Path, hook: dict[str, Any], home: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the hooks on all files by the real pre-commit, with the hfcount that is installed."""
    local = {**hook, "language": "system"}
    config = {"repos": [{"repo": "local", "hooks": [local]}]}
    (repo / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    git(repo, "add", ".")
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose"],
        cwd=repo,
        env={**outside_git(), "PRE_COMMIT_HOME": str(home), "PATH": f"{REAL}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_manifest_is_valid_and_its_hooks_see_the_files_of_a_model() -> None:
    pytest.importorskip("pre_commit")
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert set(HOOKS) == {"hfcount-audit", "hfcount-card"}
    for hook in HOOKS.values():
        for name in ("README.md", "config.json", "cards/a/README.md"):
            assert re.search(hook["files"], name)
        for name in ("model.safetensors", "NOT_README.md", "my_config.json"):
            assert not re.search(hook["files"], name)


@has_hfcount
def test_the_card_hook_writes_once(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("pre_commit")
    git(repo, "init")
    hook = {**HOOKS["hfcount-card"], "args": [*HOOKS["hfcount-card"]["args"], "--fast", "--no-lora"]}
    first = run_hook(repo, hook, tmp_path / "home")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "files were modified by this hook" in first.stdout
    assert BEGIN in (repo / "README.md").read_text(encoding="utf-8")
    second = run_hook(repo, hook, tmp_path / "home")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "README.md: unchanged" in second.stdout


def test_the_audit_hook_is_called_on_the_repository(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bin_folder: Path
) -> None:
    pytest.importorskip("pre_commit")
    monkeypatch.setattr(sys.modules[__name__], "REAL", bin_folder)
    git(repo, "init")
    assert run_hook(repo, HOOKS["hfcount-audit"], tmp_path / "home").returncode == 0
    assert calls_of(bin_folder) == [["audit", "--fail-on", "mismatch", "."]]
    monkeypatch.setenv("STUB_CODE", "1")
    assert run_hook(repo, HOOKS["hfcount-audit"], tmp_path / "home").returncode == 1
