"""What real libraries stored is unpacked to the model that they were given.

scripts/record_packed_headers.py recorded the headers, each with the library's version; every case is a small Llama,
and the truth is its own state dict.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from packed_cases import RECORDED, assert_sums, parameters, recorded, recorded_header

from hfcount.sources.headers.packed import model_names
from hfcount.sources.headers.unpacking import unpack

LIBRARIES = {path.stem: recorded(path) for path in sorted(RECORDED.glob("*.json"))}
ALL = [(library, case) for library, held in LIBRARIES.items() for case in held["cases"]]
CASES = [pytest.param(*pair, id=f"{pair[0]}: {pair[1]['case']}") for pair in ALL if pair[0] != "gguf"]
GGUF = [pytest.param(case, id=case["case"]) for library, case in ALL if library == "gguf"]

UNCERTAIN = {("compressed_tensors_legacy", "sparse-bitmask")}
"""Its bitmask is in bytes of eight inputs, and the shape is a value."""

WITHOUT_SHAPE = ("hqq",)
"""The shape is a value; with a bias the outputs are known."""


def truth(library: str, case: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in LIBRARIES[library]["models"][case["model"]].items()}


def config(library: str, case: dict[str, Any]) -> dict[str, Any]:
    return {"quantization" if library == "mlx" else "quantization_config": case["quantization_config"]}


@pytest.mark.parametrize(("library", "case"), CASES)
def test_the_model_is_given_back(library: str, case: dict[str, Any]) -> None:
    checkpoint = unpack(recorded_header(case, library), config(library, case))
    real = truth(library, case)
    assert parameters(checkpoint) == {name: math.prod(shape) for name, shape in real.items()}
    assert checkpoint.exact is ((library, case["case"]) not in UNCERTAIN)
    assert checkpoint.packing
    wrong = {entry.name: entry.shape for entry in checkpoint.entries if entry.shape != real.get(entry.name)}
    assert all(library in WITHOUT_SHAPE and shape == () for shape in wrong.values()), wrong
    assert_sums(checkpoint)


@pytest.mark.parametrize(
    "said", [None, {"quant_method": "gptq", "bits": 4, "group_size": 64}, {"quant_method": "aqlm"}]
)
@pytest.mark.parametrize(("library", "case"), CASES)
def test_a_config_that_is_absent_or_lies(library: str, case: dict[str, Any], said: dict[str, Any] | None) -> None:
    """What is said to be exact is the truth all the same. (GPTQ's own bits without g_idx are told by its zeros.)"""
    checkpoint = unpack(recorded_header(case, library), None if said is None else {"quantization_config": said})
    real = {name: math.prod(shape) for name, shape in truth(library, case).items()}
    sure = {entry.name: entry.parameters for entry in checkpoint.entries if entry.exact and entry.parameters}
    assert sure == {name: real[name] for name in sure}
    assert checkpoint.exact or checkpoint.notes
    assert_sums(checkpoint)


def test_most_formats_need_no_config() -> None:
    sure = [(library, case) for library, case in ALL if unpack(recorded_header(case, library)).exact]
    assert {"torchao", "auto_round", "gguf"} <= {library for library, _ in sure}
    for library in ("torchao", "auto_round", "gguf"):
        assert sum(library == each for each, _ in sure) == len(LIBRARIES[library]["cases"])


@pytest.mark.parametrize("case", GGUF)
def test_gguf_holds_what_it_stands_for(case: dict[str, Any]) -> None:
    header = recorded_header(case, "gguf")
    checkpoint = unpack(header)
    assert checkpoint.exact
    assert f"gguf {case['case']}" in checkpoint.packing
    assert sorted(entry.shape for entry in checkpoint.entries if entry.parameters) == sorted(
        truth("gguf", case).values()
    )
    assert [entry.name for entry in checkpoint.entries if entry.role == "state"] == ["rope_freqs.weight"]
    assert_sums(checkpoint)


def test_gguf_names_are_the_models() -> None:
    pytest.importorskip("gguf")
    case = LIBRARIES["gguf"]["cases"][0]
    header, real = recorded_header(case, "gguf"), truth("gguf", case)
    names = model_names(header, real)
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    assert {name: shapes[there] for there, name in names.items()} == real


def test_gguf_names_without_an_architecture() -> None:
    case = LIBRARIES["gguf"]["cases"][0]
    assert model_names(recorded_header({**case, "metadata": {}}, "gguf"), ["lm_head.weight"]) == {}
