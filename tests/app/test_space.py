"""The files of a Space: run as the Hub runs them, from a folder of their own on the port that it gives."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chromium import WAIT, browser, watched

pytest.importorskip("gradio", reason="the page needs Gradio: pip install 'hfcount[app]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
__all__ = ["browser"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "scripts" / "space"
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def test_the_front_matter_is_what_the_hub_takes() -> None:
    """Source: https://huggingface.co/docs/hub/spaces-config-reference; 60 characters are the most of a description."""
    front = yaml.safe_load((FILES / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "gradio"
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert len(front["short_description"]) <= 60
    assert (FILES / front["app_file"]).exists()
    pinned = re.search(r"(?m)^gradio==(.*)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert pinned is not None
    assert front["sdk_version"] == pinned[1], "the page was tested with another Gradio"


@pytest.fixture
def space(tmp_path: Path) -> Iterator[str]:
    """The address of the Space, once it answers."""
    shutil.copytree(FILES, tmp_path / "space")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path / "space", env=environment)
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(WAIT // 500):
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the Space ended by itself"
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.slow
def test_it_counts_gpt2(browser: Any, space: str) -> None:
    context = browser.new_context()
    faults = watched(context, space)
    page = context.new_page()
    page.goto(space)
    sync_api.expect(page.locator("#total")).to_have_text("124,439,808", timeout=WAIT)
    sync_api.expect(page.locator("#status .good")).to_contain_text("counted on GPT2LMHeadModel itself", timeout=WAIT)
    context.close()
    assert faults == []
