"""What is not hfcount's own text steers nothing: no terminal, spreadsheet, Markdown, page or source, in any command."""

from __future__ import annotations

import ast
import csv
import dataclasses
import functools
import io
import json
import logging
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hfcount
from hfcount.auditing.audits import Audit
from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.auditing.running import Outcome
from hfcount.auditing.summary import summarize
from hfcount.cli.app import run
from hfcount.cli.progress import Progress, say, watched
from hfcount.reports.html import audit_page
from tests.foreign_text import (
    PAYLOADS,
    assert_csv,
    assert_json,
    html_tags,
    markdown_structure,
    poisoned,
    unseen,
)

TINY = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_layer": 2, "n_head": 2,
    "vocab_size": 16, "n_positions": 8,
}  # fmt: skip
BENIGN = "gpt2"

EVERY = ("table", "json", "csv", "markdown", "html")
COMMANDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("count", "M", "--lora-r", "2"), EVERY),
    (("count", "M", "--by", "parameter"), EVERY[:-1]),
    (("explain", "M", "117M"), EVERY),
    (("compare", "M", "M"), EVERY),
    (("memory", "M"), EVERY),
    (("audit", "M"), EVERY),
    (("card", "M"), EVERY[:-1]),
    (("solve", "M", "--trainable", "1%"), ("table", "json")),
    (("formula", "M"), ("text", "json", "html", "latex", "python")),
)

every_payload = pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / BENIGN))


def write_model(folder: Path, **fields: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**TINY, **fields}))
    return folder


@pytest.fixture(scope="module")
def answers(model: str) -> dict[str, Any]:
    """What each command's library function answers, once for all payloads; the commands find it by these names."""
    counted = hfcount.count(model, lora_r=[2], detailed=True)
    # Of a Hub model, since what is in a folder goes by "." in its own card.
    counted = dataclasses.replace(counted, source=dataclasses.replace(counted.source, kind="hub"))
    explained = hfcount.explain(model, "117M")
    return {
        "hfcount.api.count": counted,
        "hfcount.api.explain": explained,
        "hfcount.api.compare": hfcount.result.Compared((counted, counted)),
        "hfcount.api.formula": hfcount.formula(model),
        "hfcount.costing.memory": hfcount.memory(model, regimes=("full", "lora")),
        "hfcount.solving.solve": hfcount.solve(model, trainable="1%"),
    }


def audit_of(payload: str, models: int = 2) -> Audit:
    """Every verdict of `models` models, each text in it `payload`."""
    findings = [
        Finding(
            model=f"{payload}{number}", claim=payload, kind=payload, source=payload, verdict=verdict, expected=9,
            delta=-3 if verdict == "mismatch" else None, convention=payload, explanation=payload,
        )
        for number in range(models)
        for verdict in VERDICTS
    ]  # fmt: skip
    rows = [
        {**each.to_dict(), "nth": 1 + place % len(VERDICTS), "target": each.model}
        for place, each in enumerate(findings)
    ]
    return Audit(
        summary=summarize(rows), outcome=Outcome(), notes=(payload,), path=None, _rows=functools.partial(iter, rows)
    )


@pytest.fixture
def shown(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, tuple[str, ...], str], str]:
    """What a command prints of an answer that is full of a payload, in a format."""

    def showing(payload: str, command: tuple[str, ...], format: str) -> str:
        for name, answer in answers.items():
            monkeypatch.setattr(name, lambda *args, found=poisoned(answer, payload), **how: found)
        monkeypatch.setattr("hfcount.auditing.audits.audit", lambda *args, **how: audit_of(payload))
        code = run([*command, "--format", format])
        out, err = capsys.readouterr()
        assert code in (0, 1), err
        assert not unseen(err)
        return out

    return showing


@pytest.fixture(scope="module")
def harmless(answers: dict[str, Any]) -> dict[Any, Any]:
    """What the parsers make of an answer without a payload, filled in as it is asked for."""
    return {}


@every_payload
def test_every_command_in_every_format(payload: str, shown: Any, harmless: dict[Any, Any]) -> None:
    def assert_same(reading: Callable[[str], Any], command: tuple[str, ...], text: str) -> None:
        key = (*command, format)
        if key not in harmless:
            harmless[key] = reading(shown(BENIGN, command, format))
        assert reading(text) == harmless[key], " ".join(command)

    for command, formats in COMMANDS:
        for format in formats:
            text = shown(payload, command, format)
            if format in ("table", "text") and command[0] != "card":
                assert not unseen(text), command
            elif format == "json":
                assert_json(text, payload)
            elif format == "csv":
                assert_csv(text)
            elif format == "html":
                assert not unseen(text), command
                assert_same(html_tags, command, text)
            elif format == "python":
                assert_same(defined, command, text)
            elif format == "latex":
                assert_same(str, command, text)
            else:
                assert not unseen(text), command
                assert_same(markdown_structure, command, text)


def defined(source: str) -> str:
    """A Python source without its docstring: what it does."""
    tree = ast.parse(source)
    compile(source, "emitted", "exec")
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert ast.get_docstring(function)
    function.body = function.body[1:]
    return ast.unparse(tree)
