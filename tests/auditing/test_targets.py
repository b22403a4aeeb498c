"""Targets are read from everywhere they may stand, one after the other, and a bad row is one bad row."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcount.auditing.target_files import MAX_ROW_BYTES, file_targets, number_of
from hfcount.auditing.targets import Target, folder_targets, named_targets
from hfcount.errors import BadInput
from hfcount.sources.cards import card_names

CONFIG = {"model_type": "gpt2", "n_embd": 8, "nested": {"a": [1, None]}}
ROOT = Path(__file__).parents[2]


def test_names_stand_for_themselves() -> None:
    assert [(each.id, each.name) for each in named_targets(["gpt2", " owner/name "])] == [
        ("gpt2", "gpt2"),
        ("owner/name", "owner/name"),
    ]


def test_the_bundled_cards_are_a_folder_of_models() -> None:
    found = list(named_targets([str(ROOT / "model_cards")]))
    assert sorted(each.name for each in found) == card_names()
    assert all((Path(each.folder or "") / "config.json").is_file() for each in found)


def test_what_is_a_model_in_a_folder(tmp_path: Path) -> None:
    files = {
        "a/config.json": "{}",
        "a/onnx/config.json": "{}",  # a part of a
        "b/README.md": "---\nlicense: mit\n---\n",
        "b/checkpoints/last/model.safetensors": "",
        "c/README.md": "# a folder of models",
        "c/d/adapter_config.json": "{}",
        ".git/config.json": "{}",
        "e/notes.txt": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [each.name for each in folder_targets(tmp_path)] == ["a", "b", "b/checkpoints/last", "c/d"]
    assert [each.name for each in folder_targets(tmp_path / "a")] == ["a"]
    with pytest.raises(BadInput, match="no model in it"):
        list(folder_targets(tmp_path / "e"))


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes("\ufeffgpt2\r\n\n# a comment\n  owner/name  # why\nowner/c#\n".encode() + b"\xff\xfe\nlast")
    found = list(file_targets(path))
    assert [each.id for each in found] == ["gpt2", "owner/name", "owner/c#", "ids.txt line 6", "last"]
    assert [bool(each.fault) for each in found] == [False, False, False, True, False]
    assert number_of(path) == 6


ROWS = [{"id": f"o/m{number}", "config": CONFIG, "card": f"card, of\n{number}"} for number in range(7)]


def as_jsonl(path: Path, *, text: bool) -> None:
    rows = [{**row, "config": json.dumps(row["config"]) if text else row["config"]} for row in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["modelId", "config", "readme"])
        writer.writerows([row["id"], json.dumps(row["config"]), row["card"]] for row in ROWS)


def as_parquet(path: Path) -> None:
    table = pa.table(
        {
            "repo_id": [row["id"] for row in ROWS],
            "config": [json.dumps(row["config"]) for row in ROWS],
            "readme": [row["card"] for row in ROWS],
            "downloads": range(len(ROWS)),
        }
    )
    pq.write_table(table, path, row_group_size=3)


@pytest.mark.parametrize("kind", ["objects.jsonl", "texts.jsonl", "rows.csv", "rows.parquet"])
def test_rows_with_config_and_card(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if path.suffix == ".jsonl":
        as_jsonl(path, text=kind.startswith("texts"))
    else:
        {".csv": as_csv, ".parquet": as_parquet}[path.suffix](path)
    found = list(file_targets(path))
    assert [(each.id, each.config, each.card) for each in found] == [
        (row["id"], row["config"], row["card"]) for row in ROWS
    ]
    assert not any(each.fault for each in found)
    assert all(each.location.startswith(kind) for each in found)


def test_parquet_with_configs_as_structs_leaves_nulls_out(tmp_path: Path) -> None:
    path = tmp_path / "crawl.parquet"
    configs = [{"model_type": "gpt2", "n_embd": 8}, {"model_type": "llama", "hidden_size": 16}]
    pq.write_table(pa.table({"id": ["a", "b"], "config": configs}), path)
    assert [each.config for each in file_targets(path)] == configs


BAD_LINES = {
    "no JSON": '{"id": "a"',
    "no object": "[1]",
    "no id": '{"config": {}}',
    "an empty id": '{"id": " "}',
    "an id that is a number": '{"id": 5}',
    "a config that is no JSON": '{"id": "a", "config": "{"}',
    "a config that is a list": '{"id": "a", "config": "[]"}',
    "a config that is a number": '{"id": "a", "config": 1}',
    "a config that nests": '{"id": "a", "config": ' + '{"a":' * 70 + "1" + "}" * 70 + "}",
    "a row that nests": "[" * 100_000,
    "a card that is a list": '{"id": "a", "card": [1]}',
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_row_is_a_fault_and_the_rest_is_read(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'"before"\n' + line.encode("utf-8", "surrogateescape") + b'\n\n{"id": "after"}\n')
    before, bad, after = file_targets(path)
    assert (before.id, after.id) == ("before", "after")
    assert not before.fault
    assert not after.fault
    assert bad.fault.startswith("rows.jsonl line 2")
    assert "\n" not in bad.fault


def test_a_row_too_long_is_passed_by(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": "long", "card": "')
        file.write(b"x" * MAX_ROW_BYTES)
        file.write(b'"}\n"after"\n')
    long, after = file_targets(path)
    assert long.fault
    assert after.id == "after"


@given(st.lists(st.text(), max_size=4), st.sampled_from([".jsonl", ".csv", ".txt"]))
def test_no_text_ends_the_reading(tmp_path_factory: pytest.TempPathFactory, lines: list[str], suffix: str) -> None:
    path = tmp_path_factory.mktemp("rows") / f"rows{suffix}"
    path.write_bytes(b"id,config\n" + "\n".join(lines).encode("utf-8", "surrogatepass"))
    for target in file_targets(path):
        assert isinstance(target, Target)
        assert target.id
        target.id.encode()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_without_ids_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        path.write_text("name,size\na,1\n")
    else:
        pq.write_table(pa.table({"name": ["a"], "size": [1]}), path)
    with pytest.raises(BadInput, match=r"no column of ids.*it has name, size"):
        list(file_targets(path))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        file_targets(tmp_path / "nowhere.txt")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInput, match="not a Parquet file"):
        list(file_targets(broken))


def test_a_file_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    """Of a Parquet file whose last row group is broken the first can be read: nothing is read ahead of need."""
    path = tmp_path / "rows.parquet"
    names = [f"o/m{number:05}" for number in range(4000)]
    pq.write_table(pa.table({"id": names}), path, row_group_size=1000, compression="none", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(3).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 64] = bytes(64)
    path.write_bytes(data)
    reader = file_targets(path)
    assert [each.id for each in itertools.islice(reader, 2000)] == names[:2000]
    with pytest.raises(BadInput, match=r"cannot be read after row 2,\d{3} \("):
        list(reader)
