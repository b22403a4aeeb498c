"""An organisation on a Hub, audited by the command as typed: real client, headers by range, faults and a token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save
from sources.hub_server import HubServer, Trouble

MINI = json.loads((Path("model_cards") / "hfcount" / "mini-gpt" / "config.json").read_text())
TOTAL = 131_392


def mini_gpt_file(*, drop: str | None = None) -> bytes:
    """A real checkpoint of Mini-GPT; `drop` is the name of a tensor that it lacks."""
    import torch

    from hfcount.api import count

    table = count("card:mini-gpt").table
    assert table is not None
    rows = zip(table["name"], table["shape"], strict=True)
    return save({name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in rows if name != drop})


@pytest.fixture(scope="module")
def hub_findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The findings on each model of the organisation, by its name; the server's log says what was asked."""
    home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("out") / "found.jsonl"
    config, whole = json.dumps(MINI).encode(), mini_gpt_file()
    with HubServer() as hub:
        right = {
            "config.json": config,
            "README.md": b"This model has 131,392 parameters.\n",
            "model.safetensors": whole,
        }
        hub.add("org/right", right, safetensors={"parameters": {"BF16": TOTAL}, "total": TOTAL})
        hub.add("org/right-on-cdn", right, on_cdn=True)
        hub.add("org/wrong-card", {**right, "README.md": b"This model has 131,393 parameters.\n"})
        hub.add("org/lacks-a-norm", {**right, "model.safetensors": mini_gpt_file(drop="model.norm.weight")})
        hub.add("org/gated", right, gated=True)
        hub.add("org/cut", {**right, "model.safetensors": whole[:5000]})
        hub.add("org/absurd-header", {**right, "model.safetensors": (2**63).to_bytes(8, "little") + whole[8:]})
        hub.add("org/no-json", {**right, "config.json": b"{"})
        hub.add(
            "org/limited-once", right, troubles={"config.json": Trouble(fault="limited", times=1, retry_after="0")}
        )
        command = [sys.executable, "-m", "hfcount", "audit", "--author", "org", "org/missing"]
        command += ["--output", str(out), "--workers", "2", "--timeout", "20", "-q"]
        environment = hub.environment(home, HF_TOKEN="hf_notthesecretatallnotthesecret")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        sent = hub.sent["model.safetensors"]
    assert done.returncode == 0, done.stderr
    assert "notthesecret" not in done.stdout + done.stderr + out.read_text()
    found: dict[str, list[dict[str, Any]]] = {"": [{"sent": sent, "whole": len(whole)}]}
    for line in out.read_text().splitlines():
        row = json.loads(line)
        found.setdefault(row["model"], []).append(row)
    return found


def verdicts(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["kind"]: row["verdict"] for row in rows}


def test_every_model_has_its_findings(hub_findings: dict[str, list[dict[str, Any]]]) -> None:
    found = {name.removeprefix("org/") for name in hub_findings if name}
    whole = {"right", "right-on-cdn", "wrong-card", "lacks-a-norm", "limited-once"}
    assert found == whole | {"gated", "cut", "absurd-header", "no-json", "missing"}


@pytest.mark.parametrize("name", ["right", "right-on-cdn", "limited-once"])
def test_what_is_right_is_ok(hub_findings: dict[str, list[dict[str, Any]]], name: str) -> None:
    found = verdicts(hub_findings[f"org/{name}"])
    assert found.pop("total (Hub safetensors)", "ok") == "ok"
    assert found == {"total": "ok", "stored elements": "ok"}


def test_a_wrong_card_is_told_to_the_unit(hub_findings: dict[str, list[dict[str, Any]]]) -> None:
    (claim,) = [row for row in hub_findings["org/wrong-card"] if row["kind"] == "total"]
    assert (claim["verdict"], claim["expected"], claim["delta"]) == ("mismatch", TOTAL, 1)


def test_a_file_that_lacks_a_tensor(hub_findings: dict[str, list[dict[str, Any]]]) -> None:
    (stored,) = [row for row in hub_findings["org/lacks-a-norm"] if row["kind"] == "stored elements"]
    assert (stored["verdict"], stored["delta"]) == ("mismatch", -64)
    assert "64 missing ('model.norm.weight'" in stored["explanation"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gated", "gated"),
        ("cut", "header"),
        ("absurd-header", "header"),
        ("no-json", "config"),
        ("missing", "private or missing"),
    ],
)
def test_a_fault_is_one_error(hub_findings: dict[str, list[dict[str, Any]]], name: str, kind: str) -> None:
    errors = [row for row in hub_findings[f"org/{name}"] if row["verdict"] == "error"]
    assert [row["kind"] for row in errors] == [kind], errors


def test_headers_alone_were_read(hub_findings: dict[str, list[dict[str, Any]]]) -> None:
    (facts,) = hub_findings[""]
    assert 0 < facts["sent"] < 7 * facts["whole"]
