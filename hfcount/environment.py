"""What this machine has: the versions and the device that a figure may depend on."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from typing import Any

PACKAGES = (
    "transformers", "torch", "peft", "accelerate", "bitsandbytes", "huggingface_hub", "safetensors", "pandas",
    "numpy", "sympy", "matplotlib", "rich", "typer",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Name to value: hfcount, Python, platform, packages, device, bitsandbytes backend, bundled cards."""
    from hfcount._version import __version__
    from hfcount.sources.cards import card_names

    return {
        "hfcount": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{package: _version(package) for package in PACKAGES},
        "device": _device(),
        "bitsandbytes backend": _bitsandbytes_backend(),
        "bundled cards": len(card_names()),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"cuda: {properties.name}, {properties.total_memory:,} bytes, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu, {torch.get_num_threads()} threads"


def _bitsandbytes_backend() -> str:
    """The device that bitsandbytes quantizes NF4 on here, found by quantizing one block."""
    import torch

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        from bitsandbytes.functional import quantize_4bit

        quantize_4bit(torch.zeros(64, device=device), quant_type="nf4")
    except Exception as error:  # whatever it is, the answer is that it cannot
        return f"none ({type(error).__name__})"
    return device
