"""`hf count`: the real hf client installs the extension and runs hfcount through it. GitHub is a folder here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub.cli.extensions", reason="the client has extensions since 1.3")

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "scripts" / "hf-count"

# The client's own code, but for its one function that asks GitHub: that one reads the folder.
CLIENT = """
import sys
from pathlib import Path
from huggingface_hub.cli import extensions, hf

http = getattr(extensions, "httpx2", None) or extensions.httpx

def from_folder(method, url, **how):
    path = Path({folder!r}, url.rpartition("/")[2])
    known = {{"hf-count": b"", "refs": b"0" * 40 + b" HEAD\\x00"}} if url.startswith("https://github.com/") else {{}}
    content = known.get(path.name, path.read_bytes() if path.is_file() else None)
    response = http.Response(404 if content is None else 200, content=content, request=http.Request(method, url))
    return response.raise_for_status()

extensions._github_request = from_folder
sys.argv = ["hf", "extensions", "install", "somebody/hf-count"]
hf.main()
"""


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
    }


def hf(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real client, in a process of its own."""
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(home))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the client has installed the extension."""
    folder = tmp_path_factory.mktemp("home")
    code = CLIENT.format(folder=str(EXTENSION))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(folder)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_client_takes_it_as_an_executable(home: Path) -> None:
    folder = home / ".local" / "share" / "hf" / "extensions" / "hf-count"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["type"] == "binary"
    assert manifest["short_name"] == "count"
    assert manifest["description"] == json.loads((EXTENSION / "manifest.json").read_text())["description"]
    assert (folder / "hf-count").read_bytes() == (EXTENSION / "hf-count").read_bytes()


def test_hf_count_is_hfcount(home: Path) -> None:
    done = hf(home, "count", "gpt2", "--fast", "--quiet")
    assert (done.returncode, done.stdout) == (0, "124439808\n"), done.stderr
    done = hf(home, "count", "explain", "gpt2", "1B", "--fast", "-q")
    assert done.returncode == 1, "the exit code is hfcount's own"
    assert "count" in hf(home, "--help").stdout


def test_without_hfcount_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", str(EXTENSION / "hf-count"), "gpt2"],
        capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hf count: hfcount is not on the PATH; install it with: pip install hfcount\n"


def test_the_package_is_an_extension_of_the_other_kind() -> None:
    """A Python package is one by a console script hf-NAME."""
    script = re.search(r'^hf-count = "([\w.]+):(\w+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert script is not None, "pyproject.toml has no console script hf-count"
    module, function = script.groups()
    code = f"import sys; sys.argv[1:] = ['--help']; from {module} import {function}; {function}()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage: hf count" in done.stdout
