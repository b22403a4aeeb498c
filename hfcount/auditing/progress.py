"""How far an audit is: a line on stderr, on a terminal alone, redrawn as models are stored."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hfcount.auditing.finding import VERDICTS, Finding

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task


class Shown:
    """Counts what is stored and shows it; without a terminal it counts and shows nothing."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self.verdicts: Counter[str] = Counter()
        self._progress = progress
        self._task = None if progress is None else progress.add_task("audit", total=total, verdicts="")

    def advance(self, findings: Sequence[Finding]) -> None:
        """One model more."""
        self.verdicts.update(finding.verdict for finding in findings)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, verdicts=verdict_line(self.verdicts))


def verdict_line(verdicts: Counter[str]) -> str:
    """ "12 ok, 3 explained, 1 mismatch": the verdicts that there are, in their order."""
    return ", ".join(f"{verdicts[verdict]:,} {verdict}" for verdict in VERDICTS if verdicts[verdict])


@contextlib.contextmanager
def shown(total: int | None, *, quiet: bool = False) -> Iterator[Shown]:
    """A progress line for `total` models (None: nobody knows) with the rate, the time left and the verdicts."""
    if quiet or not sys.stderr.isatty():
        yield Shown(None, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _rate_column(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[verdicts]}"),
        console=Console(stderr=True),
        refresh_per_second=4,
    ) as progress:
        yield Shown(progress, total)


def _rate_column() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Models a second, or a minute where they take longer."""

        def render(self, task: Task) -> Text:
            return Text(rate_text(task.finished_speed or task.speed))

    return Rate()


def rate_text(per_second: float | None) -> str:
    """ "31/s", "12/min", "" where nothing is known yet."""
    if not per_second:
        return ""
    return f"{per_second:,.0f}/s" if per_second >= 2 else f"{60 * per_second:,.0f}/min"
