"""The join against `from_pretrained` itself: what it calls missing, unexpected and mismatched, of real files."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stored_models import KINDS, Saved, Tensors, save

from hfcount.auditing.stored import join_by_names


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return save(request.param, tmp_path_factory.mktemp(request.param))


def _without_some(tensors: Tensors) -> Tensors:
    """Experts are left alone: that pieces do not fit together is an error of loading."""
    kept = (name for index, name in enumerate(tensors) if index % 4 != 1 or "experts" in name)
    return {name: tensors[name] for name in kept}


def _with_strangers(tensors: Tensors) -> Tensors:
    first = next(iter(tensors.values()))
    names = ("stranger.weight", "model.layers.7.self_attn.q_proj.weight", "transformer.h.0.attn.bias", "a(b)*[c")
    return tensors | dict.fromkeys(names, first)


def _without_prefix(tensors: Tensors) -> Tensors:
    """As the file of a base model has it."""
    heads = ("transformer.", "model.", "bert.", "vit.", "resnet.")
    found = next((head for head in heads if any(name.startswith(head) for name in tensors)), "")
    return {name.removeprefix(found): tensor for name, tensor in tensors.items()}


def _with_prefix(tensors: Tensors) -> Tensors:
    """As a class around it has it."""
    return {f"transformer.{name}": tensor for name, tensor in tensors.items()}


def _some_transposed_or_cut(tensors: Tensors) -> Tensors:
    plain = [name for name, tensor in tensors.items() if tensor.dim() and "experts" not in name]
    chosen = set(plain[::3])
    return {name: _bent(tensor) if name in chosen else tensor for name, tensor in tensors.items()}


def _bent(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.T if tensor.dim() == 2 and tensor.shape[0] != tensor.shape[1] else tensor[1:]


def _with_buffers_of_old(tensors: Tensors) -> Tensors:
    """What transformers passes over itself where the class has such a buffer."""
    return tensors | {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3),
        "bert.embeddings.position_ids": torch.arange(32)[None],
        "transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32),
    }


@pytest.mark.parametrize(
    "change",
    [
        dict, _without_some, _with_strangers, _without_prefix, _with_prefix, _some_transposed_or_cut,
        _with_buffers_of_old,
    ],
)  # fmt: skip
def test_what_loading_reports(saved: Saved, change: Callable[[Tensors], Tensors]) -> None:
    saved.store(change(saved.tensors))
    joined, loading = saved.joined(), saved.loading()
    found = {"missing": joined.missing, "unexpected": joined.unexpected, "mismatched": joined.mismatched}
    assert found == loading


def test_a_file_as_saved_differs_in_nothing_but_pieces_and_buffers(saved: Saved) -> None:
    saved.store(saved.tensors)
    joined = saved.joined()
    assert {row.status for row in joined.differences} <= {"stored in pieces", "buffer stored"}
    assert joined.explained
    assert joined.exact
    buffers = sum(buffer.numel() for name, buffer in saved.skeleton.model.named_buffers() if name in saved.tensors)
    assert [(term.name, term.elements) for term in joined.terms] == ([("buffers stored", buffers)] if buffers else [])
    assert joined.parameters == sum(tensor.numel() for tensor in saved.tensors.values())
    assert joined.total == saved.skeleton.model.num_parameters()


def test_pieces_are_named(tmp_path: Path) -> None:
    """Mixtral has a gate, an up and a down matrix for each of 3 experts in 2 layers; fused they are 2 a layer."""
    joined = save("mixtral", tmp_path).joined()
    rows = {row.name: row for row in joined.differences}
    assert len(rows) == 4
    fused = rows["model.layers.1.mlp.experts.gate_up_proj"]
    assert (fused.status, fused.built_shape, fused.elements) == ("stored in pieces", (3, 80, 24), 0)
    assert fused.note == "6 tensors become one tensor"


def test_an_expert_that_lacks_is_a_mismatch(tmp_path: Path) -> None:
    saved = save("mixtral", tmp_path)
    lacking = "model.layers.1.block_sparse_moe.experts.2.w2.weight"
    assert lacking in saved.tensors, sorted(saved.tensors)
    saved.store({name: tensor for name, tensor in saved.tensors.items() if name != lacking})
    joined = saved.joined()
    assert joined.mismatched == {"model.layers.1.mlp.experts.down_proj"} == saved.loading()["mismatched"]
    assert [(term.name, term.elements) for term in joined.terms] == [("mismatched shape", -24 * 40)]


def test_a_split_is_the_same_elements(tmp_path: Path) -> None:
    """Names of today (fused experts as they are in memory) load as they stand."""
    saved = save("mixtral", tmp_path)
    saved.store({name: torch.zeros(tensor.shape) for name, tensor in saved.skeleton.model.state_dict().items()})
    joined = saved.joined()
    assert not joined.differences
    assert not any(saved.loading().values())


def test_by_names_alone_where_they_are_the_same(tmp_path: Path) -> None:
    from hfcount.fast.count import fast_count
    from hfcount.sources import resolve

    saved = save("gpt2", tmp_path)
    parts = fast_count(resolve(str(tmp_path)), detailed=True).parts
    equal = join_by_names(saved.checkpoint(), parts)
    assert equal == saved.joined()
    saved.store(_without_some(saved.tensors))
    assert join_by_names(saved.checkpoint(), parts) is None
    saved.store(_some_transposed_or_cut(saved.tensors))
    assert join_by_names(saved.checkpoint(), parts) is None


def test_without_transformers_conversions_the_prefix_is_still_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions = importlib.import_module("transformers.conversion_mapping")
    saved = save("gpt2", tmp_path)
    monkeypatch.delattr(conversions, "get_model_conversion_mapping")
    for change in (dict, _without_prefix):
        saved.store(change(saved.tensors))
        assert not saved.joined().differences
