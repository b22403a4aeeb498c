"""Which files of a repository are its checkpoint, and which reader a file gets."""

from __future__ import annotations

import io

import pytest
import safetensors.torch
import torch
from header_files import gguf_file, gguf_tensor

from hfcount.sources.headers import Header, HeaderError, InMemory, Readable, read_checkpoint_files, read_header
from hfcount.sources.headers.reading import choose

SAFETENSORS = safetensors.torch.save({"a": torch.zeros(3)})
GGUF = gguf_file([], [gguf_tensor("a", [3], 0, 0)], 12)
BUFFER = io.BytesIO()
torch.save({"a": torch.zeros(3)}, BUFFER)
TORCH = BUFFER.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("model.safetensors", SAFETENSORS, "safetensors"),
        ("MODEL.SAFETENSORS", SAFETENSORS, "safetensors"),
        ("a.gguf", GGUF, "gguf"),
        ("blob", GGUF, "gguf"),
        ("pytorch_model.bin", TORCH, "torch"),
        ("model.pt", TORCH, "torch"),
        ("last.ckpt", TORCH, "torch"),
        ("blob", TORCH, "torch"),
    ],
)
def test_the_first_bytes_or_the_suffix_tell_the_format(name: str, data: bytes, kind: str) -> None:
    header = read_header(InMemory(data, name))
    assert (header.format, header.stored_elements, header.nbytes, header.files) == (kind, 3, 12, (name,))


def test_another_file_is_refused() -> None:
    with pytest.raises(HeaderError, match=r"model\.h5: is no checkpoint that hfcount reads; name a file that ends in"):
        read_header(InMemory(b"\x89HDF", "model.h5"))


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ("README.md config.json", None),
        ("model.safetensors pytorch_model.bin a.gguf", "model.safetensors"),
        (f"model.safetensors {INDEX} model-00001-of-00002.safetensors", "model.safetensors"),
        (f"{INDEX} model-00001-of-00002.safetensors consolidated.safetensors", INDEX),
        ("adapter_model.safetensors adapter_config.json", "adapter_model.safetensors"),
        ("adapter_model.safetensors model.safetensors", "model.safetensors"),
        ("consolidated.safetensors pytorch_model.bin", "consolidated.safetensors"),
        ("diffusion.safetensors.index.json pytorch_model.bin", "diffusion.safetensors.index.json"),
        ("unet/model.safetensors pytorch_model.bin", "pytorch_model.bin"),
        ("a.gguf pytorch_model.bin", "a.gguf"),
        ("Q4/a.gguf README.md", "Q4/a.gguf"),
        ("mmproj-model-f16.gguf a.gguf", "a.gguf"),
        ("pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"),
        ("adapter_model.bin training_args.bin", "adapter_model.bin"),
        ("training_args.bin optimizer.pt scheduler.pt rng_state_0.pth", None),
        ("weights.pth training_args.bin", "weights.pth"),
        ("unet/model.safetensors", None),
    ],
)
def test_which_file_is_the_checkpoint(names: str, taken: str | None) -> None:
    choice = choose(dict.fromkeys(names.split(), 10))
    assert (None if choice is None else choice.index or choice.files[0]) == taken
    assert choice is None or not choice.notes


def test_of_several_quantizations_the_largest_is_read_whatever_the_order() -> None:
    sizes = {"m-Q4_K.gguf": 40, "m-Q8_0-00001-of-00002.gguf": 41, "m-Q8_0-00002-of-00002.gguf": 41, "m-Q2_K.gguf": 20}
    for names in (list(sizes), list(reversed(sizes))):
        choice = choose({name: sizes[name] for name in names})
        assert choice is not None
        assert choice.files == ("m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf")
        assert choice.notes == (
            "m-Q8_0-00001-of-00002.gguf is read; 2 more such files are there: m-Q2_K.gguf, m-Q4_K.gguf",
        )


def test_no_checkpoint_is_none_and_opens_nothing() -> None:
    def refuse(name: str) -> Readable:
        raise AssertionError(name)

    assert read_checkpoint_files({"README.md": 5, "config.json": 9}, refuse) is None


def test_files_are_named_as_the_listing_has_them() -> None:
    header = read_checkpoint_files({"Q4/a.gguf": len(GGUF)}, lambda name: InMemory(GGUF, "elsewhere"))
    assert isinstance(header, Header)
    assert header.files == ("Q4/a.gguf",)
    assert header.tensors[0].file == "Q4/a.gguf"


def test_notes_say_what_else_was_there() -> None:
    header = read_checkpoint_files({"a.pt": 5, "b.pt": 5}, lambda name: InMemory(TORCH, name))
    assert header is not None
    assert header.notes == ("a.pt is read; 1 more such files are there: b.pt",)
