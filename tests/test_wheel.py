"""The wheel carries all that the main job needs: installed apart from the checkout, with no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_every_card(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    cards = {path.relative_to(ROOT) for path in (ROOT / "model_cards").rglob("*") if path.is_file()}
    missing = {str(path) for path in cards if f"hfcount/{path.as_posix()}" not in names}
    assert not missing, f"{len(missing)} card files are not in the wheel, {sorted(missing)[:3]}"
    forms = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hfcount/formulas/catalogue_data").glob("*.json")}
    assert len(forms) > 500
    assert forms <= names
    assert {"hfcount/py.typed", "hfcount/minigpt/modeling_minigpt.py"} <= names
    assert not any(name.startswith(("tests/", "scripts/")) for name in names)


def test_the_wheel_brings_the_manual_page_and_the_extension(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (page,) = [name for name in archive.namelist() if name.endswith(".data/data/share/man/man1/hfcount.1")]
    assert archive.read(page) == (ROOT / "man" / "hfcount.1").read_bytes()
    (scripts,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "hf-count = hfcount.cli:hf_count" in archive.read(scripts).decode().splitlines()


def test_the_wheel_does_the_main_job_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # the discard port: nothing answers there
    }
    code = (
        "import hfcount, sys; print(hfcount.__file__, file=sys.stderr);"
        "from hfcount.cli import main; main(['gpt2', '--lora-r', '8', '--format', 'json'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stderr.splitlines()[0]).is_relative_to(site), "the checkout was imported, not the wheel"
    result = json.loads(done.stdout)
    assert result["parameters"]["total"] == 124_439_808
    assert result["lora"][0]["trainable"] == 294_912
