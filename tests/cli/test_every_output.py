"""Every command with every option in every format that it writes, held against the published JSON Schema.

A case is a command line and one option more. It is run without the option and with it, in each format. What is printed
has to be well-formed, JSON has to be valid, the option has to change it, and the figures that a terminal, Markdown,
CSV and a page show have to be those of the JSON. An option that a format does not show is named in one line.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import html.parser
import io
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from conftest import load_script
from markdown_it import MarkdownIt

import hfcount.costing
import hfcount.fitting
from hfcount.cli.app import app, run
from hfcount.cli.formula import Written
from hfcount.cli.options import Format

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/reference/schema.json").read_text(encoding="utf-8"))

EVERY = ("table", "json", "csv", "markdown", "html")
BUT_HTML = EVERY[:-1]
FORMATS = {
    "count": EVERY, "explain": EVERY, "compare": EVERY, "memory": EVERY, "audit": EVERY, "card": BUT_HTML,
    "solve": BUT_HTML, "list": BUT_HTML, "env": BUT_HTML, "formula": (*EVERY, "text", "latex", "python"),
}  # fmt: skip
"""What each command writes."""
SUFFIXES = {"json": ".json", "csv": ".csv", "markdown": ".md", "html": ".html", "latex": ".tex", "python": ".py"}
WITHOUT_OUTPUT = {"app": "serves a page until it is ended; tests/app has it"}

STEP = "memory mini-gpt --regime full --seq 8"
BIG = "memory mini-gpt --regime full --seq 16 --batch 64 --optimizer sgd"
"""Activations are the most of its peak; of STEP's the optimizer is."""
LORA = "memory mini-gpt --regime lora --lora-r 2 --lora-targets all-linear --seq 8"
QLORA = "memory mini-gpt --regime qlora --lora-r 2 --lora-targets all-linear --seq 8"


OF_A_FILE = (
    "count gpt2 --fast", "explain gpt2 117M", "compare gpt2 mini-gpt --fast", STEP, "audit gpt2",
    "card gpt2 --fast", "solve gpt2 --trainable 1% --fast", "formula gpt2 --fast", "env", "list recipes",
)  # fmt: skip
"""A line of each command, for its files and for its schema."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A command line and an option more.

    Attributes:
        formats: those that are tried; all that the command writes if not given.
        refused: the formats in which the option is refused.
        told: those that do not show what it is for, which a line on stderr says.
        same: the formats in which it makes no difference, since they have all of it anyway or it is not about them.
        code: the exit code with the option.
    """

    base: str
    option: str
    formats: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    code: int = 0

    @property
    def command(self) -> str:
        return self.base.split()[0]

    @property
    def names(self) -> set[str]:
        return {word for word in shlex.split(self.option) if re.match(r"--?[a-z]", word)}


def common(base: str, *, fast: bool = True) -> Iterator[Case]:
    """The options that say how to get at a model: nothing of a bundled card's figures depends on them."""
    trust = "" if base.startswith("audit") else " --trust-remote-code"
    yield Case(base, f"--offline --timeout 60{trust}", formats=("json", "table"), same=("json", "table"))
    if fast:
        yield Case(base, "--fast", formats=("json", "table"))
    yield Case(base, "--revision main", formats=("json",), code=3)


CASES: tuple[Case, ...] = (
    *common("count gpt2 --set n_layer=2"),
    Case("count gpt2 --fast", "--set n_layer=2"),
    Case("count gpt2 --fast", "--class GPT2ForSequenceClassification"),
    Case("count gpt2 --fast", "--lora-r 4,8 --lora-r 16", told=("csv",)),
    Case("count gpt2 --fast --lora-r 4", "--lora-targets all-linear", formats=("table", "json", "markdown", "html")),
    Case("count gpt2 --fast --set n_layer=2", "--by layer", told=("html",)),
    Case("count gpt2 --fast --set n_layer=2", "--by module", told=("html",)),
    Case("count gpt2 --fast --set n_layer=2", "--by parameter", told=("html",)),
    Case("count gpt2 --fast", "--plot {tmp}/mass.svg", same=EVERY),
    Case("count mini-gpt --lora-r 2", "--simulate", refused=BUT_HTML),
    Case("count gpt2 --fast", "--quiet", same=EVERY[1:]),
    *common("formula gpt2"),
    Case("formula gpt2", "--set n_layer=2", same=("latex", "python")),
    Case("formula gpt2", "--class GPT2ForSequenceClassification"),
    Case("formula gpt2", "--check 1", same=("csv", "latex", "python")),
    Case("formula gpt2", "--quiet", same=("json", "csv", "markdown", "html", "latex", "python")),
    *common("solve gpt2 --trainable 1%"),
    Case("solve gpt2", "--trainable 1%"),
    Case("solve gpt2 --fast", "--parameters 1B --over n_layer"),
    Case("solve gpt2 --trainable 1%", "--lora-targets all-linear"),
    Case("solve gpt2 --trainable 1%", "--set n_layer=2"),
    Case("solve gpt2 --trainable 4M", "--class GPT2ForSequenceClassification"),
    Case("solve gpt2 --trainable 1%", "--quiet", same=("json", "csv", "markdown")),
    *common("explain gpt2 117M"),
    Case("explain gpt2 117M", "--set n_layer=2", code=1),
    Case("explain gpt2 124M", "--class GPT2ForSequenceClassification"),
    Case("explain gpt2 117M", "--quiet", same=EVERY[1:]),
    *common("compare gpt2 mini-gpt"),
    Case("compare gpt2 gpt2-medium", "--set n_layer=2"),
    Case("compare gpt2 gpt2-medium", "--class GPT2ForSequenceClassification"),
    Case("compare gpt2 mini-gpt", "--quiet", same=EVERY[1:]),
    *common("card gpt2"),
    Case("card gpt2", "--set n_layer=2"),
    Case("card gpt2", "--class GPT2ForSequenceClassification"),
    Case("card gpt2", "--lora-r 4", told=("csv",)),
    Case("card gpt2", "--lora-targets all-linear", told=("csv",)),
    Case("card gpt2", "--no-lora", told=("csv",)),
    Case("card gpt2", "--write {tmp}/README.md", told=("csv",)),
    Case("card gpt2", "--check {tmp}/README.md", told=("csv",)),
    Case("card gpt2", "--quiet", same=("json", "csv", "markdown")),
    *common("audit gpt2", fast=False),
    Case("audit gpt2", "--from {tmp}/models.txt"),
    Case("audit", "--author nobody", code=3),
    Case("audit", "--search nothing --limit 2", code=3),
    Case("audit gpt2", "--resume", code=2),
    Case("audit gpt2", "--fail-on unverifiable", same=EVERY, code=1),
    Case("audit gpt2", "--plot {tmp}/verdicts.svg", same=EVERY),
    Case("audit gpt2", "--workers 0", same=EVERY),
    Case("audit gpt2", "--scheduler nowhere:1", formats=("json",), code=3),
    Case("audit gpt2", "--rate 5", same=EVERY),
    Case("audit gpt2", "--no-headers", same=EVERY),
    Case("audit gpt2", "--quiet", same=EVERY[1:]),
    *common(STEP, fast=False),
    Case(BIG, "--set num_hidden_layers=1"),
    Case(BIG, "--class MiniGPTModel"),
    Case("memory mini-gpt --seq 8", "--regime full,inference"),
    Case("memory mini-gpt --regime lora --lora-targets all-linear --seq 8", "--lora-r 2"),
    Case("memory mini-gpt --regime lora --lora-r 2 --seq 8", "--lora-targets mlp"),
    Case("memory mini-gpt --regime full --batch 64 --optimizer sgd", "--seq 16"),
    Case(STEP, "--batch 2"),
    Case(STEP, "--precision fp32"),
    Case(STEP, "--optimizer sgd"),
    Case(BIG, "--gradient-checkpointing"),
    Case(BIG, "--attention eager"),
    Case(STEP, "--device cpu"),
    Case(QLORA, "--quantization int8"),
    Case(QLORA, "--double-quant"),
    Case(QLORA, "--no-kbit-upcast"),
    Case(f"{QLORA} --precision pure-bf16", "--kbit-upcast"),
    Case(STEP, "--sharding zero1 --devices 2"),
    Case(STEP, "--sharding fsdp --devices 4"),
    Case(f"{STEP} --sharding zero3 --devices 2", "--offload"),
    Case(STEP, "--stepping loop"),
    Case(f"{BIG} --gradient-checkpointing", "--reentrant", same=("table", "csv", "markdown")),
    Case(BIG, "--accumulation 2"),
    Case(STEP, "--keep-outputs"),
    Case(BIG, "--zero-grad to-zero"),
    Case(LORA, "--grad-scaler"),
    Case(f"{LORA} --precision mixed-fp16", "--no-grad-scaler"),
    Case(LORA, "--no-autocast"),
    Case(f"{LORA} --precision bf16", "--autocast"),
    Case(LORA, "--base-dtype float32"),
    Case(STEP, "--simulate", told=("csv",)),
    Case(QLORA, "--simulate --plot {tmp}/curve.svg", same=("csv",)),
    Case(LORA, "--formula", same=("json", "csv", "html")),
    Case(STEP, "--gpu t4,4090"),
    Case(f"{BIG} --gpu 1GiB", "--fit --headroom 98%", code=1),
    Case(STEP, "--fit"),
    Case(f"{STEP} --fit", "--all"),
    Case(f"{STEP} --gpu t4", "--headroom 5%"),
    Case(STEP, "--plot {tmp}/bars.svg", same=EVERY),
    Case(STEP, "--quiet", same=EVERY[1:]),
    Case("list recipes", "--quiet", same=("json", "csv", "markdown")),
    Case("list gpus", "--quiet", same=("json", "csv", "markdown")),
    Case("list cards", "--quiet", same=("json", "csv", "markdown")),
    Case("env", "--quiet", same=("json", "csv", "markdown")),
)


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every")
    (folder / "README.md").write_text("# A model\n", encoding="utf-8")
    (folder / "models.txt").write_text("card:mini-gpt\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def call(tmp: Path) -> Iterator[Callable[[str], tuple[int, str, str]]]:
    """Runs a command line: (exit code, stdout, stderr). A question about memory is answered once for all formats."""
    kept: dict[str, Any] = {}

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*arguments: Any, **how: Any) -> Any:
            key = repr((function.__name__, arguments, sorted(how.items())))
            if key not in kept:
                kept[key] = function(*arguments, **how)
            return kept[key]

        return answer

    def calling(line: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(shlex.split(line.replace("{tmp}", str(tmp))))
        return code, out.getvalue(), err.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfcount.auditing.dask_run.CONNECT_SECONDS", 0.1)
        patch.setattr("hfcount.cli.app.app", typer.main.get_command(app))
        patch.setattr("hfcount.costing.memory", once(hfcount.costing.memory))
        patch.setattr("hfcount.fitting.stretched_memory", once(hfcount.fitting.stretched_memory))
        yield functools.cache(calling)


def commands() -> Mapping[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_no_command_format_or_option_lacks_a_case() -> None:
    assert set(commands()) == set(FORMATS) | set(WITHOUT_OUTPUT)
    for name, formats in FORMATS.items():
        tried = {each for case in CASES if case.command == name for each in case.names} | {"--format", "--output"}
        for option in commands()[name].params:
            if option.param_type_name == "option":
                assert tried & set(option.opts), f"no case of hfcount {name} {option.opts}"
                if option.default is None and option.secondary_opts:  # neither of the two is the default
                    assert tried & set(option.secondary_opts), f"no case of hfcount {name} {option.secondary_opts}"
        written = Written if name == "formula" else Format
        assert set(formats) | {"html"} == {each.value for each in written}, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.base} {case.option}")
def test_every_output(case: Case, call: Any) -> None:
    printed: dict[str, str] = {}
    for format in case.formats or FORMATS[case.command]:
        line = f"{case.base} {case.option} --format {format}"
        code, out, err = call(line)
        if format in case.refused or case.code in (2, 3):
            assert (code, err.count("\n")) == (case.code or 2, 1), f"{line}: {code} {err}"
            assert not out or case.command == "audit", line  # which reports what it could not read
            continue
        assert code == case.code, f"{line}: {code} {err}"
        assert (f"{format} does not show it" in err) == (format in case.told), line
        if format not in case.told:
            printed[format] = out
        _, without, _ = call(f"{case.base} --format {format}")
        assert (timeless(out) == timeless(without)) == (format in (*case.same, *case.told)), (
            f"{line}: what the option changes"
        )
    if printed:
        check(case, printed)


def check(case: Case, printed: dict[str, str]) -> None:
    """What is printed is well-formed, and its figures are those of the JSON."""
    if "--quiet" in case.option:
        printed.pop("table", None)
        printed.pop("text", None)
    document = valid(case.base, printed["json"]) if "json" in printed else None
    for format, text in printed.items():
        READERS[format](text)
        if document is not None and format in ("table", "text", "markdown", "csv"):
            known = numbers(document)
            assert not {each for each in exact(text) if each not in known}, f"{format}, and not in the JSON"
            assert not [each for each in rounded(text) if not is_of(each, known, text)], (
                f"{format}, and not in the JSON"
            )
    for format in ("markdown", "html"):
        if format in printed and "table" in printed:
            missing = exact(printed["table"]) - exact(shown(printed[format]) if format == "html" else printed[format])
            assert not missing, f"on a terminal and not in {format}"


@pytest.mark.parametrize("base", [*OF_A_FILE, "list gpus", "list cards"])
def test_the_schema_is_strict(base: str, call: Any) -> None:
    """A document that lacks a key, has one more, a text for a number or a half for a whole is not valid."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = valid(base, call(f"{base} --format json")[1])
    spoilt = 0
    for holder in objects(document):
        for key, value in list(holder.items()):
            if type(value) is int:
                for wrong in (str(value), value + 0.5, float(value), *([None] if key in NEVER_NULL else [])):
                    holder[key] = wrong
                    assert not validator(base).is_valid(document), f"{key}: {wrong!r}"
                    spoilt += 1
                holder[key] = value
        holder["one more"] = {}
        assert not validator(base).is_valid(document), list(holder)
        del holder["one more"]
    for key, value in list(document.items()):
        del document[key]
        assert not validator(base).is_valid(document), f"without {key}"
        document[key] = value
    assert validator(base).is_valid(document)
    assert spoilt


NEVER_NULL = {"schema", "total", "parameters", "batch", "seq", "models", "paged_bytes", "needs_bytes", "mib"}


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """A document's objects, itself among them."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(each)


def test_the_schema_is_that_of_the_types() -> None:
    """Where a document has got a field, the file is written anew."""
    doc_schema = load_script("doc_schema")
    assert doc_schema.PAGE.read_text(encoding="utf-8") == doc_schema.text(), "python scripts/doc_schema.py"


@pytest.mark.parametrize("base", OF_A_FILE)
def test_every_suffix_of_an_output(base: str, call: Any, tmp_path: Path) -> None:
    """A file has what stdout has in the format that its suffix stands for; a format that is not written is refused."""
    formats = FORMATS[base.split()[0]]
    for format, suffix in SUFFIXES.items():
        path = tmp_path / f"answer{suffix}"
        if format in formats:
            assert call(f"{base} --output {path}") == (0, "", "")
            written = path.read_text(encoding="utf-8")
            assert timeless(written) == timeless(call(f"{base} --format {format}")[1])
            assert call(f"{base} --output {path} --format {formats[0]}")[:2] == (0, "")
            assert path.read_text(encoding="utf-8") == call(f"{base} --format {formats[0]}")[1]
        elif format == "html":
            code, out, err = call(f"{base} --output {path}")
            assert (code, out, err.count("\n"), path.exists()) == (2, "", 1, False)
            assert "no html" in err


# ------------------------------------------------------------------------------------------------- what is read


def valid(base: str, text: str) -> Any:
    """The JSON document, which its schema allows; neither NaN nor Infinity is JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(text, parse_constant=refuse)
    errors = validator(base).iter_errors(document)
    assert not [f"{each.json_path}: {each.message[:200]}" for each in errors]
    return document


@functools.cache
def validator(base: str) -> Any:
    """Holds a document against the definition of its command; 1.0 is no integer."""
    words = base.split()
    name = " ".join(words[:2]) if words[0] == "list" else words[0]
    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)
    return kind({**SCHEMA["$defs"][name], "$defs": SCHEMA["$defs"]})


def read_csv(text: str) -> None:
    header, *rows = list(csv.reader(io.StringIO(text), strict=True))
    assert len(set(header)) == len(header)
    assert {len(row) for row in rows} <= {len(header)}
    assert not {cell for row in rows for cell in row} & NO_CELLS


NO_CELLS = {"nan", "NaN", "None", "null", "undefined", "inf", "NaT"}


def read_markdown(text: str) -> None:
    """Each table has as many cells in each row, and no cell holds what is nothing."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    widths: list[int] = []
    for token, following in itertools.pairwise(tokens):
        if token.type == "tr_open":
            widths.append(0)
        elif token.type in ("td_open", "th_open"):
            widths[-1] += 1
            assert following.content not in NO_CELLS
        elif token.type == "table_close":
            assert len(set(widths)) == 1, widths
            widths.clear()
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|"), line


class Page(html.parser.HTMLParser):
    """A page's cells and its text; tags that are not closed in their order are an error."""

    VOID = frozenset(("meta", "link", "br", "img", "input", "hr", "path", "rect", "line", "circle", "col"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)
            if {"td", "th"} & set(self.open):
                self.cells[-1] += data


def shown(text: str) -> str:
    """What a reader sees of a page."""
    return " ".join(Page(text).words)


def read_html(text: str) -> None:
    assert text.startswith("<!DOCTYPE html>")
    assert not {cell.strip() for cell in Page(text).cells} & NO_CELLS


def read_table(text: str) -> None:
    assert text.strip()
    assert not set(text.split()) & (NO_CELLS - {"null"})  # a condition of a form may be that a field is null


def read_latex(text: str) -> None:
    assert text.count("{") == text.count("}")


def read_python(text: str) -> None:
    compile(text, "printed", "exec")


READERS: Mapping[str, Callable[[str], None]] = {
    "json": lambda text: None,  # `valid` has read it
    "csv": read_csv,
    "markdown": read_markdown,
    "html": read_html,
    "table": read_table,
    "text": read_table,
    "latex": read_latex,
    "python": read_python,
}


def timeless(text: str) -> str:
    """The text without how long something took."""
    return re.sub(r'"simulated_seconds": [\d.e-]+', "", text)


# ------------------------------------------------------------------------------------------------- figures


def numbers(value: Any) -> set[float]:
    """The numbers of a document, those in its texts too, and the sums that reports print of them."""
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, (int, float)):
        return {abs(value)}
    if isinstance(value, str):
        return {float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*(?:\.\d+)?", value)}
    inner = value.values() if isinstance(value, dict) else value
    found = set().union(*map(numbers, inner))
    if isinstance(value, dict) and "packed" in value:  # bitsandbytes' bytes, term by term
        found.add(sum(value.values()))
    if isinstance(value, dict) and value.get("expected") and value.get("delta"):
        found.add(abs(value["delta"] / value["expected"]))
    if isinstance(value, dict) and "reserve_bytes" in value:
        found |= {value["needs_bytes"] + each for each in value["reserve_bytes"]}
    return found


def exact(text: str) -> set[int]:
    """The whole numbers from 1,000 on that are written with separators."""
    return {int(each.replace(",", "")) for each in re.findall(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,]|\.\d)", text)}


ROUNDED = re.compile(r"(?<![\w.,<])(\d{1,3}(?:,\d{3})*\.(\d+)|\d{1,3}(?:\.(\d+))?(?=[KMBT]\b)) ?([KMBT]\b|GiB|MiB|%)?")
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "MiB": 2**20, "GiB": 2**30, "%": 0.01}


def rounded(text: str) -> list[tuple[float, int, str]]:
    """The figures with decimals or a unit: the number as written, its decimals, its unit or \"\"."""
    return [
        (float(whole.replace(",", "")), len(decimals or others or ""), unit)
        for whole, decimals, others, unit in ROUNDED.findall(text)
    ]


def is_of(figure: tuple[float, int, str], known: set[float], text: str) -> bool:
    """Whether a figure is a `known` number rounded to its decimals, in its unit or in one that the text names."""
    value, decimals, unit = figure
    units = {1.0, UNITS[unit]} if unit else {1.0, *(size for name, size in UNITS.items() if f" {name}" in text)}
    half = 0.5 * 10**-decimals * (1 + 1e-9)
    return any(abs(number / size - value) <= half for number in known for size in units)
