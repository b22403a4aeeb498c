"""Reading a config.json: what is wrong with the file, told in one line within two seconds and little memory."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from hfcount.errors import BadInput
from hfcount.sources.config_json import MAX_CONFIG_BYTES, MAX_DEPTH, parse_config, read_config_file

GOOD = {"model_type": "gpt2", "n_layer": 3, "nested": {"list": [1, 2.5, None, "ü"]}}
TEXT = json.dumps(GOOD, ensure_ascii=False)


def nested(depth: int) -> bytes:
    """An object that is `depth` deep, itself counted."""
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    "data", [TEXT.encode(), TEXT.encode("utf-8-sig"), f"\n {TEXT} \r\n".encode()], ids=["plain", "with-mark", "spaces"]
)
def test_what_is_good(data: bytes) -> None:
    assert parse_config(data, where="config.json") == GOOD


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (TEXT.encode()[:40], ("not valid JSON at line 1, column",)),
        (b'{"a": 1,\n "b": }', ("line 2, column 7",)),
        (b"{'a': 1}", ("not valid JSON",)),
        (b"\x89PNG\r\n\x1a\n\x00\x00", ("not UTF-8 text", "byte 0", "UTF-8")),
        (b"GGUF\x03\x00\x00\x00\x93\x01", ("not UTF-8 text",)),
        (b"\x00" * 64, ("not valid JSON",)),
        (b"", ("is empty",)),
        (b" \n\t", ("is empty",)),
        (TEXT.encode("utf-16"), ("not UTF-8 text",)),
        (TEXT.encode("utf-16-le"), ("not",)),
        (b"[" * 100_000 + b"]" * 100_000, ("nested too deeply",)),
        (nested(100_000), ("nested too deeply",)),
        (nested(MAX_DEPTH + 1), ("nested too deeply",)),
        (b"[1, 2]", ("a JSON list", "an object")),
        (b'"text"', ("a JSON string",)),
        (b"12", ("a JSON number",)),
        (b"true", ("a JSON boolean",)),
        (b"null", ("a JSON null",)),
        (b'{"vocab_size": ' + b"9" * 10_000 + b"}", ("digits",)),
        (b"<html>Not found</html>", ("not valid JSON",)),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", ("not valid JSON",)),
    ],
)
def test_what_is_no_config(data: bytes, parts: tuple[str, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        parse_config(data, where="lab/config.json")
    text = str(caught.value)
    assert text.startswith("lab/config.json: ")
    assert text.isprintable()
    assert len(text) < 300
    for part in parts:
        assert part in text, f"{part!r} is not in {text!r}"


def test_what_is_nested_as_deep_as_allowed() -> None:
    assert parse_config(nested(MAX_DEPTH), where="config.json")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(20 * 1024**2)  # sparse: reading it would give 20 MiB of zeros
    with pytest.raises(BadInput, match=f"larger than {MAX_CONFIG_BYTES // 2**20} MiB"):
        read_config_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read \(No such file"):
        read_config_file(tmp_path / "config.json")


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(BadInput, match=r"cannot be read \(Is a directory"):
        read_config_file(tmp_path / "config.json")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(BadInput, match=r"cannot be read \(Permission denied"):
        read_config_file(path)


def test_what_the_system_will_not_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same for any user: the system's own error, put in by hand."""
    path = tmp_path / "config.json"
    path.write_text("{}")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BadInput, match=r"config.json: cannot be read \(Permission denied\)"):
        read_config_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(BadInput, match="not a file"):
        read_config_file(tmp_path / "config.json")


def test_numbers_that_json_lacks() -> None:
    """transformers writes an infinity as an object of its own (Mamba2's time_step_limit)."""
    found = parse_config(b'{"limit": [0.0, {"__float__": "Infinity"}], "other": {"__float__": "far"}}', where="x")
    assert found == {"limit": [0.0, math.inf], "other": {"__float__": "far"}}
