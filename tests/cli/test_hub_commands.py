"""The main job on a model that is on the Hub and nowhere else, as whole processes against a server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.hub_server import COMMIT, HubServer

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "tie_word_embeddings": True,
}
LLAMA_TOTAL = 1000 * 64 + 3 * (4 * 64**2 + 3 * 64 * 128 + 2 * 64) + 64


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add("lab/llama", {"config.json": json.dumps(LLAMA).encode(), "model.safetensors": b"weights"})
        yield server


def hfcount(hub: HubServer, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hfcount", *arguments]
    environment = hub.environment(home)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_a_model_of_the_hub_is_counted_from_its_config_alone(hub: HubServer, tmp_path: Path) -> None:
    done = hfcount(hub, tmp_path, "lab/llama", "--lora-r", "8", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["parameters"]["total"] == LLAMA_TOTAL
    assert result["source"]["kind"] == "hub"
    assert result["source"]["revision"] == COMMIT
    assert result["lora"][0]["trainable"] == 3 * 2 * 8 * (64 + 64)  # PEFT's default for llama: q_proj and v_proj
    assert result["formula"]["matches"] is True
    assert all(path.endswith("config.json") for path in hub.paths)
    offline = hfcount(hub, tmp_path, "lab/llama", "--offline", "-q")
    assert (offline.returncode, offline.stdout) == (0, f"{LLAMA_TOTAL}\n")


@pytest.mark.parametrize(
    ("how", "arguments", "expected"),
    [
        ({"gated": True}, (), "gated"),
        ({"private": True}, (), "no such repository"),
        ({}, ("--revision", "nowhere"), "nowhere"),
        ({"fault": "limited"}, (), "too many requests"),
        ({}, ("--offline",), "offline"),
    ],
    ids=["gated", "private", "revision", "limited", "offline"],
)
def test_what_the_hub_refuses_is_exit_code_3_and_one_line(
    hub: HubServer, tmp_path: Path, how: dict, arguments: tuple[str, ...], expected: str
) -> None:
    hub.add("lab/other", {"config.json": json.dumps(LLAMA).encode()}, **how)
    done = hfcount(hub, tmp_path, "hf:lab/other", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert hub.token not in done.stderr
