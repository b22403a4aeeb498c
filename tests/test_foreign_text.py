"""What is not hfcount's own text steers nothing: no terminal, spreadsheet, Markdown, page or source."""

from __future__ import annotations

import ast
import csv
import dataclasses
import functools
import io
import json
import logging
import sys
import warnings
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import hfcount
from hfcount.auditing.audits import Audit
from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.auditing.running import Outcome
from hfcount.auditing.summary import summarize
from hfcount.cli.app import app, run
from hfcount.cli.progress import Progress, say, watched
from hfcount.formulas.python_source import python_source
from hfcount.reports.csv import to_csv
from hfcount.reports.markdown import code, markdown_table, plain
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
    (("count", "M", "--lora-r", "2"), ("table", "json", "markdown", "html")),
    (("count", "M", "--by", "parameter"), EVERY[:-1]),
    (("explain", "M", "117M"), EVERY),
    (("compare", "M", "M"), EVERY),
    (("memory", "M"), EVERY),
    (("memory", "M", "--formula"), ("table", "markdown")),
    (("audit", "M"), EVERY),
    (("card", "M"), EVERY[:-1]),
    (("solve", "M", "--trainable", "1%"), EVERY[:-1]),
    (("formula", "M"), ("text", *EVERY, "latex", "python")),
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


def _answered(answer: Any, *arguments: Any, **how: Any) -> Any:
    return answer


@pytest.fixture
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have typer build the commands once for all calls, which is most of what a call takes."""
    monkeypatch.setattr("hfcount.cli.app.app", _commands())


@functools.cache
def _commands() -> Any:
    return typer.main.get_command(app)


@pytest.fixture
def shown(
    built_once: None, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, tuple[str, ...], str], str]:
    """What a command prints of an answer that is full of a payload, in a format."""

    def showing(payload: str, command: tuple[str, ...], format: str) -> str:
        for name, answer in answers.items():
            monkeypatch.setattr(name, functools.partial(_answered, poisoned(answer, payload)))
        monkeypatch.setattr("hfcount.auditing.audits.audit", functools.partial(_answered, audit_of(payload)))
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


CLAIMS = """---
tags:
- {yaml}
---
# {text}

| {text} | Parameters |
| --- | --- |
| {text} | 117M |

{text} has 117M {text} parameters {text}.

trainable params: 10 || all params: 20 || trainable%: 50.0 {text}
"""


@every_payload
def test_a_folder_a_card_and_a_header(
    payload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], built_once: None
) -> None:
    """Not answers that are made up, but what is read: the name of a folder, its README.md, names of stored tensors."""
    folder = write_model(tmp_path / payload.replace("/", "_").replace("\udcff\ud800", "\udcff"))
    card = CLAIMS.format(yaml=json.dumps(payload), text=payload)
    (folder / "README.md").write_text(card, encoding="utf-8", errors="replace", newline="")
    header = {payload.encode("utf-8", "replace").decode(): {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    data = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data + bytes(4))
    for command in (("count", str(folder)), ("compare", str(folder), str(folder)), ("audit", str(folder))):
        run([*command, "--format", "table"])
        out, err = capsys.readouterr()
        assert out or err
        assert not unseen(out + err), command
        assert len(err.splitlines()) <= 1
        run([*command, "--format", "markdown"])
        found, reference = markdown_structure(capsys.readouterr().out), tables(command[0])
        assert {kind for kind, _ in found[0]} <= reference[0], command
        assert set(found[1]) <= reference[1], command
        run([*command, "--format", "csv"])
        text = capsys.readouterr().out
        assert_csv(text)
        assert command[0] != "audit" or "model.safetensors" in text


def tables(command: str) -> tuple[set[str], set[str]]:
    """The blocks that a report in Markdown has, and what stands in them beside text."""
    ends = {f"{name}_{end}" for name in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")}
    other = ("heading", "paragraph", "bullet_list", "list_item")
    ends |= {f"{name}_{end}" for name in other for end in ("open", "close")}
    return ends | {"inline"}, {"code_inline", "strong_open", "strong_close"}


@every_payload
def test_errors_are_one_line(
    payload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], built_once: None
) -> None:
    folder = str(write_model(tmp_path / "model"))
    commands = [
        [payload],
        ["count", folder, "--set", f"{payload}=1"],
        ["count", folder, "--class", payload],
        ["count", folder, "--format", payload],
        ["explain", folder, f"{payload}M"],
        ["memory", folder, "--gpu", payload],
        ["audit", "--from", payload],
        ["card", folder, "--check", str(tmp_path / payload.replace("/", "_") / "README.md")],
        ["count", str(write_model(tmp_path / "type", model_type=payload))],
        ["formula", str(write_model(tmp_path / "class", architectures=[payload]))],
        ["count", str(write_model(tmp_path / "activation", activation_function=payload))],
    ]
    for command in commands:
        code = run(command)
        out, err = capsys.readouterr()
        assert code in (1, 2, 3), command
        assert not unseen(out + err), command
        assert err.startswith("hfcount: ") or out, command
        assert len(err.splitlines()) <= 1, command


def test_progress_and_messages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = Progress(io.StringIO(), after=60.0)
    monkeypatch.setenv("HFCOUNT_LOG", "info")
    for payload in PAYLOADS.values():
        line.emit(logging.LogRecord("hfcount", logging.INFO, "", 0, "asking the Hub for %s", (payload,), None))
        assert not unseen(line._message, keep="")
        with watched([]):
            logging.getLogger("hfcount").info("asking the Hub for %s", payload)
        say(payload)
    line.stop()
    err = capsys.readouterr().err
    assert not unseen(err)
    assert all(each.startswith("hfcount: ") for each in err.splitlines())
    assert len(err.splitlines()) == 2 * len(PAYLOADS)


def test_libraries_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """huggingface_hub logs what a server's X-HF-Warning says, and transformers what a config does."""
    logger = logging.getLogger("huggingface_hub.utils")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    try:
        for payload in PAYLOADS.values():
            with watched([]):
                logger.warning("the server says %s", payload)
                assert not unseen(warnings.formatwarning(payload, UserWarning, payload, 1, payload), keep="\n\t")
    finally:
        logger.removeHandler(handler)
    err = capsys.readouterr().err
    assert err.count("the server says") == len(PAYLOADS)
    assert not unseen(err, keep="\n\t")
    assert logging.getLogRecordFactory() is logging.LogRecord


def test_charts_are_whole(answers: dict[str, Any]) -> None:
    """XML has no place for a control character, and matplotlib raises for a formula that is none (`$x^{2$`)."""
    payload = PAYLOADS["TeX"] + PAYLOADS["title"] + PAYLOADS["script"]
    for answer in (*answers.values(), audit_of(payload)):
        found = poisoned(answer, payload)
        if hasattr(found, "plot"):
            drawing = xml.etree.ElementTree.fromstring(found.plot().to_svg())
            assert {each.tag.rpartition("}")[2] for each in drawing.iter()} <= OF_A_DRAWING


OF_A_DRAWING = {"svg", "defs", "style", "g", "path", "use", "clipPath", "rect", "metadata", "pattern"}


def test_emitted_python_has_no_name_as_code(answers: dict[str, Any]) -> None:
    """Not only a model's class: what a form has of texts, a field's older name, a default, a version."""
    form = answers["hfcount.api.formula"].form
    expected = defined(python_source(form))
    for payload in PAYLOADS.values():
        named = dataclasses.replace(form, model_class=payload, versions={"transformers": payload})
        assert defined(python_source(named)) == expected
        odd = dataclasses.replace(form, renamed={payload: "n_embd"}, noticed=(f"x{payload}", f"{{}}{payload}.x"))
        source = python_source(odd)
        assert not unseen(source)
        function: dict[str, Any] = {}
        exec(compile(source, "emitted", "exec"), function)
        assert function["parameters"](TINY) == 1952  # 16·8 + 8·8 + 2·(12·8² + 13·8) + 2·8
        assert function["parameters"]({**{key: value for key, value in TINY.items() if key != "n_embd"}, payload: 8})


SIGNS = st.text(alphabet="ab1 \\`*_[]()<>#+-.!|&;@~$:/='\"{}^?\n\t\r\u202e\u200bhtpw", max_size=24)


@given(SIGNS)
@example("a\\|b")
@example("__a__")
@example("1. a")
@example("1 #")
def test_markdown_shows_the_text_itself(text: str) -> None:
    """In a cell and in an item of a list: one run of text, or one of code, that reads as the text does."""
    expected = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    for made, kind, wanted in ((plain(text), "text", expected.strip()), (code(text), "code_inline", expected)):
        for document in (markdown_table(["x", "y"], [[made, "z"]]), *listed_or_line(made)):
            [*tokens] = [each for each in GFM.parse(document) if each.type == "inline"]
            [shown] = tokens if len(tokens) == 1 else tokens[2:3]
            children = shown.children or []
            assert {each.type for each in children} <= {kind, "text_special"}, document
            read = "".join(each.content for each in children).replace("\u200b", "")
            assert read.strip() == wanted.strip(), document


def listed_or_line(made: str) -> tuple[str, ...]:
    return (f"- {made}\n", f"# {made}\n", f"{made}\n") if made else ()


GFM = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def test_cells_of_a_spreadsheet() -> None:
    """A number stays a number; what a program reads of a text differs by the apostrophe alone."""
    rows = [{"a": -1942, "b": each, "c": None} for each in ("=1", " +1", "\t@x", "-2+3", "\uff1d1", "gpt2", "a\rb")]
    text = to_csv(rows, ["a", "b", "c"])
    cells = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    assert [row[1] for row in cells] == ["'=1", "' +1", "\\t@x", "'-2+3", "'\uff1d1", "gpt2", "a\\rb"]
    assert {(row[0], row[2]) for row in cells} == {("-1942", "")}
