"""What this machine has: the versions and the device that a figure may depend on."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from typing import Any

from hfcount.errors import one_line
from hfcount.quiet import quiet_bitsandbytes

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
    failed = [(_import_that_failed(each), each) for each in _chain(error)]
    told = [(name, each) for name, each in failed if name is not None]
    if not told or any(name.partition(".")[0] == "hfcount" for name, _ in told):
        return None
    name, each = next((named for named in told if named[0]), told[0])  # the one that says which library
    library = name.partition(".")[0] or "a library"
    return f"{library} cannot be imported ({one_line(each)}); install it again: pip install hfcount"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _import_that_failed(error: BaseException) -> str | None:
    """The module that was being imported when `error` came up, "" where nobody knows its name; None for none."""
    if isinstance(error, ImportError):
        return error.name or ""
    found = None
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in ("hfcount", "__main__"):
            found = None
        elif trace.tb_frame.f_code.co_name == "<module>":  # the body of a module, which runs while it is imported
            found = module
        trace = trace.tb_next
    return found


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
    try:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        with quiet_bitsandbytes():
            from bitsandbytes.functional import quantize_4bit
        quantize_4bit(torch.zeros(64, device=device), quant_type="nf4")
    except Exception as error:  # whatever it is, the answer is that it cannot
        return f"none ({type(error).__name__})"
    return device
