"""What the allocator itself counts while a step runs: all that kernels take, beside the tensors that code makes.

Each is a context with `enter(phase)`, which is told where the step is, and `peaks()`, the highest count of each phase
since then: bytes above what there was when the context was entered.
"""

from __future__ import annotations

import gc
from typing import Any

import torch

PHASES = ("forward", "backward", "step")
_MARK = "phase:"


class CpuAllocator:
    """The CPU allocator's blocks, as torch's profiler is told of them. What MKL and oneDNN take is not among them."""

    def __init__(self) -> None:
        self._profile: Any = torch.autograd.profiler.profile(use_kineto=True, profile_memory=True)
        self._found: dict[str, int] = {}

    def __enter__(self) -> CpuAllocator:
        self._profile.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._profile.__exit__(*error)
        self._found = self._counted()
        self._profile = None

    def enter(self, phase: str) -> None:
        with torch.profiler.record_function(f"{_MARK}{phase}"):
            pass

    def peaks(self) -> dict[str, dict[str, int]]:
        return {phase: {"allocated": count} for phase, count in self._found.items()}

    def _counted(self) -> dict[str, int]:
        """The sum of all that was allocated and freed, in the order of time."""
        events = [(each.start_ns(), each) for each in self._profile.kineto_results.events()]
        live, phase, highest = 0, "", dict.fromkeys(PHASES, 0)
        for _, event in sorted(events, key=lambda pair: pair[0]):
            name = event.name()
            if name == "[memory]":
                live += event.nbytes()
            elif name.startswith(_MARK):
                phase = name.removeprefix(_MARK)
            else:
                continue
            if phase in highest:
                highest[phase] = max(highest[phase], live)
        return highest


class CudaAllocator:
    """torch.cuda's own counts: `allocated` in its blocks, `requested` before they were rounded, `reserved` in all."""

    _COUNTS = ("allocated", "requested", "reserved")

    def __init__(self) -> None:
        self._phase = ""
        self._found: dict[str, dict[str, int]] = {}
        self._before = dict.fromkeys(self._COUNTS, 0)

    def __enter__(self) -> CudaAllocator:
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        self._before = self._read("current")
        return self

    def __exit__(self, *error: Any) -> None:
        self.enter("")

    def enter(self, phase: str) -> None:
        """Note the peak of the phase that ends, and begin to look for the next."""
        torch.cuda.synchronize()
        if self._phase in PHASES:
            seen = {name: count - self._before[name] for name, count in self._read("peak").items()}
            last = self._found.get(self._phase, seen)
            self._found[self._phase] = {name: max(count, last[name]) for name, count in seen.items()}
        torch.cuda.reset_peak_memory_stats()
        self._phase = phase

    def peaks(self) -> dict[str, dict[str, int]]:
        return self._found

    def _read(self, moment: str) -> dict[str, int]:
        statistics = torch.cuda.memory_stats()
        return {name: int(statistics[f"{name}_bytes.all.{moment}"]) for name in self._COUNTS}
