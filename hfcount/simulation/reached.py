"""Which parameters a step's loss reaches: one backward pass without memory, of a copy with few layers.

A mask's token that nothing masks, layers that are passed by and tables that are computed and not trained get no
gradient, and torch's optimizers keep no state for what has none.
"""

from __future__ import annotations

import dataclasses

from hfcount.budget.recipes import recipe
from hfcount.deadline import Overdue
from hfcount.errors import BadInput, one_line
from hfcount.limits import memory_limit
from hfcount.simulation.depth import Pattern, pattern_of, shallow_bench
from hfcount.simulation.faking import without_memory
from hfcount.simulation.plan import Wished
from hfcount.simulation.step import reached_names
from hfcount.simulation.subject import materialize, skeleton_of
from hfcount.workbench import Workbench

ROWS = 2
LENGTHS = (128, 2048)
"""Two rows, since some norms are over a batch; the longer ones where the shorter have no room for an image."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reach:
    """What a step leaves out.

    Attributes:
        names: of the parameters without a gradient, as the inventory has them.
        idle: paths of the modules that are not called: their weights may be read all the same, an adapter's are not.
        reason: why it is not known; "" where it is.
    """

    names: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    reason: str = ""


def left_out(bench: Workbench) -> Reach:
    """Return what full fine-tuning gives no gradient; a Reach with a reason where no step can be run."""
    try:
        return _left_out(bench)
    except Overdue:
        raise
    except Exception as error:  # what torch and the models raise for what has no fake form
        return Reach(reason=one_line(error))


def _left_out(bench: Workbench) -> Reach:
    pattern = pattern_of(bench)
    reached, ran = _step_of(bench if pattern is None else shallow_bench(bench, pattern.traces[0]))
    rows = zip(bench.table["name"], bench.table["aliases"], strict=True)
    modules = (path for path, _ in bench.model.named_modules())
    return Reach(
        names=frozenset(
            name
            for name, aliases in rows
            if not any(_in_shallow(each, pattern) in reached for each in (name, *aliases))
        ),
        idle=frozenset(path for path in modules if _in_shallow(path, pattern) not in ran),
    )


def _step_of(bench: Workbench) -> tuple[frozenset[str], frozenset[str]]:
    most = bench.positions or LENGTHS[-1]
    for seq in LENGTHS:
        subject = skeleton_of(bench, Wished(precision=recipe("fp32").full))
        try:
            with memory_limit(), without_memory():
                materialize(subject)
                return reached_names(subject, batch=ROWS, seq=min(seq, most))
        except BadInput:
            if seq == LENGTHS[-1]:
                raise
    raise AssertionError


def _in_shallow(name: str, pattern: Pattern | None) -> str:
    """Return the name of the parameter or module of the copy that does the same."""
    return name if pattern is None else pattern.in_shallow(name, pattern.traces[0])
