"""`hfcount audit`: formats, exit codes, stores and bad input, as typed."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from pathlib import Path

import pytest

from hfcount.auditing.finding import FIELDS, VERDICTS
from hfcount.cli.app import run

README = """---
license: mit
---
# A model
{text}
"""


def model_folder(folder: Path, text: str, **fields: object) -> Path:
    """A Mini-GPT of 131,392 parameters, with a card that says `text`."""
    folder.mkdir(parents=True)
    config = json.loads((Path("model_cards") / "hfcount" / "mini-gpt" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    (folder / "README.md").write_text(README.format(text=text))
    return folder


def audited(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["audit", *arguments]) == code, capsys.readouterr().err
    return capsys.readouterr().out


def test_gpt2_as_json_has_the_fields_of_the_interface(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(audited(capsys, "gpt2", "--format", "json"))
    assert list(answer["summary"]) == ["models", *VERDICTS]
    assert all(list(finding) == list(FIELDS) for finding in answer["findings"])
    by_claim = {(each["claim"], each["kind"]): each for each in answer["findings"]}
    paper = by_claim["117M", "total (paper, wrong)"]
    assert (paper["verdict"], paper["expected"]) == ("explained", 124_439_808)
    assert paper["delta"] == 117_000_000 - 124_439_808
    assert "116,929,536" in paper["explanation"]
    assert by_claim["124M", "total"]["verdict"] == "ok"
    assert answer["summary"]["mismatch"] == 0


def test_a_wrong_card_fails_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = model_folder(tmp_path / "wrong", "This model has 131,393 parameters.")
    audited(capsys, str(wrong))
    answer = audited(capsys, str(wrong), "--fail-on", "mismatch", "--format", "json", code=1)
    (finding,) = json.loads(answer)["findings"]
    assert (finding["verdict"], finding["expected"], finding["delta"]) == ("mismatch", 131_392, 1)
    assert finding["source"] == "README.md line 5"
    right = model_folder(tmp_path / "right", "This model has 131,392 parameters.")
    audited(capsys, str(right), "--fail-on", "mismatch")


def test_csv_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_folder(tmp_path / "model", "This model has 131,393 parameters.")
    rows = list(csv.DictReader(io.StringIO(audited(capsys, str(folder), "--format", "csv"))))
    assert [row["delta"] for row in rows] == ["1"]
    page = tmp_path / "page.md"
    audited(capsys, str(folder), "--output", str(page))
    assert "| ✗ mismatch |" in page.read_text()


def test_a_folder_of_models_is_walked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_folder(tmp_path / "a" / "one", "131K parameters")
    model_folder(tmp_path / "a" / "two", "This model has 5 parameters.")
    answer = json.loads(audited(capsys, str(tmp_path), "--format", "json"))
    assert answer["summary"]["models"] == 2
    assert [each["model"] for each in answer["findings"]] == ["a/one", "a/two"]


def test_a_store_is_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "found.sqlite"
    audited(capsys, "gpt2", "--output", str(store))
    assert run(["audit", "gpt2", "--output", str(store)]) == 2
    assert "--resume" in capsys.readouterr().err
    audited(capsys, "gpt2", "mini-gpt", "--output", str(store), "--resume")
    with sqlite3.connect(store) as found:
        tables = [name for (name,) in found.execute("select name from sqlite_master where type = 'table'")]
        targets = found.execute(f"select target, count(*), max([of]) from {tables[0]} group by target").fetchall()
    assert {target for target, *_ in targets} == {"gpt2", "mini-gpt"}
    assert all(count == of for _, count, of in targets)


def test_rows_already_crawled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((Path("model_cards") / "openai-community" / "gpt2" / "config.json").read_text())
    rows = [
        {"id": "someone/right", "config": config, "card": "The model has 124,439,808 parameters."},
        {"id": "someone/wrong", "config": json.dumps(config), "card": "The model has 124,439,809 parameters."},
        {"id": "someone/broken", "config": "{"},
    ]
    crawl = tmp_path / "crawl.jsonl"
    crawl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = json.loads(audited(capsys, "--from", str(crawl), "--workers", "0", "--format", "json"))
    assert {each["model"]: each["verdict"] for each in answer["findings"]} == {
        "someone/right": "ok",
        "someone/wrong": "mismatch",
        "someone/broken": "error",
    }


def test_a_mixture_may_be_called_by_its_active_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((Path("model_cards") / "mistralai" / "Mixtral-8x7B-v0.1" / "config.json").read_text())
    crawl = tmp_path / "crawl.jsonl"
    crawl.write_text(json.dumps({"id": "someone/mixture", "config": config, "card": "It has 12.9B parameters."}))
    answer = json.loads(audited(capsys, "--from", str(crawl), "--workers", "0", "--format", "json"))
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["verdict"], finding["convention"]) == ("total", "explained", "active")


def test_the_chart_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = tmp_path / "verdicts.svg"
    audited(capsys, "gpt2", "llama-7b", "--plot", str(chart))
    assert chart.read_text().count("<path") > 50


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "nothing to audit"),
        (["gpt2", "--resume"], 2, "--output"),
        (["gpt2", "--rate", "0"], 2, "--rate 0"),
        (["gpt2", "--limit", "0"], 2, "--limit 0"),
        (["gpt2", "--limit", "3"], 2, "--author"),
        (["gpt2", "--timeout", "-1"], 2, "--timeout"),
        (["gpt2", "--output", "/no/such/folder/x.jsonl"], 2, "does not exist"),
        (["gpt2", "--plot", "x.bmp"], 2, ".png"),
        (["--from", "/no/such/file.csv"], 2, "cannot be read"),
        (["--author", "someone", "--offline"], 2, "--offline"),
        (["gpt2", "--scheduler", "nonsense:"], 2, "nonsense"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", *arguments]) == code
    answer = capsys.readouterr()
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err


def test_what_cannot_be_read_at_all_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in audited(capsys, "./nowhere", code=2)
    assert "offline" in audited(capsys, "someone/something", "--offline", code=3)
    audited(capsys, "./nowhere", "gpt2")


@pytest.mark.parametrize("width", [118, 60])
def test_a_verdicts_colour_is_its_marks_alone(width: int) -> None:
    from hfcount.auditing.audits import audit
    from hfcount.reports.audit import audit_report
    from hfcount.reports.terminal import to_text

    text = to_text(audit_report(audit("mini-gpt")), width=width, color=True)
    for mark, colour in (("✓", "32"), ("✗", "31")):
        assert f"\x1b[{colour}m{mark}\x1b[0m" in text
    coloured = re.findall(r"\x1b\[3[12]m([^\x1b]*)", text.split("1 model")[0])
    assert {each.strip() for each in coloured} - {""} == {"✓", "✗"}
