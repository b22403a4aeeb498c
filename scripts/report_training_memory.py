"""Simulated against measured: every cell of benchmarks/memory/ is simulated anew and held against its measurement.

    python scripts/report_training_memory.py                    # print the table; exit 1 if a CPU cell is beyond 1 %
    python scripts/report_training_memory.py --models gpt2,t5   # of these alone
    python scripts/report_training_memory.py --write            # and put it into docs/simulation.md

A cell is simulated twice: with every layer, and, where the layers repeat, with its depth extrapolated from shallow
models. Of several measurements of one cell on one device the last counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure_training_memory import FOLDER, ROOT, load, versions
from memory_cells import Cell, bench_of, run_of, wished

PAGE = ROOT / "docs" / "simulation.md"
BETWEEN = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)
TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """One measured cell and its simulations.

    Attributes:
        line: of the file.
        peak: of the simulation with every layer. phases: the highest of each phase in it.
        shallow: the peak with its depth extrapolated; None where it was not.
    """

    line: Mapping[str, Any]
    peak: int
    phases: Mapping[str, int]
    shallow: int | None

    @property
    def cell(self) -> Cell:
        return Cell(**self.line["cell"])

    @property
    def error(self) -> float:
        """Of the simulated peak, relative to the measured one."""
        return self.peak / self.line["peak_bytes"] - 1

    @property
    def shallow_error(self) -> float | None:
        return None if self.shallow is None else self.shallow / self.line["peak_bytes"] - 1

    @property
    def allocator_error(self) -> float:
        """The same relative to what the allocator counted, with what kernels took for themselves."""
        return self.peak / max(count["allocated"] for count in self.line["allocator"].values()) - 1

    @property
    def worst(self) -> float:
        """The larger of the two simulations' errors."""
        return max(abs(self.error), abs(self.shallow_error or 0.0))

    @property
    def binding(self) -> bool:
        """Whether the simulation is of this device's kernels."""
        return self.line["device"] == "cpu"


def held(line: Mapping[str, Any], *, depth: bool = True) -> Held:
    """The cell of a line of the file, simulated; with `depth` a second time, extrapolated."""
    from hfcount.simulation.depth import pattern_of
    from hfcount.simulation.simulate import simulate

    cell = Cell(**line["cell"])
    bench = bench_of(cell.model)
    whole = simulate(bench, wished(cell), run_of(cell), whole=True)
    shallow = None
    if depth and pattern_of(bench) is not None:
        found = simulate(bench, wished(cell), run_of(cell))
        shallow = found.peak.bytes if found.traced else None
    phases = {phase: moment.bytes for phase, moment in whole.phases.items()}
    return Held(line=line, peak=whole.peak.bytes, phases=phases, shallow=shallow)


def latest(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last line of each cell on each device, in the order of the first ones."""
    found = {(str(line["cell"]), line["device_name"]): line for line in lines}
    return list(found.values())


def table(cells: Sequence[Held]) -> str:
    """Markdown: a row for each model, and one for all."""
    lines = [
        "| model | cells | within 1 % | identical | median | worst | extrapolated | worst | allocator: median | worst |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    models = dict.fromkeys(each.cell.model for each in cells)
    lines += [_row(f"`{model}`", [each for each in cells if each.cell.model == model]) for model in models]
    return "\n".join([*lines, _row("**all**", cells)])


def _row(title: str, cells: Sequence[Held]) -> str:
    errors = [abs(each.error) for each in cells]
    shallow = [abs(each.shallow_error) for each in cells if each.shallow_error is not None]
    allocator = [abs(each.allocator_error) for each in cells]
    columns = (
        title,
        str(len(cells)),
        str(sum(each.worst <= TOLERANCE for each in cells)),
        str(sum(error == 0 for error in errors)),
        f"{statistics.median(errors):.3%}",
        f"{max(errors):.3%}",
        str(len(shallow)),
        f"{max(shallow):.3%}" if shallow else "",
        f"{statistics.median(allocator):.3%}",
        f"{max(allocator):.3%}",
    )
    return f"| {' | '.join(columns)} |"


def ways(cells: Sequence[Held]) -> str:
    """Markdown: how many cells there are of each regime, with and without checkpointing, and their worst error."""
    lines = ["| regime | checkpointing | cells | median | worst |", "| --- | --- | ---: | ---: | ---: |"]
    kinds = dict.fromkeys((each.cell.regime, each.cell.checkpointing) for each in cells)
    for regime, checkpointing in sorted(kinds):
        errors = [
            abs(each.error) for each in cells if (each.cell.regime, each.cell.checkpointing) == (regime, checkpointing)
        ]
        median, worst = statistics.median(errors), max(errors)
        lines.append(f"| {regime} | {checkpointing} | {len(errors)} | {median:.3%} | {worst:.3%} |")
    return "\n".join(lines)


def differing(cells: Sequence[Held]) -> str:
    """A line for each cell with a phase whose peak is not the measured one to the byte."""
    lines = []
    for each in cells:
        phases = each.line["phases"]
        apart = [
            f"{phase} {each.phases[phase] - phases[phase]:+,}"
            for phase in phases
            if each.phases[phase] != phases[phase]
        ]
        if each.shallow not in (None, each.line["peak_bytes"]):
            apart.append(f"extrapolated {(each.shallow or 0) - each.line['peak_bytes']:+,}")
        if apart:
            lines.append(f"- {each.cell}: {', '.join(apart)} bytes (peak {each.line['peak_bytes']:,})")
    return "\n".join(lines) or "- none"


def block(cells: Sequence[Held]) -> str:
    """What stands in the page between the markers: a part for each device."""
    parts = []
    for device in dict.fromkeys(each.line["device_name"] for each in cells):
        mine = [each for each in cells if each.line["device_name"] == device]
        named = ", ".join(f"{name} {version}" for name, version in mine[-1].line["versions"].items())
        inside = sum(each.worst <= TOLERANCE for each in mine)
        parts += [
            f"Device: {device}; {named}.",
            f"**{inside} of {len(mine)} cells within 1 %**, {len({each.cell.model for each in mine})} models.",
            table(mine),
            ways(mine),
            "Phases whose simulated peak is not the measured one to the byte:",
            differing(mine),
        ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="default: all of benchmarks/memory/")
    parser.add_argument("--models", default="", help="names with commas")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/simulation.md")
    asked = parser.parse_args()
    models = [name for name in asked.models.split(",") if name]
    files = asked.files or sorted(FOLDER.glob("*.jsonl"))
    lines = [line for path in files for line in latest(load(path)) if not models or line["cell"]["model"] in models]
    if any(line["versions"] != versions() for line in lines):
        print("some cells were measured with other versions than are installed now", file=sys.stderr)
    cells = [held(line) for line in lines]
    text = block(cells)
    print(text)
    if asked.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(BETWEEN.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page), encoding="utf-8")
    return 1 if any(each.binding and each.worst > TOLERANCE for each in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
