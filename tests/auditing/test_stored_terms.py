"""What a file has beside its parameters, term by term: published sizes of files, and files changed at random."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_models import Saved, save

from hfcount.auditing.stored import Joined, join
from hfcount.auditing.stored.known import OLD_BUFFERS, is_padded
from hfcount.configs import load_config
from hfcount.inventory import inventory
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve
from hfcount.sources.headers import Checkpoint, Entry, Header, StoredTensor
from hfcount.sources.headers.unpacking import unpack

Shapes = dict[str, tuple[int, ...]]


@cache
def skeleton(card: str):
    return build_skeleton(load_config(resolve(f"card:{card}"))).model


def shapes_of(model, *, tied: bool = False) -> Shapes:
    """The parameters by name; `tied`: under all their names."""
    table = inventory(model)
    rows = zip(table["name"], table["aliases"], table["shape"], strict=True)
    return {each: shape for name, aliases, shape in rows for each in (name, *(aliases if tied else ()))}


def header_of(shapes: Shapes, dtype: str = "F32", size: int = 4) -> Header:
    tensors = (StoredTensor(name, dtype, shape, size * math.prod(shape)) for name, shape in shapes.items())
    return Header(format="safetensors", tensors=tuple(tensors))


def checkpoint_of(shapes: Shapes) -> Checkpoint:
    return unpack(header_of(shapes))


def terms(joined: Joined) -> dict[str, int]:
    return {term.name: term.elements for term in joined.terms}


def test_the_file_of_gpt2_on_the_hub() -> None:
    """137,022,720 elements: the Hub's `safetensors.total` of openai-community/gpt2. Its names lack `transformer.`,
    and each of 12 layers stores its mask, (1, 1, 1024, 1024)."""
    model = skeleton("gpt2")
    stored = {name.removeprefix("transformer."): shape for name, shape in shapes_of(model).items()}
    stored |= {f"h.{layer}.attn.bias": (1, 1, 1024, 1024) for layer in range(12)}
    joined = join(checkpoint_of(stored), model)
    assert joined.parameters == 137_022_720
    assert joined.total == 124_439_808
    assert terms(joined) == {"buffers stored": 12 * 1024**2}
    assert joined.explained
    assert not joined.missing | joined.unexpected | joined.mismatched


def test_a_matrix_that_is_named_as_a_mask_is_none() -> None:
    model = skeleton("gpt2")
    stored = shapes_of(model) | {"transformer.h.12.attn.bias": (4, 1, 1024, 1024), "h.0.attn.masked_bias": (7,)}
    names = terms(join(checkpoint_of(stored), model))
    assert names == {"left out by the class": 4 * 1024**2, "unexpected": 7}


def test_falcon_7b_stores_its_head_again() -> None:
    """7,217,189,760: the Hub's `safetensors.total` of tiiuae/falcon-7b, whose head is 65,024 x 4,544."""
    model = skeleton("tiiuae/falcon-7b")
    joined = join(checkpoint_of(shapes_of(model, tied=True)), model)
    assert joined.parameters == 7_217_189_760
    assert terms(joined) == {"tied weights stored again": 65_024 * 4_544}
    (row,) = joined.differences
    assert (row.name, row.status) == ("lm_head.weight", "tied, stored again")
    assert row.note == "tied to transformer.word_embeddings.weight"


def test_an_8b_in_nf4() -> None:
    """4,650,159,296: the Hub's `safetensors.total` of Llama-3.1-8B in bitsandbytes NF4, statistics quantized again.

    Linear layers hold 6,979,321,856 weights, two a byte; an absmax of one byte for every 64, one of four for every 256
    of those, code tables of 16 and 256 elements in each of 224 matrices, and its state, a JSON text of 90 bytes here.
    """
    model = skeleton("meta-llama/Llama-3.1-8B")
    stored: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, shape in shapes_of(model).items():
        if not name.endswith("_proj.weight"):
            stored[name] = ("BF16", shape)
            continue
        blocks = math.prod(shape) // 64
        stored[name] = ("U8", (math.prod(shape) // 2, 1))
        stored[f"{name}.absmax"] = ("U8", (blocks,))
        stored[f"{name}.nested_absmax"] = ("F32", (blocks // 256,))
        stored[f"{name}.nested_quant_map"] = ("F32", (256,))
        stored[f"{name}.quant_map"] = ("F32", (16,))
        stored[f"{name}.quant_state.bitsandbytes__nf4"] = ("U8", (90,))
    size = {"BF16": 2, "U8": 1, "F32": 4}
    tensors = (
        StoredTensor(name, kind, shape, size[kind] * math.prod(shape)) for name, (kind, shape) in stored.items()
    )
    joined = join(unpack(Header(format="safetensors", tensors=tuple(tensors))), model)
    assert joined.stored_elements == 4_650_159_296
    assert joined.parameters == joined.total == 8_030_261_248
    assert not joined.terms
    assert sum(term.elements for term in joined.stored_terms) == 4_650_159_296 - 8_030_261_248
    assert joined.explained
    assert not joined.missing | joined.unexpected | joined.mismatched


def _prediction_module(saved: Saved, layer: int) -> dict[str, torch.Tensor]:
    """DeepSeek-V3's (README_WEIGHTS.md): a layer as the last, two norms, `eh_proj`, an embedding and a head."""
    last = {name: tensor for name, tensor in saved.tensors.items() if name.startswith("model.layers.1.")}
    module = {name.replace("layers.1.", f"layers.{layer}."): tensor for name, tensor in last.items()}
    extra = {
        "enorm.weight": (24,), "hnorm.weight": (24,), "eh_proj.weight": (24, 48), "embed_tokens.weight": (99, 24),
        "shared_head.norm.weight": (24,), "shared_head.head.weight": (99, 24),
    }  # fmt: skip
    return module | {f"model.layers.{layer}.{name}": torch.zeros(shape) for name, shape in extra.items()}


@pytest.mark.parametrize("layer", [2, 61])
def test_the_module_for_multi_token_prediction(tmp_path: Path, layer: int) -> None:
    """Layer 61 is the published file's, which the class passes over; a smaller model's is the one after the last."""
    saved = save("deepseek-v3", tmp_path)
    module = _prediction_module(saved, layer)
    saved.store(saved.tensors | module)
    before = saved.skeleton.model.num_parameters()
    joined = saved.joined()
    buffers = sum(buffer.numel() for name, buffer in saved.skeleton.model.named_buffers() if name in saved.tensors)
    assert terms(joined)["multi-token-prediction module"] == sum(tensor.numel() for tensor in module.values())
    assert sum(terms(joined).values()) == joined.parameters - before
    assert terms(joined).get("buffers stored", 0) == buffers
    assert joined.explained
    assert joined.unexpected == saved.loading()["unexpected"]
    assert bool(joined.unexpected) == (layer != 61)


def test_a_layer_too_many_is_no_module_for_prediction(tmp_path: Path) -> None:
    saved = save("deepseek-v3", tmp_path)
    extra = {name: tensor for name, tensor in _prediction_module(saved, 2).items() if "eh_proj" not in name}
    saved.store(saved.tensors | extra)
    assert terms(saved.joined())["unexpected"] == sum(tensor.numel() for tensor in extra.values())


def test_a_vocabulary_filled_up() -> None:
    """50,257 words in 50,304 rows, a multiple of 64, as nanoGPT trains GPT-2 (its model.py, `vocab_size`)."""
    model = skeleton("gpt2")
    stored = shapes_of(model) | {"transformer.wte.weight": (50_304, 768), "lm_head.weight": (50_304, 768)}
    joined = join(checkpoint_of(stored), model)
    assert terms(joined) == {"padded vocabulary": 2 * 47 * 768, "tied weights stored again": 50_257 * 768}
    assert {row.note for row in joined.differences} >= {"50,304 rows for a vocabulary of 50,257"}
    assert joined.mismatched == {"transformer.wte.weight", "lm_head.weight"}


@pytest.mark.parametrize(
    ("rows", "padded"),
    [(50_264, True), (50_304, True), (51_200, True), (50_258, False), (50_256, False), (100_608, False)],
)  # fmt: skip
def test_which_numbers_of_rows_are_padding(rows: int, padded: bool) -> None:
    assert is_padded((rows, 768), (50_257, 768), frozenset({50_257})) is padded
    assert not is_padded((rows, 769), (50_257, 768), frozenset({50_257}))
    assert not is_padded((rows, 768), (50_257, 768), frozenset({32_000}))


def test_what_cannot_be_tied_to_a_weight_is_a_term_of_its_own() -> None:
    model = skeleton("gpt2")
    plain = checkpoint_of(shapes_of(model))
    more = (Entry("scales", (), 0, 10, 20, "F16", role="scale"), Entry("odd", (), 0, 3, 3, "?", role="unknown"))
    tensors = (
        StoredTensor("scales", "F16", (10,), 20),
        StoredTensor("odd", "?", (3,), 3),
        StoredTensor("x", "?", (5,), 5),
    )
    header = dataclasses.replace(plain.header, tensors=plain.header.tensors + tensors)
    joined = join(dataclasses.replace(plain, header=header, entries=plain.entries + more), model)
    assert [(term.name, term.elements, term.explains) for term in joined.packing] == [
        ("scales", 10, True), ("unknown tensors", 3, False), ("in no tensor of the model", 5, False),
    ]  # fmt: skip
    assert not joined.explained
    assert not joined.terms


def test_a_shape_that_packing_hides_is_compared_by_its_elements() -> None:
    model = skeleton("gpt2")
    plain = checkpoint_of(shapes_of(model))
    hidden = dataclasses.replace(plain, entries=tuple(dataclasses.replace(each, shape=()) for each in plain.entries))
    assert not join(hidden, model).differences


# llama.cpp's names (gguf-py/gguf/constants.py, TENSOR_NAMES) of what a layer of Mixtral has here.
GGUF_LAYER = {
    "attn_norm": (24,), "ffn_norm": (24,), "attn_q": (24, 24), "attn_k": (12, 24), "attn_v": (12, 24),
    "attn_output": (24, 24), "ffn_gate_inp": (3, 24), "ffn_gate_exps": (3, 40, 24), "ffn_up_exps": (3, 40, 24),
    "ffn_down_exps": (3, 24, 40),
}  # fmt: skip


def test_a_gguf_file_by_its_own_names() -> None:
    pytest.importorskip("gguf")
    model = _small("mixtral").skeleton.model
    shapes = {"token_embd.weight": (99, 24), "output_norm.weight": (24,), "output.weight": (99, 24)}
    shapes |= {f"blk.{block}.{name}.weight": shape for block in range(2) for name, shape in GGUF_LAYER.items()}
    metadata = {"general.architecture": "llama", "llama.block_count": 2}

    def joined(shapes: Shapes) -> Joined:
        header = dataclasses.replace(header_of(shapes), format="gguf", metadata=metadata)
        return join(unpack(header), model)

    whole = joined(shapes)
    assert {row.status for row in whole.differences} == {"stored in pieces"}
    assert (whole.parameters, whole.terms) == (model.num_parameters(), ())
    stranger = joined(
        {name: shape for name, shape in shapes.items() if "blk.1.ffn_up" not in name} | {"strange": (5,)}
    )
    assert terms(stranger) == {"mismatched shape": -3 * 40 * 24, "unexpected": 5}


@cache
def _small(kind: str) -> Saved:
    import tempfile

    return save(kind, Path(tempfile.mkdtemp()))


FATES = ("kept", "dropped", "twice", "renamed", "padded", "grown")


@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
@given(data=st.data(), kind=st.sampled_from(["llama", "llama-tied", "qwen3-moe"]), head=st.booleans())
def test_any_change_is_told_to_the_unit(data: st.DataObject, kind: str, head: bool) -> None:
    """Each tensor has a fate, and the terms are the sums over those of each fate."""
    saved = _small(kind)
    stored: Shapes = {}
    expected: Counter[str] = Counter()
    for name, tensor in saved.tensors.items():
        shape, numel = tuple(tensor.shape), tensor.numel()
        fate = data.draw(st.sampled_from(FATES)) if "experts" not in name else "kept"
        if fate == "dropped":
            expected["missing"] -= numel
        elif fate == "renamed":
            stored[f"x.{name}"] = shape
            expected["unexpected"] += numel
            expected["missing"] -= numel
        elif fate == "grown":
            stored[name] = (shape[0] + 1, *shape[1:])
            expected["mismatched shape"] += numel // shape[0]
        elif fate == "padded" and shape[0] == 99:
            stored[name] = (128, *shape[1:])
            expected["padded vocabulary"] += 29 * numel // 99
        else:
            stored[name] = shape
            if fate == "twice" and name.startswith("model."):
                stored[name.removeprefix("model.")] = shape
                expected["stored twice"] += numel
    if head and kind == "llama-tied" and "model.embed_tokens.weight" in stored:
        stored["lm_head.weight"] = (99, 24)
        expected["tied weights stored again"] += 99 * 24
    joined = join(checkpoint_of(stored), saved.skeleton.model)
    found = Counter(terms(joined))
    assert {name: found[name] for name in found if found[name]} == {name: n for name, n in expected.items() if n}
    elements = sum(math.prod(shape) for shape in stored.values())
    assert sum(term.elements for term in joined.stored_terms) == elements - saved.skeleton.model.num_parameters()
    assert joined.to_frame()["elements"].sum() == sum(found.values())


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), max_size=12)
            | st.from_regex(r"(model\.|mtp\.)?layers\.\d+\.[a-z²(*.]+"),
            st.lists(st.integers(0, 9), max_size=5).map(tuple),
        ),
        max_size=20,
        unique_by=lambda pair: pair[0],
    )
)
def test_any_names_at_all(pairs: list[tuple[str, tuple[int, ...]]]) -> None:
    model = _small("llama").skeleton.model
    entries = tuple(Entry(name, shape, math.prod(shape), math.prod(shape), 0, "F32") for name, shape in pairs)
    joined = join(Checkpoint(header=header_of(dict(pairs)), entries=entries), model)
    assert sum(terms(joined).values()) == sum(entry.parameters for entry in entries) - model.num_parameters()


def test_names_that_are_hard_on_patterns() -> None:
    """Fused experts have patterns with `.*`, whose time grows with the square of a name's length."""
    model = skeleton("mistralai/Mixtral-8x7B-v0.1")
    names = ["experts." * 200_000 + str(each) for each in range(5)] + ["²", "a" * 100 + "9" * 100, "." * 250, ""]
    names += [("experts." * 40)[:250] + str(each) for each in range(5_000)]
    entries = tuple(Entry(name, (2,), 2, 2, 4, "BF16") for name in names)
    tensors = tuple(StoredTensor(name, "BF16", (2,), 4) for name in names)
    joined = join(Checkpoint(header=Header(format="safetensors", tensors=tensors), entries=entries), model)
    assert terms(joined) == {"unexpected": 2 * len(names), "missing": -joined.total}
    assert all(len(term.note) < 200 for term in joined.terms)


def test_every_old_buffer_has_a_source() -> None:
    for buffer in OLD_BUFFERS:
        assert buffer.pattern.endswith("$")
        assert buffer.source
