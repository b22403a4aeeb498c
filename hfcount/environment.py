"""What this machine has: the versions and the device that a figure may depend on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import platform
from typing import Any

from hfcount.errors import BadInput, one_line

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


def cannot_import(error: BaseException) -> str | None:
    """A line where `error` came up because a library is missing or broken; None for any other error."""
    each: BaseException | None = error
    while each is not None:
        name = _import_that_failed(each)
        if name is not None and name.partition(".")[0] != "hfcount":
            library = name.partition(".")[0] or "a library"
            return f"{library} cannot be imported ({one_line(each)}); install it again: pip install hfcount"
        each = each.__cause__ or each.__context__
    return None


def _import_that_failed(error: BaseException) -> str | None:
    """The module that was being imported when `error` came up, "" where nobody knows its name; None for none."""
    if isinstance(error, ImportError):
        return error.name or ""
    found = None
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            found = found or str(frame.f_locals.get("name", ""))
        elif str(frame.f_globals.get("__name__", "")).partition(".")[0] == "hfcount":
            found = None
        trace = trace.tb_next
    return found


def require(*packages: str) -> None:
    """Raise BadInput where one of the `packages` is not installed, without importing any."""
    for package in packages:
        try:
            there = importlib.util.find_spec(package) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            raise BadInput(f"{package} is not installed, and this wants it; pip install hfcount")


def _device() -> str:
    try:
        import torch
    except Exception as error:  # a report of what is broken must not break
        return f"unknown: torch cannot be imported ({one_line(error)})"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"cuda: {properties.name}, {properties.total_memory:,} bytes, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu, {torch.get_num_threads()} threads"


def _bitsandbytes_backend() -> str:
    """The device that bitsandbytes quantizes NF4 on here, found by quantizing one block."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        from bitsandbytes.functional import quantize_4bit

        quantize_4bit(torch.zeros(64, device=device), quant_type="nf4")
    except Exception as error:  # whatever it is, the answer is that it cannot
        return f"none ({type(error).__name__})"
    return device
